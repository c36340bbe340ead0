"""The index of a distributed checkpoint, and the folder as a whole."""

from __future__ import annotations

import torch.distributed.checkpoint.metadata  # noqa: F401 - as the target does, but before the clock of the first input runs
from harness import fuzz, instrumented, one_line, scratch

with instrumented("detctl_checkpoints"):
    from detctl_checkpoints.content import CheckpointError
    from detctl_checkpoints.open_checkpoint import open_checkpoint

FOLDER = scratch()


def target(data: bytes) -> None:
    (FOLDER / ".metadata").write_bytes(data)
    try:
        checkpoint = open_checkpoint(str(FOLDER))
    except CheckpointError as error:
        one_line(str(error))
        return
    for leaf in checkpoint.leaves.values():
        try:
            leaf()
        except CheckpointError:
            pass


if __name__ == "__main__":
    fuzz(target)
