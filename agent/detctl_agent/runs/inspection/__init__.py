"""Looks at what a training read, after it has ended: digests of its data files, and the lines of its source that matter."""
