"""Which steps of two runs can be compared."""
