"""Determines which steps and stages of two runs can be compared."""
