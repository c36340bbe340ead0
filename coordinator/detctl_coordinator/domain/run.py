"""A run: one training process tree, its settings, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from detctl_proto.levels import DEFAULT_LEVEL
from detctl_proto.recordings.run_failures import FailureKind
from detctl_proto.recordings.run_labels import variation_text
from detctl_proto.recordings.run_timings import RunTimings

from detctl_coordinator.domain.widths import I32, U32, U64, Finite

Purpose = Literal["", "zoom", "experiment"]


class RunState(StrEnum):
    """The state of a run. SEALED: all data arrived and was checked, whatever the exit code. FAILED: it can no longer be sealed."""

    WAITING = "waiting"
    ASSIGNED = "assigned"
    RUNNING = "running"
    SEALED = "sealed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        return self in (RunState.SEALED, RunState.FAILED, RunState.CANCELLED)


@dataclass(frozen=True)
class Arm:
    """One configuration of an audit: the machine, environment and variation that its twins share. "Arm" is the statistical term, as
    in the arms of a clinical trial. `variation`: sorted pairs of typed name and value; empty: base."""

    machine: str
    environment: str = "default"
    variation: tuple[tuple[str, str], ...] = ()

    @property
    def variation_label(self) -> str:
        return variation_text(self.variation)

    @property
    def label(self) -> str:
        return f"{self.machine}/{self.environment}/{self.variation_label}"


@dataclass(frozen=True)
class RunSpec:
    """The settings of a run. `parameters`, `variables`, `interventions`: the values of `--set` and `--vary`, by kind.

    `purpose`: "" for a run on which the verdict rests, "zoom" for one that reruns the first divergent step at level op, "experiment"
    for one that tests a cause."""

    run_id: str
    audit_id: str
    recipe: str
    arm: Arm
    twin: U32
    parameters: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    interventions: Mapping[str, str] = field(default_factory=dict)
    level: str = DEFAULT_LEVEL
    step_from: U32 = 0
    step_to: U32 | None = 32
    expected_source_digest: str = ""
    budget_share: Finite = 0.0  # the share of step time that the probe may use; 0: no limit
    purpose: Purpose = ""

    @property
    def label(self) -> str:
        """`machine/environment/variation/twin-N` (or zoom-N, experiment-N)."""
        return f"{self.arm.label}/{self.purpose or 'twin'}-{self.twin}"


@dataclass(frozen=True)
class RunFailure:
    """Why the training itself failed. signal: the name of the signal that ended it. original: where a missing file lies in the folder
    that the run's folder was a copy of. tail: the last lines of its own output."""

    kind: FailureKind
    exit_code: I32 = 0
    signal: str = ""
    module: str = ""
    file: str = ""
    original: str = ""
    interpreter: str = ""
    tail: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunOutcome:
    """How an attempt ended: `end` is exit, window, stop, timeout, lost, cancelled, output-limit, disk-full, refused."""

    end: str
    exit_code: I32 = 0
    message: str = ""
    output_tail: str = ""
    ranks: U32 = 0
    wall_s: Finite = 0.0
    failure: RunFailure | None = None  # None: it did not fail, or its agent does not report why
    timings: RunTimings | None = None  # None: its agent does not report them
    beside: U32 = 0  # the largest number of other runs that trained on the machine at the same time


@dataclass(frozen=True)
class RunRecord:
    """A run as the store keeps it. `manifest`: nested facts (domain/manifest.py lists its sections)."""

    spec: RunSpec
    state: RunState = RunState.WAITING
    attempt: U32 = 0
    boot_id: str = ""
    step: U32 = 0
    records: U64 = 0
    created_unix_s: Finite = 0.0
    manifest: Mapping[str, Any] = field(default_factory=dict)
    outcome: RunOutcome | None = None
    message: str = ""
    holder: str = ""  # for a joined or imported run: the name of the caller who sends it
    secret_digest: str = ""  # digest of the secret that its holder has (planning/run_holders.py)

    @property
    def closed_through(self) -> int:
        """The last attempt that accepts no more data; 0: none. A run accepts data only while it is assigned or running."""
        held = self.state in (RunState.ASSIGNED, RunState.RUNNING) and self.outcome is None
        return max(self.attempt - 1, 0) if held else self.attempt
