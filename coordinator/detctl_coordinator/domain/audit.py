"""An audit: recipe x machines x environments x variations x twins, over a window of steps."""

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
    """The request of a user. `step_to` None: to the end."""

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
    requested_by: str = ""  # for people; the coordinator's own user may enter any name
    budget_share: Finite = 0.0  # the share of step time that the probe may use; 0: no limit
    zoom: bool = True
    explain: bool = False  # confirm causes by experiments
    budget_runs: U32 = 0  # maximum number of experiments; 0: the default
    self_test: bool = False  # test the audit itself
    join_only: bool = False  # users train its runs in their own allocations
    joiners: tuple[str, ...] = ()  # names of callers who may join runs, besides the owner
    stop_on_failure: bool = False  # the first run that fails cancels the others
    strict: bool = False  # a difference in evaluation counts, also if the training agrees


@dataclass(frozen=True)
class Audit:
    """An audit as the store keeps it. Each update compares and sets `version`."""

    audit_id: str
    request: AuditRequest
    runs: Mapping[str, RunRecord] = field(default_factory=dict)  # by run id, in the order of execution
    state: AuditState = AuditState.RUNNING
    created_unix_s: Finite = 0.0
    version: U64 = 0
    stop_after_step: U32 | None = None  # set once live comparison knows the result of every stage
    verdict_json: str = ""
    message: str = ""
    trying: str = ""  # what the experiments in progress are for
    stopped_by: str = ""  # id of the failed run that stopped the audit
    owner: str = ""  # name of the caller who started it and whose quota it uses; empty in older documents

    def runs_for(self, purpose: Purpose) -> list[RunRecord]:
        """Returns the runs of one purpose, in the order of execution."""
        return [run for run in self.runs.values() if run.spec.purpose == purpose]
