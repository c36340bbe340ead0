"""A run that the coordinator gave to this agent, from assignment to the note of its end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from detctl_proto.recordings.recording_log import MAGIC
from detctl_proto.recordings.side_by_side import SideBySide

from detctl_agent.catalog.admission import Order
from detctl_agent.cluster.runner import ClusterRunner
from detctl_agent.runs.activity import Activity
from detctl_agent.runs.run_clock import RunClock
from detctl_agent.runs.runner import Runner
from detctl_agent.state.run_folder import RunFolder, RunJson


class JobPhase(IntEnum):
    """How far a job is; it only grows. SENDING: the training is over, but its spool is not yet acknowledged."""

    QUEUED = 0
    PREPARING = 1
    RUNNING = 2
    SENDING = 3
    ENDED = 4
    REFUSED = 5
    DROPPED = 6  # fenced off, or noted: nothing more is reported about it


@dataclass(frozen=True)
class JobProgress:
    """What a heartbeat reports of a run. step: the last step of all ranks, or None. beside: other runs that train now.
    side_by_side: how many runs like it may train at a time; None: not known."""

    run_id: str
    attempt: int
    step: int | None
    records: int
    activity: Activity
    elapsed_s: int = 0
    last_output: str = ""
    beside: int = 0
    side_by_side: SideBySide | None = None


@dataclass
class Job:
    """See the module's text. Positions are bytes in the spool's log."""

    run: RunJson
    folder: RunFolder
    order: Order | None = None  # None: taken over from an earlier start of the agent
    phase: JobPhase = JobPhase.QUEUED
    runner: Runner | ClusterRunner | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict)
    spool_end: int = 0  # everything before is on disk
    acknowledged: int = len(MAGIC)  # everything before is in the store, or is the header of the log
    noted: JobPhase = JobPhase.QUEUED  # the last phase that the coordinator noted
    reported: JobPhase = JobPhase.QUEUED  # the last phase that was reported on this connection
    reported_at: float = 0.0
    stop: tuple[str, str] | None = None  # (end, message) if it must end before it has a runner
    stop_after: int | None = None
    fenced: bool = False
    beside: int = 0  # other runs that train now
    side_by_side: SideBySide | None = None
    clock: RunClock = field(default_factory=RunClock)
    refused: str = ""  # why the coordinator will never store a part of it

    @property
    def key(self) -> str:
        return f"{self.run.run_id}.{self.run.attempt}"

    @property
    def over(self) -> bool:
        """Whether it no longer takes a slot."""
        return self.phase >= JobPhase.SENDING

    @property
    def trains(self) -> bool:
        """Whether it uses the machine: its training runs or is about to."""
        return not self.over and (self.runner is None or self.runner.progress.activity is not Activity.SENDING)

    @property
    def progress(self) -> JobProgress:
        """How far it is, for a heartbeat."""
        run, runner = self.run, self.runner
        began = run.started_unix_s if self.order is not None else 0.0
        elapsed_s = max(0, int(time.time() - began)) if began else 0
        if runner is not None:
            seen = runner.progress
            return JobProgress(
                run.run_id, run.attempt, seen.step, seen.records, seen.activity, elapsed_s, seen.last_output,
                self.beside, self.side_by_side,
            )  # fmt: skip
        if self.over:
            return JobProgress(run.run_id, run.attempt, run.last_step, run.records, Activity.SENDING, int(run.wall_s))
        activity = Activity.PREPARING if began else Activity.QUEUED
        return JobProgress(run.run_id, run.attempt, run.last_step, run.records, activity, elapsed_s, beside=self.beside)
