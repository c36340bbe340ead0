"""What a run is doing before and after its steps, as far as it can be seen from outside."""

from __future__ import annotations

from enum import StrEnum

from detctl_agent.launcher.tree import descendants
from detctl_agent.recording.ranks import Ranks

LOOK_S = 1.0  # between two looks whether a training has loaded torch
_TORCH_LIBRARY = b"/libtorch_cpu."


class Activity(StrEnum):
    """The names of the contract's RunActivity, in lower case; agents.proto describes them."""

    QUEUED = "queued"
    PREPARING = "preparing"
    STARTING = "starting"
    IMPORTING = "importing"
    BUILDING = "building"
    TRAINING = "training"
    ENDING = "ending"
    SENDING = "sending"


class Watch:
    """Follows one run from its start to its end."""

    def __init__(self) -> None:
        self._torch_loaded = False
        self._looked_at = 0.0

    def look(self, now: float, ranks: Ranks, pid: int | None, *, ending: bool, before: Activity) -> Activity:
        """Returns what the run is doing. pid: of the training, if it is visible here; before: what it did at the last look."""
        if ending:
            return Activity.ENDING
        if ranks.last_step is not None:
            return Activity.TRAINING
        if ranks.has_imported:
            return Activity.BUILDING
        if pid is not None and not self._torch_loaded and now - self._looked_at >= LOOK_S:
            self._looked_at = now
            self._torch_loaded = has_loaded_torch(pid)
        return Activity.IMPORTING if self._torch_loaded else before


def has_loaded_torch(pid: int) -> bool:
    """Whether the process or a descendant has mapped torch's library, which happens early in `import torch`. False if unreadable."""
    for process in (pid, *descendants(pid)):
        try:
            with open(f"/proc/{process}/maps", "rb") as stream:
                if _TORCH_LIBRARY in stream.read():
                    return True
        except OSError:
            continue
    return False
