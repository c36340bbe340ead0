"""Writes the verdict: outcome, causes, fixes and the report."""
