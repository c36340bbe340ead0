"""Finds the first divergent operation: the first in program order with equal inputs and different outputs.

Reads the fingerprints of operations (level `op`, detctl_probe/observe/ops/ops.py) of one step. Their evidence has digests of the inputs
(`in`), plain arguments (`args`) and the user's source line (`at`). An operation that only one run has is divergent as well; the size
of its effect is measured at the next operation that both runs have. If the runs kept values, the difference is measured exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from detctl_coordinator.comparison.pair import PairComparison
from detctl_coordinator.comparison.ranks.ranks import match_ranks
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.sizes.kept_values import Measured, measured_results, measured_values
from detctl_coordinator.comparison.sizes.sketches import relative_size
from detctl_coordinator.domain.fingerprint import Fingerprint, Phase, Stage, StreamKey

COMPUTED = (Stage.INIT, Stage.FORWARD, Stage.LOSS, Stage.BACKWARD, Stage.COLLECTIVE, Stage.UPDATE)
# The distance from 1 to the next number of the type.
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


@dataclass(frozen=True)
class DivergentOperation:
    """`relative`: estimated size of the difference relative to the output. `ulp`: the same in units in the last place. None: unknown.
    `at`: source lines of the operation, one if both runs have the same. `inputs_equal`: whether what it takes is equal in both runs,
    arguments included; None: only one run has it. `compared`: the two fingerprints whose difference is described. `measured`: the
    difference element by element, if both runs kept the values."""

    op: str
    stage: Stage
    site: str
    occurrence: int
    rank: int
    at: tuple[str, ...]
    description: str
    relative: float | None = None
    ulp: float | None = None
    inputs_equal: bool | None = None
    compared: tuple[Fingerprint, Fingerprint] | None = None
    measured: Measured | None = None


@dataclass(frozen=True)
class DivergentInput:
    """The first operation to differ already takes something else, which no operation of this step made. `measured`: the difference of
    the first input that differs, if both runs kept it."""

    stage: Stage
    site: str
    at: tuple[str, ...]
    description: str
    digests: tuple[str, str] | None = None
    measured: Measured | None = None


Found = DivergentOperation | DivergentInput


def first_divergent_operation(pair: PairComparison, step: int) -> Found | str:
    """Returns the first divergent operation of a training step, or a sentence why none can be named. Raises DamagedError."""
    matched = match_ranks(pair.left, pair.right)
    if matched is None:
        return "the runs have different numbers of ranks"
    found = []
    for left, right in sorted(matched.pairs.items()):
        sides = list(_operations(pair.left, left, step)), list(_operations(pair.right, right, step))
        first = _first_to_differ(*sides)
        if first is not None:
            place, operation = first
            found.append((place, left, operation))
    if not found:
        return f"every operation of step {step} has the same result in both runs"
    return _measured(pair, matched.pairs, *min(found, key=lambda item: item[0])[1:])


def _measured(pair: PairComparison, ranks: Mapping[int, int], rank: int, found: Found) -> Found:
    """Returns what was found with its exact size, if the runs kept the values."""
    readers, both = (pair.left, pair.right), (rank, ranks[rank])
    if isinstance(found, DivergentInput):
        return replace(found, measured=measured_values(readers, both, found.digests) if found.digests else None)
    exact = measured_results(readers, both, found.compared) if found.compared else None
    return replace(found, rank=rank, measured=exact)


def _operations(reader: RunReader, rank: int, step: int) -> Iterator[Fingerprint]:
    """Yields the fingerprints of operations of a rank and step, in program order."""
    keys = [StreamKey(rank, stage, Phase.TRAIN) for stage in COMPUTED]
    streams = reader.streams()
    records = [record for key in keys if key in streams for record in reader.records(key, step)]
    return (record for record in sorted(records, key=lambda r: r.sequence) if "in" in record.evidence)


def _first_to_differ(ours: Sequence[Fingerprint], theirs: Sequence[Fingerprint]) -> tuple[int, Found] | None:
    """Returns (position in program order, the operation or its differing input); None: all agree."""
    other = {_key(record): record for record in theirs}
    known = {_key(record) for record in ours}
    extra = next(((place, r) for place, r in enumerate(theirs) if _key(r) not in known), None)
    for place, record in enumerate(ours):
        if extra is not None and extra[0] <= place:
            break
        twin = other.get(_key(record))
        if twin is None:
            return place, _of_one_run(record, "first", ours[place:], other)
        if not _same(record, twin):
            return place, _classified(record, twin)
    if extra is None:
        return None
    return extra[0], _of_one_run(extra[1], "second", ours[extra[0] :], other)


def _key(record: Fingerprint) -> object:
    return record.stage, record.site, record.occurrence


def _same(a: Fingerprint, b: Fingerprint) -> bool:
    return (a.digest, a.dtype, a.shape) == (b.digest, b.dtype, b.shape)


def _of_one_run(
    record: Fingerprint, which: str, later: Sequence[Fingerprint], other: dict[object, Fingerprint]
) -> DivergentOperation:
    """Returns an operation that only one run has. `later`: fingerprints of the first run from there on."""
    description = f"only the {which} run has this operation"
    differing = next(((a, b) for a in later if (b := other.get(_key(a))) is not None and not _same(a, b)), None)
    relative = ulp = None
    if differing is not None:
        relative, ulp = _size(*differing)
        description += f"; the next operation of both runs is {differing[0].site}: {_format_size(relative, ulp)}"
    return replace(_operation(record, _lines(record), description, relative, ulp), compared=differing)


def _classified(a: Fingerprint, b: Fingerprint) -> Found:
    lines = _lines(a, b)
    if a.evidence.get("args") != b.evidence.get("args"):
        description = f"the arguments differ: {a.evidence.get('args')} vs {b.evidence.get('args')}"
        return replace(_operation(a, lines, description, *_size(a, b)), inputs_equal=False, compared=(a, b))
    if a.evidence.get("in") != b.evidence.get("in"):
        where = f" ({' vs '.join(lines)})" if lines else ""
        description = (
            f"{a.stage.word}/{a.site}{where} is the first operation to differ, but its inputs differ already: "
            "the runs diverged before this step, or outside of operations"
        )
        return DivergentInput(a.stage, a.site, lines, description, _first_other_input(a, b))
    if a.dtype != b.dtype or a.shape != b.shape:
        outputs = f"{a.dtype} {list(a.shape)} vs {b.dtype} {list(b.shape)}"
        description, relative, ulp = f"the inputs are equal, but the outputs differ: {outputs}", None, None
    else:
        relative, ulp = _size(a, b)
        description = f"the inputs are equal, but {_format_size(relative, ulp)}"
    return replace(_operation(a, lines, description, relative, ulp), inputs_equal=True, compared=(a, b))


def _first_other_input(a: Fingerprint, b: Fingerprint) -> tuple[str, str] | None:
    ours, theirs = a.evidence.get("in"), b.evidence.get("in")
    if not isinstance(ours, list) or not isinstance(theirs, list) or len(ours) != len(theirs):
        return None
    return next(((str(x), str(y)) for x, y in zip(ours, theirs, strict=True) if x != y), None)


def _operation(
    record: Fingerprint, at: tuple[str, ...], description: str, relative: float | None, ulp: float | None
) -> DivergentOperation:
    op = record.site.rpartition(":")[2].partition("[")[0]  # `aten.mm.default` of `root1/head:aten.mm.default[0]`
    return DivergentOperation(op, record.stage, record.site, record.occurrence, 0, at, description, relative, ulp)


def _size(a: Fingerprint, b: Fingerprint) -> tuple[float | None, float | None]:
    """Returns the size of the difference of two outputs as (relative, ulp), estimated from their sketches."""
    relative = relative_size(a.sketch, b.sketch) if a.shape == b.shape else None
    known = relative is not None and math.isfinite(relative) and a.dtype == b.dtype and a.dtype in EPSILON
    return relative, relative / EPSILON[a.dtype] if known and relative is not None else None


def _format_size(relative: float | None, ulp: float | None) -> str:
    if relative is None:
        return "the outputs differ"
    if not math.isfinite(relative):
        return "only one output contains NaN or Inf"
    return f"the outputs differ by {relative:.1e} relative" + (f" (about {ulp:.1g} ulp)" if ulp is not None else "")


def _lines(*records: Fingerprint) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(record.evidence["at"]) for record in records if record.evidence.get("at")))
