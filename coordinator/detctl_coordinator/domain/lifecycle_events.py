"""The events that can happen to an audit, and the instructions to machines. audit_lifecycle.py handles both.

Every event may arrive twice, late, or out of order. Events about a run name the attempt that they refer to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detctl_coordinator.domain.run import RunOutcome, RunSpec


@dataclass(frozen=True)
class AgentSeen:
    """The machine's agent is alive. `working`: (run id, attempt) of its active runs. `busy`: number of its runs of other audits."""

    machine: str
    boot_id: str
    working: frozenset[tuple[str, int]] = frozenset()
    parallel_runs: int = 1
    busy: int = 0


@dataclass(frozen=True)
class AgentGone:
    """The machine's lease expired. Its active runs count as lost, even if they still run there."""

    machine: str


@dataclass(frozen=True)
class MachineAbsent:
    """The machine has been absent for longer than the operator's limit."""

    machine: str
    waited_s: float


@dataclass(frozen=True)
class RunJoined:
    """A user trains this run in their own allocation. `boot_id`: their id for this start. `holder`: the caller's name.

    `again`: take it over, because its earlier holder is gone. `manages`: the caller may take it over from anyone."""

    run_id: str
    boot_id: str
    again: bool = False
    holder: str = ""
    secret_digest: str = ""
    manages: bool = False


@dataclass(frozen=True)
class RunAccepted:
    """The agent received the assignment and prepares the run."""

    run_id: str
    attempt: int


@dataclass(frozen=True)
class RunRunning:
    """The training's process has started. `manifest`: the facts of its environment."""

    run_id: str
    attempt: int
    manifest: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunProgress:
    """`step`: the last step that every rank has finished. `records`: the number of fingerprints so far."""

    run_id: str
    attempt: int
    step: int
    records: int


@dataclass(frozen=True)
class RunEnded:
    """The training has ended and all data of the agent was acknowledged. The stored data is checked next."""

    run_id: str
    attempt: int
    outcome: RunOutcome
    manifest: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunRefused:
    """The agent refused to run it, because of its recipe, a parameter pattern or the source digest."""

    run_id: str
    attempt: int
    message: str


@dataclass(frozen=True)
class RunDamaged:
    """The data of this attempt exceeds a limit or has a wrong checksum, so none of it can be used."""

    run_id: str
    attempt: int
    message: str


@dataclass(frozen=True)
class RunVerified:
    """The stored data was compared with the seals. `problem`: one line; empty: all is well. `step`, `records`: the stored totals."""

    run_id: str
    attempt: int
    problem: str = ""
    step: int = 0
    records: int = 0


@dataclass(frozen=True)
class StagesAnswered:
    """Live comparison knows the result of every stage, so runs may end after this step."""

    after_step: int


@dataclass(frozen=True)
class Cancel:
    """A user cancels the audit."""

    reason: str = "cancelled"


@dataclass(frozen=True)
class Explain:
    """A user requests experiments after the verdict. Sealed experiments are reused.

    `budget_runs`: maximum number of experiments; 0: as requested before."""

    budget_runs: int = 0
    self_test: bool = False


@dataclass(frozen=True)
class Judged:
    """The verdict was computed. `more`: zoom runs or experiments to run before it is final; it stays valid if they fail.

    `why`: what they are for, for people."""

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
    """Run this. The instruction is repeated until the agent accepts it."""

    spec: RunSpec
    attempt: int


@dataclass(frozen=True)
class Stop:
    """End this run after a step. `after_step` None: now."""

    run_id: str
    attempt: int
    after_step: int | None
    reason: str


Instruction = Assign | Stop
