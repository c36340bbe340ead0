"""Interventions on randomness: seeds, generator states, and what identifies a process."""
