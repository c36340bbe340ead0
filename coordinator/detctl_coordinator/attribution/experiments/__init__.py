"""Confirms causes by experiment.

explore.py is the procedure, factors.py the settings, experiment_runner.py the runs, rounds.py the results.
"""
