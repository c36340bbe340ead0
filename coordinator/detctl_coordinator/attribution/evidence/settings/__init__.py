"""Settings in which the environments and commands of two runs differ."""
