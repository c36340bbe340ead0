"""Agreement maps: in which stages and steps two runs agree, and the relative difference of the loss over steps. Pure.

Maps use only step sums, so no fingerprints are read. Sizes are estimated from the sketches of the loss.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

from detctl_proto.security.redaction import MARK

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.comparison.pair import PairComparison
from detctl_coordinator.comparison.reader import DamagedError, RunReader
from detctl_coordinator.comparison.sizes.sketches import relative_size
from detctl_coordinator.domain.fingerprint import Phase, Stage, StreamKey
from detctl_coordinator.domain.manifest import differences, flatten

PAIRS_MAX = 8
STEPS_MAX = 4096
SIZES_MAX = 256
VALUE_CHARS = 200


def maps_of(case: Case) -> list[dict[str, Any]]:
    """Returns a map for each differing pair, at most PAIRS_MAX:
    {"runs", "stages": {stage: [[first, last, "equal" | "different" | "one-sided"], …]}, "loss": [[step, relative], …]}."""
    found = []
    for pair in [pair for pair in case.compared if pair.different][:PAIRS_MAX]:
        try:
            stages = _agreement(pair)
            sizes = _sizes(pair)
        except DamagedError:
            continue  # the verdict reports the damage
        found.append({"runs": [case.label(pair.left), case.label(pair.right)], "stages": stages, "loss": sizes})
    return found


def _agreement(pair: PairComparison) -> dict[str, list[list[Any]]]:
    """Returns stage -> ranges of steps that are `equal`, `different` or `one-sided`, over all ranks, for the training phase."""
    limit = min(STEPS_MAX, pair.limit) if pair.limit is not None else STEPS_MAX
    left, right = _sums(pair.left, limit), _sums(pair.right, limit)
    found: dict[str, list[list[Any]]] = {}
    for stage in sorted({*left, *right}):
        ours, theirs = left.get(stage, {}), right.get(stage, {})
        steps = []
        for step in sorted({*ours, *theirs}):
            a, b = ours.get(step), theirs.get(step)
            steps.append((step, "equal" if a == b else "one-sided" if a is None or b is None else "different"))
        found[stage.word] = _ranges(steps)
    return found


def _sums(reader: RunReader, limit: int) -> dict[Stage, dict[int, tuple[bytes, ...]]]:
    """Returns stage -> step -> the sums of its ranks."""
    found: dict[Stage, dict[int, tuple[bytes, ...]]] = defaultdict(dict)
    for key in sorted(reader.streams(), key=lambda key: (key.rank, key.stage, key.phase)):
        if key.phase is not Phase.TRAIN:
            continue
        for entry in reader.entries(key, 0, min(reader.streams()[key], limit)):
            if entry.step < limit:
                found[key.stage][entry.step] = (*found[key.stage].get(entry.step, ()), entry.sum)
    return found


def _ranges(steps: Iterable[tuple[int, str]]) -> list[list[Any]]:
    found: list[list[Any]] = []
    for step, agreement in steps:
        if found and found[-1][2] == agreement and found[-1][1] == step - 1:
            found[-1][1] = step
        else:
            found.append([step, step, agreement])
    return found


def _sizes(pair: PairComparison) -> list[list[Any]]:
    """Returns [step, relative difference of the loss] for at most SIZES_MAX steps, evenly spaced."""
    key = StreamKey(0, Stage.LOSS, Phase.TRAIN)
    count = min(pair.left.streams().get(key, 0), pair.right.streams().get(key, 0))
    steps = [entry.step for entry in pair.left.entries(key, 0, count) if pair.limit is None or entry.step < pair.limit]
    found = []
    for step in steps[:: max(1, -(-len(steps) // SIZES_MAX))]:
        ours, theirs = pair.left.records(key, step), pair.right.records(key, step)
        if not ours or not theirs:
            continue
        size = relative_size(ours[0].sketch, theirs[0].sketch)
        if size is not None:
            found.append([step, size if size < float("inf") else None])
    return found


def environment_of(case: Case) -> dict[str, dict[str, str]]:
    """Returns dotted fact -> label of a configuration -> its value, for facts that differ between configurations. Values that were
    not recorded are numbered."""
    manifests = {runs.label: case.facts(case.representative(runs)).manifest for runs in case.configurations}
    flat: Mapping[str, Mapping[str, str]] = {label: dict(flatten(manifest)) for label, manifest in manifests.items()}
    differing = {key for a, b in combinations(manifests.values(), 2) for key in differences(a, b)}
    return {key: _shown({label: facts.get(key, "") for label, facts in flat.items()}) for key in sorted(differing)}


def _shown(values: Mapping[str, str]) -> dict[str, str]:
    marks = list(dict.fromkeys(value for value in values.values() if MARK.search(value)))
    return {
        label: (MARK.sub(f"(value {marks.index(value) + 1}, not recorded)", value) if value in marks else value)[
            :VALUE_CHARS
        ]
        for label, value in values.items()
    }
