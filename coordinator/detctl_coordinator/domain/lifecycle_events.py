"""What can happen to an audit, and what a machine can be told: the two vocabularies of audit_lifecycle.py.

Every event may arrive twice, late or in another order than it happened; events about a run name the attempt they speak of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detctl_coordinator.domain.run import RunOutcome, RunSpec


@dataclass(frozen=True)
class AgentSeen:
    """The machine's agent is alive. `working`: (run id, attempt) of all it has in hand; `busy`: runs of other audits on it."""

    machine: str
    boot_id: str
    working: frozenset[tuple[str, int]] = frozenset()
    parallel_runs: int = 1
    busy: int = 0


@dataclass(frozen=True)
class AgentGone:
    """The machine's lease expired: what it had in hand is lost to us, whether it still runs there or not."""

    machine: str


@dataclass(frozen=True)
class MachineAbsent:
    """The machine has not been seen for as long as the operator is willing to wait."""

    machine: str
    waited_s: float


@dataclass(frozen=True)
class RunJoined:
    """Somebody trains this run in an allocation of their own. `boot_id`: their name for this start; `holder`: the caller's name.

    again: its earlier holder is gone; manages: the caller may take it over whoever had it."""

    run_id: str
    boot_id: str
    again: bool = False
    holder: str = ""
    secret_digest: str = ""
    manages: bool = False


@dataclass(frozen=True)
class RunAccepted:
    """The agent has the assignment and prepares the run."""

    run_id: str
    attempt: int


@dataclass(frozen=True)
class RunRunning:
    """The training's process exists. `manifest`: the facts of its environment."""

    run_id: str
    attempt: int
    manifest: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunProgress:
    """step: the last one that every rank has finished; records: how many were seen."""

    run_id: str
    attempt: int
    step: int
    records: int


@dataclass(frozen=True)
class RunEnded:
    """The training is over and the agent says that everything it had was acknowledged; a check follows."""

    run_id: str
    attempt: int
    outcome: RunOutcome
    manifest: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunRefused:
    """The agent will not run it: unknown recipe, pattern, digest."""

    run_id: str
    attempt: int
    message: str


@dataclass(frozen=True)
class RunDamaged:
    """What arrived breaks a limit or its own checksum: nothing of this attempt can be believed."""

    run_id: str
    attempt: int
    message: str


@dataclass(frozen=True)
class RunVerified:
    """The stored data were checked against the seals. `problem`: one line, empty where all is well; step and records: what lies there."""

    run_id: str
    attempt: int
    problem: str = ""
    step: int = 0
    records: int = 0


@dataclass(frozen=True)
class StagesAnswered:
    """Live comparison knows every stage's answer: runs may end after this step."""

    after_step: int


@dataclass(frozen=True)
class Cancel:
    """A user does not want it any more."""

    reason: str = "cancelled"


@dataclass(frozen=True)
class Explain:
    """A user wants causes tried by experiment, after the verdict; what was tried before and sealed is not tried again.

    budget_runs: experiments at most, 0: as the audit said before."""

    budget_runs: int = 0
    self_test: bool = False


@dataclass(frozen=True)
class Judged:
    """The verdict was computed. `more`: runs that are to look closer or try causes first; the verdict stands if they come to nothing.

    why: what they are for, for people."""

    verdict_json: str
    more: tuple[RunSpec, ...] = ()
    why: str = ""


Event = (
    AgentSeen
    | Explain
    | AgentGone
    | MachineAbsent
    | RunJoined
    | RunAccepted
    | RunRunning
    | RunProgress
    | RunEnded
    | RunRefused
    | RunDamaged
    | RunVerified
    | StagesAnswered
    | Cancel
    | Judged
)


@dataclass(frozen=True)
class Assign:
    """Run this. Repeated until the agent says that it has it."""

    spec: RunSpec
    attempt: int


@dataclass(frozen=True)
class Stop:
    """End this run: after a step, or now (after_step None)."""

    run_id: str
    attempt: int
    after_step: int | None
    reason: str


Instruction = Assign | Stop
