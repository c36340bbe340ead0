"""What a zoom measured, as evidence: the operation, and the size of its difference."""
