"""Reads the Python source of a training, without running it: names, orders of sets, and lines that remove a cause."""
