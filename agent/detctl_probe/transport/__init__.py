"""Frames over a Unix socket, and the chain that proves that they are complete."""
