"""Describes a run that continues another: what it restored, and what it did not."""
