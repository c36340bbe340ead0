"""Finds out whether a run continues another: whether the weights that it starts with are those after some update of the other.

A resumed run counts its steps from 0 again, so its step numbers mean nothing beside those of the whole run. The content of the weights
does: their digests identify the step. A site that both runs initialise alike, as biases of zero, identifies nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.domain.fingerprint import Fingerprint, Phase, Stage, StreamKey

# Fingerprints of updates that are read to find the step. Beyond them, only steps in which a file was saved are examined.
RECORDS_MAX = 400_000

Value = tuple[str, tuple[int, ...], bytes]


@dataclass(frozen=True)
class Continuation:
    """Which of two runs continues the other, and from which of its steps on. `restored`: sites of weights that are those of that step.
    `lost`: sites that are not, such as buffers that a checkpoint leaves out."""

    continuing: Literal["left", "right"]
    step: int
    restored: tuple[str, ...]
    lost: tuple[str, ...] = ()


def find_continuation(left: RunReader, right: RunReader) -> Continuation | None:
    """Returns how one of two runs continues the other; None: neither does, or no recorded step shows it. May raise DamagedError."""
    ranks = {key.rank for key in left.streams()} & {key.rank for key in right.streams()}
    if not ranks:
        return None
    rank = min(ranks)
    ours, theirs = _first_weights(left, rank), _first_weights(right, rank)
    identifying = {site for site in ours.keys() & theirs.keys() if ours[site] != theirs[site]}
    if not identifying:
        return None
    if (found := _continued(left, rank, ours, theirs, identifying)) is not None:
        return Continuation("right", *found)
    if (found := _continued(right, rank, theirs, ours, identifying)) is not None:
        return Continuation("left", *found)
    return None


def _continued(
    whole: RunReader, rank: int, first: Mapping[str, Value], start: Mapping[str, Value], identifying: set[str]
) -> tuple[int, tuple[str, ...], tuple[str, ...]] | None:
    """Returns (step of the whole run with whose weights the other starts, sites that agree, sites that do not)."""
    found: dict[int, tuple[set[str], set[str]]] = {}
    current = dict(first)  # an optimizer updates its own parameters alone
    updated: set[str] = set()
    for step, values in _updates(whole, rank):
        current.update((site, value) for site, value in values.items() if site in start)
        updated |= values.keys() & start.keys()
        agreeing = {site for site in start if current.get(site) == start[site]}
        moved = identifying & agreeing & updated
        # Half of the weights that identify a step: a checkpoint may leave some out, and chance matches none.
        if 2 * len(moved) > len(identifying & updated):
            found[step + 1] = (agreeing, set(start) - agreeing)
        elif found:
            break  # the steps that agree follow each other: a step may leave the weights as they are
    if not found:
        return None
    saved = _saved_at(whole, rank)
    step = next((step for step in found if step in saved), min(found, key=lambda step: (len(found[step][1]), step)))
    agreeing, lost = found[step]
    return step, tuple(sorted(agreeing)), tuple(sorted(lost))


def _first_weights(reader: RunReader, rank: int) -> dict[str, Value]:
    """Returns site -> the value with which the training starts: parameters and buffers before the first step."""
    key = StreamKey(rank, Stage.INIT, Phase.TRAIN)
    if not reader.streams().get(key):
        return {}
    return {r.site: _value(r) for r in reader.records(key, reader.entry(key, 0).step) if r.occurrence == 0}


def _updates(reader: RunReader, rank: int) -> Iterator[tuple[int, dict[str, Value]]]:
    """Yields (step, site -> value after its update) of the steps in which every update was recorded, as far as RECORDS_MAX reaches."""
    key = StreamKey(rank, Stage.UPDATE, Phase.TRAIN)
    count = reader.streams().get(key, 0)
    entries = reader.entries(key, 0, count) if count else []
    if sum(entry.count for entry in entries) > RECORDS_MAX:
        saved = _saved_at(reader, rank)
        entries = [entry for entry in entries if entry.step + 1 in saved]
    budget = RECORDS_MAX
    for entry in entries:
        budget -= entry.count
        if budget < 0:
            return
        yield entry.step, {r.site: _value(r) for r in reader.records(key, entry.step)}


def _saved_at(reader: RunReader, rank: int) -> set[int]:
    """Returns the steps in which the run saved a file; what it saves after an update belongs to the next step."""
    key = StreamKey(rank, Stage.ARTIFACT, Phase.TRAIN)
    count = reader.streams().get(key, 0)
    return {entry.step for entry in reader.entries(key, 0, count)} if count else set()


def _value(record: Fingerprint) -> Value:
    return record.dtype, record.shape, record.digest
