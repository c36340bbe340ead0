"""Runs in memory, made from lists of records: what a RunReader reads, with real chains, sums and seals.

run = RunBuilder("gpu1").train(steps=4).build()              a small clean training
RunBuilder("gpu2").train(steps=4).change("forward", 2, "net", "other").build()
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

from detctl_coordinator.comparison.reader import DamagedError
from detctl_coordinator.domain.fingerprint import Fingerprint, Phase, Seal, SealedStream, Stage, StepEntry, StreamKey
from detctl_coordinator.domain.run import Arm, RunOutcome, RunRecord, RunSpec, RunState
from detctl_probe.transport.chain import ZERO, StepFold, add, chain, record_hash


def digest_of(value: object) -> bytes:
    return blake2b(repr(value).encode(), digest_size=16).digest()


def sketch_of(values: list[float]) -> tuple[float, ...]:
    """A sketch of values, one bucket each (fewer than 32)."""
    norm = math.sqrt(sum(v * v for v in values))
    return (0.0, 0.0, min(values), max(values), sum(values), norm, *values, *[0.0] * (32 - len(values)))


@dataclass
class MemoryRun:
    """A RunReader that counts what is read of it."""

    run: RunRecord
    content: dict[StreamKey, dict[int, list[Fingerprint]]]
    index: dict[StreamKey, list[StepEntry]]
    sealed: dict[int, Seal]
    facts: Mapping[str, Any] = field(default_factory=dict)
    scheme: str = "n6.v1"
    level: str = "module"
    broken: bool = False
    entry_reads: int = 0
    record_reads: int = 0

    def manifest(self) -> Mapping[str, Any]:
        return self.facts

    def seals(self) -> Mapping[int, Seal]:
        return self.sealed

    def streams(self) -> Mapping[StreamKey, int]:
        return {key: len(entries) for key, entries in self.index.items()}

    def entry(self, key: StreamKey, ordinal: int) -> StepEntry:
        self.entry_reads += 1
        return self.index[key][ordinal]

    def entries(self, key: StreamKey, start: int, stop: int) -> list[StepEntry]:
        found = self.index[key][start:stop]
        self.entry_reads += len(found)
        return found

    def records(self, key: StreamKey, step: int) -> list[Fingerprint]:
        self.record_reads += 1
        if self.broken:
            raise DamagedError("segment 0 does not fit its CRC")
        return self.content.get(key, {}).get(step, [])


class RunBuilder:
    """See the module's text. Every method returns the builder."""

    def __init__(
        self,
        machine: str = "gpu1",
        twin: int = 0,
        *,
        environment: str = "default",
        variation: tuple[tuple[str, str], ...] = (),
        audit: str = "a1",
        run_id: str = "",
    ) -> None:
        arm = Arm(machine, environment, variation)
        self.spec = RunSpec(run_id or f"{arm.label}-{twin}".replace("/", "-"), audit, "digits", arm, twin)
        self.rows: list[Fingerprint] = []
        self.detail: dict[str, Any] = {"notes": [], "observers": {}, "unobserved": [], "interventions": []}
        self.facts: dict[str, Any] = {
            "machine": {"name": machine, "cpu_model": "cpu"},
            "python": {"version": "3.11.7", "packages": {"torch": "2.13.0"}},
            "torch": {"version": "2.13.0", "cpu_capability": "AVX2", "threads": 2, "flags": {}},
            "variables": {"PYTHONHASHSEED": "0"},
            "recipe": {"name": "digits", "parameters": {}, "paths": ["data"], "source_digest": "s1"},
        }
        self.outcome = RunOutcome("exit", ranks=1)
        self.reason = "exit"
        self.steps = 0

    def add(self, stage: str, step: int, site: str, value: object = 0, **more: Any) -> RunBuilder:
        """One record at the end of the program; `more`: occurrence, rank, phase, dtype, shape, rows, evidence, sketch …"""
        rank = more.pop("rank", 0)
        phase = Phase[more.pop("phase", "train").upper()]
        rows = more.pop("rows", None)
        number = Stage[stage.upper()]
        same = sum((r.stage, r.phase, r.step, r.site, r.micro) == (number, phase, step, site, rank) for r in self.rows)
        if rows is not None:
            digests = tuple(digest_of(row) for row in rows)
            blind = ZERO
            for row in digests:
                blind = add(blind, row)
            more |= {"rows": digests, "order_blind": blind, "shape": (len(rows),)}
            value = list(rows)
        fields = {
            "occurrence": same,
            "dtype": "float32",
            "shape": (2,),
            "digest": digest_of(value),
            **more,
        }
        # micro carries the rank until build() sorts records into streams
        self.rows.append(Fingerprint(len(self.rows), number, phase, step, rank, site, **fields))
        return self

    def train(self, steps: int = 4, rank: int = 0) -> RunBuilder:
        """A clean training: every stage that an identical verdict needs, in program order."""
        self.steps = max(self.steps, steps)
        self.add("listing", 0, "{data}", rows=("a", "b", "c"), dtype="py:names", rank=rank)
        self.add("init", 0, "net.weight", "w0", rank=rank)
        for step in range(steps):
            self.add("rng", step, "torch", ("state", step), rank=rank)
            self.add("order", step, "loader", rows=(step, step + 1), dtype="py:list", rank=rank)
            self.add("sample", step, "loader", ("sample", step), rank=rank)
            self.add("batch", step, "0", rows=(("x", step, rank), ("x", step + 1, rank)), rank=rank)
            self.add("forward", step, "net", ("y", step), rank=rank)
            self.add("loss", step, "", ("l", step), rank=rank)
            self.add("backward", step, "net.weight", ("g", step), rank=rank)
            self.add("update", step, "net.weight", ("w", step), rank=rank)
        return self

    def change(self, stage: str, step: int, value: object, *, onward: bool = True, **more: Any) -> RunBuilder:
        """Gives every record of a stage another digest, at a step or from it onward."""
        number = Stage[stage.upper()]
        for at, row in enumerate(self.rows):
            if row.stage is number and (row.step == step or (onward and row.step > step)):
                new = replace(row, digest=digest_of((row.digest, value)), **more)
                if row.order_blind is not None:
                    new = replace(new, order_blind=digest_of((row.order_blind, value)), rows=None)
                self.rows[at] = new
        return self

    def carry(self, *stages: str, step: int = 0, value: object = "x", **more: Any) -> RunBuilder:
        """Changes several stages from a step on: what a cause carries on to."""
        for stage in stages:
            self.change(stage, step, value, **more)
        return self

    def drop(self, stage: str, step: int | None = None) -> RunBuilder:
        self.rows = [
            r for r in self.rows if r.stage is not Stage[stage.upper()] or (step is not None and r.step != step)
        ]
        return self

    def fact(self, path: str, value: Any) -> RunBuilder:
        section = self.facts
        *parents, last = path.split("/")
        for name in parents:
            section = section.setdefault(name, {})
        section[last] = value
        return self

    def asked(self, **changes: Any) -> RunBuilder:
        self.spec = replace(self.spec, **changes)
        return self

    def note(self, kind: str, text: str, **fields: Any) -> RunBuilder:
        self.detail["notes"].append({"kind": kind, "text": text, **fields})
        return self

    def ended(self, end: str, code: int = 0, reason: str = "exit", steps: int | None = None) -> RunBuilder:
        self.outcome, self.reason = replace(self.outcome, end=end, exit_code=code), reason
        self.steps = self.steps if steps is None else steps
        return self

    def build(self) -> MemoryRun:
        content: dict[StreamKey, dict[int, list[Fingerprint]]] = {}
        for row in self.rows:
            key = StreamKey(row.micro, row.stage, row.phase)
            content.setdefault(key, {}).setdefault(row.step, []).append(row)
        index = {key: fold(steps) for key, steps in content.items()}
        ranks = sorted({key.rank for key in index})
        sealed = {rank: self._seal(rank, index) for rank in ranks}
        record = RunRecord(
            self.spec, RunState.SEALED, 1, manifest=self.facts, outcome=replace(self.outcome, ranks=len(ranks))
        )
        return MemoryRun(record, content, index, sealed, self.facts)

    def _seal(self, rank: int, index: dict[StreamKey, list[StepEntry]]) -> Seal:
        streams = tuple(
            SealedStream(key, len(entries), sum(e.count for e in entries), entries[-1].chain)
            for key, entries in index.items()
            if key.rank == rank
        )
        return Seal(rank, 1, max(self.steps - 1, 0), self.steps, self.reason, True, streams, self.detail)


def fold(steps: Mapping[int, list[Fingerprint]]) -> list[StepEntry]:
    """The index of one stream, as probe and agent fold it."""
    entries: list[StepEntry] = []
    before = ZERO
    for ordinal, step in enumerate(sorted(steps)):
        folded = StepFold()
        for r in steps[step]:
            folded.take(record_hash(r.site, r.occurrence, r.dtype, r.shape, r.digest, r.order_blind))
        before = chain(before, step, folded.digest)
        entries.append(StepEntry(ordinal, step, folded.count, folded.digest, folded.sum, before))
    return entries
