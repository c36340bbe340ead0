"""Presents two runs, of which one continues the other, as if both had trained from the same step on.

The whole run shows its steps from that step on, the resumed one its own under the numbers that they continue. What a process does once,
at its start, belongs to no step of the training: initial weights, listings and opened files are not compared, and source code is compared
as it is. Loaders are numbered, and their batches counted, over the life of a process, so here both are counted within each step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b
from typing import Any

from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.steps.window import entries_below, exited_normally, training_steps
from detctl_coordinator.domain.fingerprint import Fingerprint, Phase, Seal, Stage, StepEntry, StreamKey
from detctl_coordinator.domain.run import RunRecord

HIDDEN = frozenset({Stage.INIT, Stage.LISTING, Stage.FILES})
STARTUP = frozenset({Stage.CODE})
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
        # Stream -> batches of the first step that both runs have there, counted from its last; see comparison/continued.py.
        self.shared: Mapping[StreamKey, int] = {}
        # Stream -> step -> its fingerprints, if they are not those that the run itself recorded there.
        self.replaced: Mapping[StreamKey, Mapping[int, list[Fingerprint]]] = {}
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
                early = key.phase is Phase.EVAL or key.stage is Stage.ARTIFACT or self.shared.get(key) == 0
                before = self.first + early
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
        if self._is_replaced(key, step):
            return self.replaced[key][step]
        if key.stage is Stage.RNG:
            return [record for record in found if not record.site.startswith(SEED)]
        return self._renumbered(key, found) if key.stage in BY_LOADER else found

    def _is_replaced(self, key: StreamKey, step: int) -> bool:
        return step in self.replaced.get(key, ())

    def _skip(self, key: StreamKey) -> int:
        _ = self._streams
        return self._skipped.get(key, 0)

    def _shown(self, key: StreamKey, entry: StepEntry, ordinal: int) -> StepEntry:
        if key.stage in STARTUP:
            return replace(entry, ordinal=ordinal, chain=b"")
        shown = replace(entry, ordinal=ordinal, step=entry.step + self.offset, chain=b"")
        if key.stage not in RESUMMED and not self._is_replaced(key, shown.step):
            return shown
        records = self.records(key, shown.step)
        return replace(shown, count=len(records), sum=_sum(records))

    def _renumbered(self, key: StreamKey, records: Sequence[Fingerprint]) -> list[Fingerprint]:
        batches = batches_of(records)
        if records and records[0].step == self.start and key in self.shared:
            batches = batches[max(len(batches) - self.shared[key], 0) :]
        names: dict[str, str] = {}
        counts: dict[str, int] = {}
        found = []
        for loader, batch in batches:
            name = names.setdefault(loader, f"loader{len(names) + 1}")
            number = counts[name] = counts.get(name, -1) + 1
            for record in batch:
                site, _ = _split(record)
                site = name if record.stage is Stage.ORDER else f"{site}@{name}" if name != "loader1" else site
                found.append(replace(record, site=site, occurrence=number))
        return found


def batches_of(records: Iterable[Fingerprint]) -> list[tuple[str, list[Fingerprint]]]:
    """Returns (loader, its fingerprints) of each batch of a step, in the order in which they were taken."""
    found: dict[tuple[str, int], list[Fingerprint]] = {}
    for record in records:
        found.setdefault((_split(record)[1], record.occurrence), []).append(record)
    return [(loader, batch) for (loader, _), batch in found.items()]


def _split(record: Fingerprint) -> tuple[str, str]:
    """Returns (site without its loader, loader) of a fingerprint of a batch (detctl_probe/observe/data/loader.py)."""
    if record.stage is Stage.ORDER:
        return "", record.site
    site, at, loader = record.site.rpartition("@")
    if at and "loader" in loader:
        return site, loader
    return record.site, "loader1"


def _sum(records: Sequence[Fingerprint]) -> bytes:
    """Returns a digest of the fingerprints of a step that does not depend on their order."""
    rows = sorted(repr((r.site, r.occurrence, r.dtype, r.shape, r.digest, r.order_blind)).encode() for r in records)
    return blake2b(b"\0".join(rows), digest_size=16).digest()


def steps_of_both(left: ShiftedRun, right: ShiftedRun) -> int | None:
    """Returns the step before which both runs ended; None: both are compared to their ends.

    One may have been asked for fewer steps than the other. But a resumed run that makes as many steps as the whole one has
    started to count again. If both end at the same step, what they evaluate and save after it counts too."""
    whole, resumed = (left, right) if right.offset else (right, left)
    extents = [training_steps(run) for run in (whole, resumed)]
    if any(extent is None for extent in extents):
        return whole.start  # the whole run ends where the other begins
    ends = {extent[1] for extent in extents if extent is not None}
    together = len(ends) == 1 and exited_normally(whole) and exited_normally(resumed)
    return None if together or starts_again(whole, resumed) else min(ends)


def starts_again(whole: ShiftedRun, resumed: ShiftedRun) -> bool:
    """Returns whether the resumed run makes as many steps as the whole one, and both ended by themselves."""
    ends = [training_steps(run) for run in (whole, resumed)]
    if ends[0] is None or ends[1] is None or not (exited_normally(whole) and exited_normally(resumed)):
        return False
    return ends[1][1] - resumed.offset == ends[0][1]
