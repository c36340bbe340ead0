"""What the recordings of two runs show: files that they read, lines of their source, states of optimizers."""
