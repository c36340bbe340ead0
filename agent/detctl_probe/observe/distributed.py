"""torch.distributed: rank and world size are the recorder's to read; collectives are told as not observed (they come with issue 2).

Nothing is wrapped, and above all no DDP communication hook is set: it would change the gradients (rulings 26).
"""

from __future__ import annotations

import sys
from typing import Any, Optional, Tuple

from detctl_probe.recorder import Recorder


def install(recorder: Recorder) -> None:
    """Looks at each step's start whether a process group exists."""
    row = recorder.observer("distributed", "collective")

    def look() -> None:
        if rank_and_size() is not None:
            row.fired += 1
            recorder.unobserved("collective", "process group", "what collectives reduced is not recorded at this level")

    recorder.at_step_start(look)
    row.installed = True


def rank_and_size() -> Optional[Tuple[int, int]]:
    """What torch.distributed says, where it is imported and initialised."""
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return int(distributed.get_rank()), int(distributed.get_world_size())
