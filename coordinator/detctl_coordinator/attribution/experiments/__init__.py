"""Confirms causes by experiment: explore.py is the procedure, factors.py the settings, trials.py the runs, rounds.py the results."""
