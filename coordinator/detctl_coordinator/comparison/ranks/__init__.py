"""Matches the ranks of two runs, also of different world sizes."""
