"""Folds what arrived of one rank into step entries, by the probe's own definition (detctl_probe/transport/chain.py).

The entries are the index that comparison bisects; their totals are held against the probe's seal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from detctl_probe.transport import chain, frames

from detctl_agent.recording.records import Record, record_hash


@dataclass(frozen=True)
class Entry:
    """One closed step of one stream; digest, sum, chain: 16 bytes each."""

    stage: int
    phase: int
    ordinal: int
    step: int
    count: int
    digest: bytes
    sum: bytes
    chain: bytes


@dataclass(frozen=True)
class Total:
    """What one stream adds up to: entries, records, last chain."""

    stage: int
    phase: int
    steps: int
    count: int
    chain: bytes

    @property
    def name(self) -> str:
        """`forward/train`, as the probe's seal names it."""
        return f"{frames.STAGES[self.stage]}/{frames.PHASES[self.phase]}"


class _Stream:
    __slots__ = ("chain", "count", "fold", "step", "steps")

    def __init__(self) -> None:
        self.fold: chain.StepFold | None = None
        self.step = -1
        self.steps = 0
        self.count = 0
        self.chain = chain.ZERO


class RankFolding:
    """The running index of one rank."""

    def __init__(self) -> None:
        self._streams: dict[tuple[int, int], _Stream] = {}
        self.late = 0  # records of a step whose entry was closed before: the rank cannot be complete

    def take(self, record: Record) -> Entry | None:
        """Adds a record; returns the entry of an earlier step of its stream that this closes."""
        stream = self._streams.get((record.stage, record.phase))
        if stream is None:
            stream = self._streams[record.stage, record.phase] = _Stream()
        closed = None
        if stream.fold is not None and record.step > stream.step:
            closed = self._close(record.stage, record.phase, stream)
        if stream.fold is None:
            if record.step <= stream.step:
                self.late += 1
                return closed
            stream.fold, stream.step = chain.StepFold(), record.step
        elif record.step < stream.step:
            self.late += 1
            return closed
        stream.fold.take(record_hash(record))
        return closed

    def close(self, step: int | None = None) -> list[Entry]:
        """Closes the open entries of steps up to `step`, or all of them."""
        return [
            self._close(stage, phase, stream)
            for (stage, phase), stream in sorted(self._streams.items())
            if stream.fold is not None and (step is None or stream.step <= step)
        ]

    def totals(self) -> list[Total]:
        """What the closed entries add up to, by stage and phase."""
        return [
            Total(stage, phase, stream.steps, stream.count, stream.chain)
            for (stage, phase), stream in sorted(self._streams.items())
            if stream.steps
        ]

    @staticmethod
    def _close(stage: int, phase: int, stream: _Stream) -> Entry:
        fold = stream.fold
        assert fold is not None
        digest = fold.digest
        stream.chain = chain.chain(stream.chain, stream.step, digest)
        entry = Entry(stage, phase, stream.steps, stream.step, fold.count, digest, fold.sum, stream.chain)
        stream.steps += 1
        stream.count += fold.count
        stream.fold = None
        return entry


def seal_mismatch(totals: Iterable[Total], streams: Mapping[str, Any]) -> str:
    """Empty where the probe's `streams` of its SEAL are exactly these totals, else what differs, in one line."""
    mine = {total.name: {"steps": total.steps, "count": total.count, "chain": total.chain.hex()} for total in totals}
    for name in sorted({*mine, *streams}):
        theirs = streams.get(name)
        if theirs is not None and (not isinstance(theirs, Mapping) or not theirs.get("count")) and name not in mine:
            continue  # a stream that the probe lists as empty
        if name not in mine:
            return f"{name}: the probe sealed it, nothing arrived"
        if not isinstance(theirs, Mapping):
            return f"{name}: arrived, but is not in the probe's seal"
        for key, value in mine[name].items():
            if theirs.get(key) != value:
                return f"{name}: {key} {value} arrived, the probe sealed {str(theirs.get(key))[:40]}"
    return ""
