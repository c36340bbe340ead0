"""Observes each ATen operation, at level `op`."""
