"""Identifies callers: tokens, certificates, and the identity that a call carries."""
