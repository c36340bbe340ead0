"""What is known about a pair of runs: facts, evidence and suspects."""
