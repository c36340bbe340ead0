"""Two checkpoints held against each other by content, whatever they were saved with: what people have from last week's run.

`python -m detctl_checkpoints A B` in an interpreter that has torch prints one JSON document (compare.py tells its keys).
Nothing is unpickled that could run code: torch.save files are loaded with weights_only, the index of a distributed checkpoint
by an unpickler that knows torch's own classes alone.
"""
