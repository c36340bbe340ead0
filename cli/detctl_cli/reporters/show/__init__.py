"""Prints one audit, run, machine or recording, on one screen or with everything."""
