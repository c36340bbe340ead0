"""Prepares one run and trains it, as a process or in a container."""
