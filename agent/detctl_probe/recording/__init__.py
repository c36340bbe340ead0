"""Collects the fingerprints of a process, samples them within the budget, and writes them in program order."""
