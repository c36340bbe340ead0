"""Files of safetensors, to the last tensor of what opens."""

from __future__ import annotations

import torch  # noqa: F401 - as the target does, but before the clock of the first input runs
from harness import fuzz, instrumented, one_line, scratch

with instrumented("detctl_checkpoints"):
    from detctl_checkpoints.content import CheckpointError
    from detctl_checkpoints.open_checkpoint import open_checkpoint

PATH = scratch() / "x.safetensors"


def target(data: bytes) -> None:
    PATH.write_bytes(data)
    try:
        checkpoint = open_checkpoint(str(PATH))
    except CheckpointError as error:
        one_line(str(error))
        return
    for leaf in checkpoint.leaves.values():
        leaf()


if __name__ == "__main__":
    fuzz(target)
