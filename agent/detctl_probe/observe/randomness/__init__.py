"""Observes the random number generators: seeds, states and draws."""
