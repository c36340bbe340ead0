"""Compares two checkpoints by content, whatever they were saved with.

`python -m detctl_checkpoints A B` in an interpreter that has torch prints one JSON document (compare.py documents its keys).
It unpickles nothing that could run code: torch.save files are loaded with weights_only, and the index of a distributed checkpoint
by an unpickler that knows only torch's own classes.
"""
