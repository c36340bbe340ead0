"""How far a run is, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detctl_agent.errors import AgentError, DiskFullError


@dataclass(frozen=True)
class Outcome:
    """How a run ended; `end` is a word of run_folder.py. steps: last step that all ranks finished, or None."""

    end: str
    exit_code: int
    message: str = ""
    ranks: int = 0
    ranks_elsewhere: int = 0
    records: int = 0
    last_step: int | None = None
    wall_s: float = 0.0
    spool_records: int = 0
    spool_bytes: int = 0
    torch: Mapping[str, Any] = field(default_factory=dict)
    read: tuple[str, ...] = ()  # variables that its own code was seen to ask for
    cost: Mapping[str, Any] = field(default_factory=dict)  # what the lowest rank's seal said of it


@dataclass
class Progress:
    """Read by others while the run runs; single words, so no lock is needed."""

    step: int | None = None
    records: int = 0
    spooled_bytes: int = 0
    ranks: int = 0


def failed(error: AgentError) -> Outcome:
    """Of a run that could not be trained, or not to its end."""
    return Outcome(end="disk-full" if isinstance(error, DiskFullError) else "lost", exit_code=127, message=str(error))
