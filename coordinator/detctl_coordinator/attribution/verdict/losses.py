"""The values of the loss over the steps of each run, as curves for people. Pure.

They are read from the sketches of the loss: the sum of a single element is its value. A run at level `step` has none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.comparison.reader import DamagedError, RunReader
from detctl_coordinator.comparison.sizes.sketches import LENGTH, SUM
from detctl_coordinator.domain.fingerprint import Fingerprint, Phase, Stage, StreamKey

CURVES_MAX = 16
POINTS_MAX = 256  # of one run

Curve = list[tuple[int, float | None]]


def losses_of(case: Case) -> dict[str, Curve]:
    """Returns label -> [(step, loss; None: NaN or infinite)] of rank 0, for at most CURVES_MAX runs.

    Of a longer run, POINTS_MAX steps are read, evenly spaced. All runs have the same steps, as far as they have them at all. The loss of
    a step is the mean over its backward passes, without the factor of a GradScaler."""
    key = StreamKey(0, Stage.LOSS, Phase.TRAIN)
    steps: dict[int, list[int]] = {}
    readers = case.comparable[:CURVES_MAX]
    for place, reader in enumerate(readers):
        try:
            count = reader.streams().get(key, 0)
            entries = reader.entries(key, 0, count) if count else []
        except DamagedError:
            continue  # the verdict reports the damage
        steps[place] = [entry.step for entry in entries if case.limit is None or entry.step < case.limit]
    recorded = sorted({step for own in steps.values() for step in own})
    chosen = set(recorded[:: max(1, -(-len(recorded) // POINTS_MAX))])
    found = {}
    for place, own in steps.items():
        curve = _curve(readers[place], key, [step for step in own if step in chosen])
        if curve:
            found[case.label(readers[place])] = curve
    return found


def _curve(reader: RunReader, key: StreamKey, steps: Sequence[int]) -> Curve:
    curve: Curve = []
    for step in steps:
        try:
            values = [value for record in reader.records(key, step) if (value := _value(record)) is not None]
        except DamagedError:
            return []
        if values:
            mean = sum(values) / len(values)
            curve.append((step, mean if math.isfinite(mean) else None))
    return curve


def _value(record: Fingerprint) -> float | None:
    """Returns the value of a scalar; NaN if it is not finite; None if it is unknown."""
    sketch = record.sketch
    if sketch is None or len(sketch) != LENGTH or math.prod(record.shape) != 1:
        return None
    if sketch[0] or sketch[1]:
        return math.nan
    scale = record.evidence.get("scale")
    if not isinstance(scale, (int, float)) or isinstance(scale, bool) or not math.isfinite(scale) or scale <= 0:
        scale = 1.0
    return sketch[SUM] / scale
