"""Refused calls: their codes, the catalogue of what each code means to a caller, and the translator from exceptions to statuses."""
