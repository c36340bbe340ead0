"""Builds the verdict: outcome, causes, fixes and summary."""
