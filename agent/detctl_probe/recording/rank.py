"""The rank of this process in a distributed training."""

from __future__ import annotations

import os
import sys
from typing import Optional, Tuple


class Rank:
    """Keeps what torch.distributed reported: its process group is often gone when the program ends."""

    def __init__(self) -> None:
        self._known: Optional[Tuple[int, int]] = None

    def learn(self) -> None:
        """Asks torch.distributed, until it has answered once."""
        if self._known is None:
            self._known = _distributed_rank()

    def current(self) -> Tuple[Optional[int], Optional[int]]:
        """(rank, world size) of torch.distributed, else of the launcher's variables; None where neither names one."""
        self.learn()
        return self._known or (variable("RANK"), variable("WORLD_SIZE"))


def variable(name: str) -> Optional[int]:
    """The number in an environment variable, or None."""
    text = os.environ.get(name)
    return int(text) if text is not None and text.isdigit() else None


def _distributed_rank() -> Optional[Tuple[int, int]]:
    distributed = sys.modules.get("torch.distributed")
    try:
        if distributed is not None and distributed.is_available() and distributed.is_initialized():
            return int(distributed.get_rank()), int(distributed.get_world_size())
    except Exception:
        return None
    return None
