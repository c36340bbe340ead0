"""Where two runs agree: a map of stages and steps, and the size of the difference of the loss over steps. Pure, for people's eyes.

From the step sums alone, so a map costs no record; sizes are estimated from the sketches of the loss.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

from detctl_proto.redaction import MARK

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.comparison.pair import PairComparison
from detctl_coordinator.comparison.reader import DamagedError, RunReader
from detctl_coordinator.comparison.sketches import relative_size
from detctl_coordinator.domain.fingerprint import Phase, Stage, StreamKey
from detctl_coordinator.domain.manifest import differences, flatten

PAIRS_MAX = 8
STEPS_MAX = 4096
SIZES_MAX = 256
VALUE_CHARS = 200


def maps_of(case: Case) -> list[dict[str, Any]]:
    """One a pair that differs, at most PAIRS_MAX: {"runs", "stages": {stage: [[first, last, word], …]}, "loss": [[step, relative], …]}."""
    found = []
    for pair in [pair for pair in case.compared if pair.different][:PAIRS_MAX]:
        try:
            stages = _agreement(pair)
            sizes = _sizes(pair)
        except DamagedError:
            continue  # the verdict says so
        found.append({"runs": [case.label(pair.left), case.label(pair.right)], "stages": stages, "loss": sizes})
    return found


def _agreement(pair: PairComparison) -> dict[str, list[list[Any]]]:
    """Stage -> runs of steps that are `equal`, `different` or `one-sided`; over all ranks and the training phase."""
    limit = min(STEPS_MAX, pair.limit) if pair.limit is not None else STEPS_MAX
    left, right = _sums(pair.left, limit), _sums(pair.right, limit)
    found: dict[str, list[list[Any]]] = {}
    for stage in sorted({*left, *right}):
        ours, theirs = left.get(stage, {}), right.get(stage, {})
        words = []
        for step in sorted({*ours, *theirs}):
            a, b = ours.get(step), theirs.get(step)
            words.append((step, "equal" if a == b else "one-sided" if a is None or b is None else "different"))
        found[stage.word] = _runs(words)
    return found


def _sums(reader: RunReader, limit: int) -> dict[Stage, dict[int, tuple[bytes, ...]]]:
    """Stage -> step -> the sums of its ranks."""
    found: dict[Stage, dict[int, tuple[bytes, ...]]] = defaultdict(dict)
    for key in sorted(reader.streams(), key=lambda key: (key.rank, key.stage, key.phase)):
        if key.phase is not Phase.TRAIN:
            continue
        for entry in reader.entries(key, 0, min(reader.streams()[key], limit)):
            if entry.step < limit:
                found[key.stage][entry.step] = (*found[key.stage].get(entry.step, ()), entry.sum)
    return found


def _runs(words: Iterable[tuple[int, str]]) -> list[list[Any]]:
    found: list[list[Any]] = []
    for step, word in words:
        if found and found[-1][2] == word and found[-1][1] == step - 1:
            found[-1][1] = step
        else:
            found.append([step, step, word])
    return found


def _sizes(pair: PairComparison) -> list[list[Any]]:
    """[step, relative size of the difference of the loss] of at most SIZES_MAX steps, evenly taken."""
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
    """Dotted fact -> label of an arm -> its value; only facts in which arms differ. Values that are not recorded have numbers."""
    arms = {arm.arm.label: case.facts(case.representative(arm)).manifest for arm in case.arms}
    flat: Mapping[str, Mapping[str, str]] = {label: dict(flatten(manifest)) for label, manifest in arms.items()}
    differing = {key for a, b in combinations(arms.values(), 2) for key in differences(a, b)}
    return {key: _shown({label: facts.get(key, "") for label, facts in flat.items()}) for key in sorted(differing)}


def _shown(values: Mapping[str, str]) -> dict[str, str]:
    marks = list(dict.fromkeys(value for value in values.values() if MARK.search(value)))
    return {
        label: (MARK.sub(f"(value {marks.index(value) + 1}, not recorded)", value) if value in marks else value)[
            :VALUE_CHARS
        ]
        for label, value in values.items()
    }
