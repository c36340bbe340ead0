"""Presents two runs, of which one continues the other, as if both had trained from the same step on.

The whole run shows its steps from that step on, the resumed one its own under the numbers that they continue. What a process does once,
at its start, belongs to no step of the training: initial weights and opened files are not compared, source code and listings are compared
as they are. Loaders are numbered, and their batches counted, over the life of a process, so both are counted from the continued step on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b
from typing import Any

from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.steps.continuation import Continuation
from detctl_coordinator.comparison.steps.window import entries_below, exited_normally, training_steps
from detctl_coordinator.domain.fingerprint import Fingerprint, Phase, Seal, Stage, StepEntry, StreamKey
from detctl_coordinator.domain.run import RunRecord

HIDDEN = frozenset({Stage.INIT, Stage.FILES})
STARTUP = frozenset({Stage.CODE, Stage.LISTING})
BY_LOADER = frozenset({Stage.ORDER, Stage.SAMPLE, Stage.BATCH})
# Their fingerprints change with the numbers above, so their sums are computed again.
RESUMMED = BY_LOADER | {Stage.RNG}
SEED = "seed/"


class ShiftedRun:
    """A RunReader over another one. `reader`: the run as it is. Its steps below `first` are hidden, the others are `offset` higher.

    Chains cover what is hidden, so they are empty: streams of such a run are compared by their sums."""

    def __init__(self, reader: RunReader, first: int, offset: int) -> None:
        self.reader = reader
        self.first = first
        self.offset = offset
        self.start = first + offset  # the first step that it shows
        self._loaders: dict[tuple[int, Phase], dict[str, tuple[str, int]]] = {}
        self._skipped: dict[StreamKey, int] = {}

    @property
    def run(self) -> RunRecord:
        return self.reader.run

    @property
    def scheme(self) -> str:
        return self.reader.scheme

    @property
    def level(self) -> str:
        return self.reader.level

    def manifest(self) -> Mapping[str, Any]:
        return self.reader.manifest()

    def seals(self) -> Mapping[int, Seal]:
        return self._seals

    @cached_property
    def _seals(self) -> dict[int, Seal]:
        found = {}
        for rank, seal in self.reader.seals().items():
            detail = dict(seal.detail)
            if self.offset:
                detail.pop("budget", None)  # its plans are in steps of its own
            found[rank] = replace(
                seal,
                last_step=seal.last_step + self.offset,
                steps_finished=seal.steps_finished + self.offset,
                detail=detail,
            )
        return found

    def streams(self) -> Mapping[StreamKey, int]:
        return self._streams

    @cached_property
    def _streams(self) -> dict[StreamKey, int]:
        shown = {}
        for key, count in self.reader.streams().items():
            if key.stage in HIDDEN:
                continue
            if key.stage in STARTUP:
                left = entries_below(self.reader, key, 1)
            else:
                # What is evaluated or saved before the first update belongs to the run that is continued.
                before = self.first + (key.phase is Phase.EVAL or key.stage is Stage.ARTIFACT)
                self._skipped[key] = entries_below(self.reader, key, before)
                left = count - self._skipped[key]
            if left:
                shown[key] = left
        return shown

    def entry(self, key: StreamKey, ordinal: int) -> StepEntry:
        return self._shown(key, self.reader.entry(key, ordinal + self._skip(key)), ordinal)

    def entries(self, key: StreamKey, start: int, stop: int) -> list[StepEntry]:
        skip = self._skip(key)
        stop = min(stop, self.streams().get(key, 0))
        if stop <= start:
            return []
        found = self.reader.entries(key, start + skip, stop + skip)
        return [self._shown(key, entry, start + number) for number, entry in enumerate(found)]

    def records(self, key: StreamKey, step: int) -> list[Fingerprint]:
        if key.stage in HIDDEN or key not in self.streams():
            return []
        if key.stage in STARTUP:
            return self.reader.records(key, step) if step == 0 else []
        own = step - self.offset
        if own < self.first:
            return []
        found = [replace(record, step=step) for record in self.reader.records(key, own)]
        if key.stage is Stage.RNG:
            return [record for record in found if not record.site.startswith(SEED)]
        return self._renumbered(key, found) if key.stage in BY_LOADER else found

    def _skip(self, key: StreamKey) -> int:
        _ = self._streams
        return self._skipped.get(key, 0)

    def _shown(self, key: StreamKey, entry: StepEntry, ordinal: int) -> StepEntry:
        if key.stage in STARTUP:
            return replace(entry, ordinal=ordinal, chain=b"")
        shown = replace(entry, ordinal=ordinal, step=entry.step + self.offset, chain=b"")
        if key.stage not in RESUMMED:
            return shown
        records = self.records(key, shown.step)
        return replace(shown, count=len(records), sum=_sum(records))

    def _renumbered(self, key: StreamKey, records: Sequence[Fingerprint]) -> list[Fingerprint]:
        names = self._numbers(key.rank, key.phase)
        found = []
        for record in records:
            site, loader = _split(record)
            name, base = names.get(loader, (loader, 0))
            if record.occurrence >= base:
                site = name if record.stage is Stage.ORDER else f"{site}@{name}"
                found.append(replace(record, site=site, occurrence=record.occurrence - base))
        return found

    def _numbers(self, rank: int, phase: Phase) -> dict[str, tuple[str, int]]:
        """Returns loader -> (its name, the number of its first batch), by first use from the continued step on.

        A resumed run may take and throw away the batches that the other had already trained on: only the last one before the first
        backward pass counts."""
        key = (rank, phase)
        if key not in self._loaders:
            self._loaders[key] = self._first_batches(rank, phase)
        return self._loaders[key]

    def _first_batches(self, rank: int, phase: Phase) -> dict[str, tuple[str, int]]:
        found: dict[str, tuple[str, int]] = {}
        for stage in (Stage.ORDER, Stage.BATCH):
            key = StreamKey(rank, stage, phase)
            for ordinal in range(self.streams().get(key, 0)):
                entry = self.reader.entry(key, ordinal + self._skip(key))
                taken: dict[str, list[Fingerprint]] = {}
                for record in self.reader.records(key, entry.step):
                    taken.setdefault(_split(record)[1], []).append(record)
                for loader, records in taken.items():
                    if loader not in found:
                        found[loader] = (f"loader{len(found) + 1}", _first_used(records))
        return found


def _split(record: Fingerprint) -> tuple[str, str]:
    """Returns (site without its loader, loader) of a fingerprint of a batch (detctl_probe/observe/data/loader.py)."""
    if record.stage is Stage.ORDER:
        return "", record.site
    site, at, loader = record.site.rpartition("@")
    if at and "loader" in loader:
        return site, loader
    return record.site, "loader1" if record.phase is Phase.TRAIN else "eval-loader1"


def _first_used(records: Sequence[Fingerprint]) -> int:
    """Returns the number of the first batch of a step that its training used: the last taken before the first backward pass."""
    first = min(record.micro for record in records)
    return max(record.occurrence for record in records if record.micro == first)


def _sum(records: Sequence[Fingerprint]) -> bytes:
    """Returns a digest of the fingerprints of a step that does not depend on their order."""
    rows = sorted(
        repr((r.site, r.occurrence, r.dtype, r.shape, r.digest, r.order_blind)).encode() for r in records
    )
    return blake2b(b"\0".join(rows), digest_size=16).digest()


def align_continuation(left: RunReader, right: RunReader, found: Continuation) -> tuple[ShiftedRun, ShiftedRun]:
    """Returns both runs as they train from the continued step on."""
    if found.continuing == "right":
        return ShiftedRun(left, found.step, 0), ShiftedRun(right, 0, found.step)
    return ShiftedRun(left, 0, found.step), ShiftedRun(right, found.step, 0)


def steps_of_both(left: ShiftedRun, right: ShiftedRun) -> int | None:
    """Returns the step before which both runs ended; None: their different ends are a difference.

    One may have been asked for fewer steps than the other. But a resumed run that makes as many steps as the whole one has
    started to count again."""
    whole, resumed = (left, right) if right.offset else (right, left)
    extents = [training_steps(run) for run in (whole, resumed)]
    if any(extent is None for extent in extents):
        return whole.start  # the whole run ends where the other begins
    return None if starts_again(whole, resumed) else min(extent[1] for extent in extents if extent is not None)


def starts_again(whole: ShiftedRun, resumed: ShiftedRun) -> bool:
    """Returns whether the resumed run makes as many steps as the whole one, and both ended by themselves."""
    ends = [training_steps(run) for run in (whole, resumed)]
    if ends[0] is None or ends[1] is None or not (exited_normally(whole) and exited_normally(resumed)):
        return False
    return ends[1][1] - resumed.offset == ends[0][1]
