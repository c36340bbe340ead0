"""Credentials: where they are kept, which variables hold them, and how they are removed from what is recorded."""
