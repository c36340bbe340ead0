"""Causes confirmed by experiment: explore.py says how, trials.py runs, factors.py what can be set, rounds.py what was shown."""
