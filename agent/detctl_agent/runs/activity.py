"""What a run is doing before and after its steps, as far as it can be seen from outside."""

from __future__ import annotations

from enum import StrEnum

from detctl_agent.launcher.tree import descendants

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
