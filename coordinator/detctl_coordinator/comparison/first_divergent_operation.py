"""The operation at which two runs part: the first, in program order, whose inputs match and whose output differs.

Reads the op records (level `op`, detctl_probe/observe/ops/ops.py) of one step: evidence `in` holds the digests of what went in,
`args` the plain arguments, `at` the user's line. An operation that only one run has is a culprit of its own kind; how much it
matters is then told by the next operation that both have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from detctl_coordinator.comparison.pair import PairComparison
from detctl_coordinator.comparison.ranks.ranks import match_ranks
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.sketches import relative_size
from detctl_coordinator.domain.fingerprint import Fingerprint, Phase, Stage, StreamKey

COMPUTED = (Stage.INIT, Stage.FORWARD, Stage.LOSS, Stage.BACKWARD, Stage.COLLECTIVE, Stage.UPDATE)
# The distance from 1 to the next number of the type.
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


@dataclass(frozen=True)
class Culprit:
    """`relative`: size of the difference over the size of the output; `ulp`: the same in units of the last place; None: not known."""

    op: str
    stage: Stage
    site: str
    occurrence: int
    rank: int
    at: tuple[str, ...]
    words: str
    relative: float | None = None
    ulp: float | None = None


def culprit(pair: PairComparison, step: int) -> Culprit | str:
    """Of the training records of a step. A text says why no operation can be named. Raises DamagedError."""
    matched = match_ranks(pair.left, pair.right)
    if matched is None:
        return "the runs have different numbers of ranks"
    found = []
    for left, right in sorted(matched.pairs.items()):
        sides = list(_operations(pair.left, left, step)), list(_operations(pair.right, right, step))
        parted = _first_to_differ(*sides)
        if parted is not None:
            place, told = parted
            found.append((place, replace(told, rank=left) if isinstance(told, Culprit) else told))
    if not found:
        return f"every operation of step {step} gave the same in both"
    return min(found, key=lambda item: item[0])[1]


def _operations(reader: RunReader, rank: int, step: int) -> Iterator[Fingerprint]:
    """Op records of a rank and step in program order."""
    keys = [StreamKey(rank, stage, Phase.TRAIN) for stage in COMPUTED]
    streams = reader.streams()
    records = [record for key in keys if key in streams for record in reader.records(key, step)]
    return (record for record in sorted(records, key=lambda r: r.sequence) if "in" in record.evidence)


def _first_to_differ(ours: Sequence[Fingerprint], theirs: Sequence[Fingerprint]) -> tuple[int, Culprit | str] | None:
    """(place in program order, what it is)."""
    other = {_key(record): record for record in theirs}
    known = {_key(record) for record in ours}
    extra = next(((place, r) for place, r in enumerate(theirs) if _key(r) not in known), None)
    for place, record in enumerate(ours):
        if extra is not None and extra[0] <= place:
            break
        twin = other.get(_key(record))
        if twin is None:
            return place, _lone(record, "first", ours[place:], other)
        if not _same(record, twin):
            return place, _told(record, twin)
    if extra is None:
        return None
    return extra[0], _lone(extra[1], "second", ours[extra[0] :], other)


def _key(record: Fingerprint) -> object:
    return record.stage, record.site, record.occurrence


def _same(a: Fingerprint, b: Fingerprint) -> bool:
    return (a.digest, a.dtype, a.shape) == (b.digest, b.dtype, b.shape)


def _lone(record: Fingerprint, which: str, later: Sequence[Fingerprint], other: dict[object, Fingerprint]) -> Culprit:
    """An operation of one run alone; `later`: records of the first run from there on."""
    words = f"only the {which} run has this operation"
    differing = next(((a, b) for a in later if (b := other.get(_key(a))) is not None and not _same(a, b)), None)
    relative = ulp = None
    if differing is not None:
        relative, ulp = _size(*differing)
        words += f"; {differing[0].site} is the next that both have: {_size_words(relative, ulp)}"
    return _named(record, _lines(record), words, relative, ulp)


def _told(a: Fingerprint, b: Fingerprint) -> Culprit | str:
    lines = _lines(a, b)
    if a.evidence.get("args") != b.evidence.get("args"):
        words = f"other arguments: {a.evidence.get('args')} against {b.evidence.get('args')}"
        return _named(a, lines, words, *_size(a, b))
    if a.evidence.get("in") != b.evidence.get("in"):
        where = f" ({' against '.join(lines)})" if lines else ""
        return (
            f"{a.stage.word}/{a.site}{where} is the first operation to differ, and its inputs differ already: "
            "the runs parted before this step, or in something that is no operation"
        )
    if a.dtype != b.dtype or a.shape != b.shape:
        return _named(
            a, lines, f"inputs equal, {a.dtype} {list(a.shape)} against {b.dtype} {list(b.shape)} came out", None, None
        )
    relative, ulp = _size(a, b)
    return _named(a, lines, f"inputs equal, {_size_words(relative, ulp)}", relative, ulp)


def _named(record: Fingerprint, at: tuple[str, ...], words: str, relative: float | None, ulp: float | None) -> Culprit:
    op = record.site.rpartition(":")[2].partition("[")[0]  # `aten.mm.default` of `root1/head:aten.mm.default[0]`
    return Culprit(op, record.stage, record.site, record.occurrence, 0, at, words, relative, ulp)


def _size(a: Fingerprint, b: Fingerprint) -> tuple[float | None, float | None]:
    """(relative, ulp) of the difference of two outputs, by their sketches."""
    relative = relative_size(a.sketch, b.sketch) if a.shape == b.shape else None
    known = relative is not None and math.isfinite(relative) and a.dtype == b.dtype and a.dtype in EPSILON
    return relative, relative / EPSILON[a.dtype] if known and relative is not None else None


def _size_words(relative: float | None, ulp: float | None) -> str:
    if relative is None:
        return "other values came out"
    if not math.isfinite(relative):
        return "only one output holds NaN or Inf"
    return f"the outputs differ by {relative:.1e} relative" + (f" (about {ulp:.1g} ulp)" if ulp is not None else "")


def _lines(*records: Fingerprint) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(record.evidence["at"]) for record in records if record.evidence.get("at")))
