"""What is looked at in a torch.save file before torch may touch it."""

from __future__ import annotations

import io

from harness import fuzz, instrumented, one_line

with instrumented("detctl_checkpoints"):
    from detctl_checkpoints.archive_inspection import ArchiveError, inspect_archive


def target(data: bytes) -> None:
    try:
        inspect_archive(io.BytesIO(data))
    except ArchiveError as error:
        one_line(str(error))


if __name__ == "__main__":
    fuzz(target)
