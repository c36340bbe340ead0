"""Matches the ranks of two runs, including runs with different world sizes."""
