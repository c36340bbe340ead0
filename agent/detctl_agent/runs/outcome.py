"""How far a run is, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detctl_proto.recordings.run_timings import RunTimings

from detctl_agent.errors import AgentError, DiskFullError
from detctl_agent.recording.observed import Observed
from detctl_agent.runs.activity import Activity
from detctl_agent.runs.failure import Failure


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `end` is one of the reasons in run_folder.py; last_step is the last step that all ranks finished, or None."""

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
    read: tuple[str, ...] = ()  # variables that its own code was seen to read
    cost: Mapping[str, Any] = field(default_factory=dict)  # `share` and `budget` of the lowest rank's seal
    failure: Failure | None = None  # why the training itself failed
    observed: Observed = field(default_factory=Observed)  # files that it opened, and lines of its source
    timings: RunTimings = field(default_factory=RunTimings)


@dataclass
class Progress:
    """Read by other threads during the run. Each attribute is replaced as a whole, so no lock is needed."""

    step: int | None = None
    records: int = 0
    spooled_bytes: int = 0
    ranks: int = 0
    activity: Activity = Activity.PREPARING
    last_output: str = ""  # the last complete line that the training printed, without credentials


def failed(error: AgentError) -> Outcome:
    """The outcome of a run that could not start, or could not be finished."""
    return Outcome(end="disk-full" if isinstance(error, DiskFullError) else "lost", exit_code=127, message=str(error))
