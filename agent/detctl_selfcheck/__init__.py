"""The known-answer test: what this machine computes for inputs that are the same everywhere."""
