"""Compares recordings in this process, with the coordinator's comparison and attribution. Both need only the standard library.

finding = compared([run_of(a, "gpu1", 0), run_of(b, "gpu1", 1)])      # twins of one machine
finding.outcome, finding.origin, finding.cause, finding.operation
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from detctl_coordinator.attribution.case import Case, JudgeRequest
from detctl_coordinator.attribution.verdict.outcome import decide
from detctl_coordinator.comparison.first_divergent_operation import DivergentOperation, first_divergent_operation
from detctl_coordinator.domain.fingerprint import Fingerprint, Phase, Seal, SealedStream, Stage, StepEntry, StreamKey
from detctl_coordinator.domain.run import Arm, RunOutcome, RunRecord, RunSpec, RunState
from detctl_probe.transport.chain import ZERO, StepFold, chain, record_hash
from recording import Recording

RANK = 0


class RecordedRun:
    """Reads one Recording of one rank, as a RunReader."""

    def __init__(self, recording: Recording, spec: RunSpec) -> None:
        self._recording = recording
        self._content: dict[StreamKey, dict[int, list[Fingerprint]]] = {}
        for one in recording.records:
            key = StreamKey(RANK, Stage[one.stage.upper()], Phase[one.phase.upper()])
            made = Fingerprint(
                one.sequence, key.stage, key.phase, one.step, one.micro, one.site, one.occurrence, one.dtype, tuple(one.shape),
                one.digest, one.order_blind, one.rows, one.sketch, one.evidence or {},
            )  # fmt: skip
            self._content.setdefault(key, {}).setdefault(one.step, []).append(made)
        self._index = {key: _folded(steps) for key, steps in self._content.items()}
        self._manifest = {
            "machine": {"name": spec.arm.machine}, "variables": {},
            "recipe": {"name": spec.recipe, "parameters": dict(spec.parameters), "paths": [], "source_digest": "same"},
        }  # fmt: skip
        outcome = RunOutcome("exit", recording.exit_code, ranks=1)
        self._run = RunRecord(spec, RunState.SEALED, 1, manifest=self._manifest, outcome=outcome)

    @property
    def run(self) -> RunRecord:
        return self._run

    @property
    def scheme(self) -> str:
        return str(self._recording.hello["scheme"])

    @property
    def level(self) -> str:
        return str(self._recording.hello["level"])

    def manifest(self) -> Mapping[str, Any]:
        return self._manifest

    def seals(self) -> Mapping[int, Seal]:
        seal = self._recording.seal
        if seal is None:
            return {}
        streams = []
        for name, total in seal["streams"].items():
            stage, phase = name.split("/")
            key = StreamKey(RANK, Stage[stage.upper()], Phase[phase.upper()])
            streams.append(SealedStream(key, total["steps"], total["count"], bytes.fromhex(total["chain"])))
        detail = {**seal, "facts": self._recording.facts or seal.get("facts"), "notes": self._recording.notes}
        made = Seal(RANK, 1, seal["last_step"], seal["steps_finished"], seal["reason"], True, tuple(streams), detail)
        return {RANK: made}

    def streams(self) -> Mapping[StreamKey, int]:
        return {key: len(entries) for key, entries in self._index.items()}

    def entry(self, key: StreamKey, ordinal: int) -> StepEntry:
        return self._index[key][ordinal]

    def entries(self, key: StreamKey, start: int, stop: int) -> list[StepEntry]:
        return self._index[key][start:stop]

    def records(self, key: StreamKey, step: int) -> list[Fingerprint]:
        return self._content.get(key, {}).get(step, [])


def _folded(steps: Mapping[int, Sequence[Fingerprint]]) -> list[StepEntry]:
    """Returns the index of one stream, folded as agents do it."""
    entries: list[StepEntry] = []
    before = ZERO
    for ordinal, (step, rows) in enumerate(steps.items()):
        fold = StepFold()
        for r in rows:
            fold.take(record_hash(r.site, r.occurrence, r.dtype, r.shape, r.digest, r.order_blind))
        before = chain(before, step, fold.digest)
        entries.append(StepEntry(ordinal, step, fold.count, fold.digest, fold.sum, before))
    return entries


def run_of(recording: Recording, machine: str, twin: int, parameters: Mapping[str, str] | None = None) -> RecordedRun:
    """Returns a run for `compared`. Other parameters make another configuration of the same machine."""
    varied = tuple(sorted((parameters or {}).items()))
    configuration = Arm(machine, "default", varied)
    spec = RunSpec(
        f"{configuration.label}-{twin}",
        "acceptance",
        "planted",
        configuration,
        twin,
        parameters=dict(varied),
        step_to=None,
    )
    return RecordedRun(recording, spec)


@dataclass(frozen=True)
class Finding:
    """What comparison and attribution found. `operation`: the first whose inputs agree and whose output differs, or why none is named."""

    outcome: str
    origin: str | None
    cause: str
    site: str
    step: int
    operation: str = ""
    at: str = ""
    because: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()

    def figures(self) -> dict[str, Any]:
        return asdict(self)


def compared(runs: Sequence[RecordedRun]) -> Finding:
    """Compares runs of any level. It looks for the operation only if they have level `op`."""
    case = Case(JudgeRequest("acceptance", "planted", tuple(runs), window=(0, None)))
    decision = decide(case)
    first = case.causes[0] if decision.outcome == "different" and case.causes else None
    operation = at = ""
    diverged = next((pair for pair in case.compared if pair.different), None)
    if diverged is not None and diverged.left.level == "op" and diverged.first is not None:
        found = first_divergent_operation(diverged, diverged.first.step)
        if isinstance(found, str):
            operation = found
        else:
            operation = found.op if isinstance(found, DivergentOperation) else found.site
            at = ", ".join(found.at)
    return Finding(
        decision.outcome, decision.origin, first.cause if first else "", first.site if first else "", first.step if first else -1,
        operation, at, decision.unverified_because, tuple(first.evidence) if first else (),
    )  # fmt: skip
