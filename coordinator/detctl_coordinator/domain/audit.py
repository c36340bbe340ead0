"""An audit: recipe x machines x environments x variations x twins over a window of steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from detctl_proto.levels import DEFAULT_LEVEL

from detctl_coordinator.domain.run import Purpose, RunRecord
from detctl_coordinator.domain.widths import U32, U64, Finite


class AuditState(StrEnum):
    RUNNING = "running"
    COMPARING = "comparing"
    DONE = "done"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class AuditRequest:
    """What a user asked for; step_to None: to the end."""

    recipe: str
    machines: tuple[str, ...]
    environments: tuple[str, ...] = ("default",)
    twins: U32 = 3
    step_from: U32 = 0
    step_to: U32 | None = 32
    to_end: bool = False
    level: str = DEFAULT_LEVEL
    set: tuple[tuple[str, str], ...] = ()
    vary: tuple[tuple[str, tuple[str, ...]], ...] = ()
    requested_by: str = ""  # for people; the coordinator's own user may put any name there
    budget_share: Finite = 0.0  # of step time, that the probe may take; 0: as much as it needs
    zoom: bool = True
    explain: bool = False  # confirm causes by experiments
    budget_runs: U32 = 0  # of them, at most; 0: as many as usual
    self_test: bool = False  # show that the audit itself can be believed
    join_only: bool = False  # users train its runs in their own allocations
    joiners: tuple[str, ...] = ()  # names of callers who may, besides who started it


@dataclass(frozen=True)
class Audit:
    """The document of an audit, advanced by compare-and-set on `version`."""

    audit_id: str
    request: AuditRequest
    runs: Mapping[str, RunRecord] = field(default_factory=dict)  # by run id, in the order of execution
    state: AuditState = AuditState.RUNNING
    created_unix_s: Finite = 0.0
    version: U64 = 0
    stop_after_step: U32 | None = None  # live comparison knows every stage's answer
    verdict_json: str = ""
    message: str = ""
    trying: str = ""  # what the experiments under way are for
    owner: str = (
        ""  # the name of the caller who started it, whose quota it counts in; empty in documents of before it was kept
    )

    def runs_for(self, purpose: Purpose) -> list[RunRecord]:
        """Runs of one purpose, in the order of execution."""
        return [run for run in self.runs.values() if run.spec.purpose == purpose]
