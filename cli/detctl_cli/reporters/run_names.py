"""Short names of runs: what all labels share is left out, twins are primes: gpu1, gpu1', gpu1''."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

PRIMES_MAX = 3
LISTED_MAX = 4  # twins of one arm in one group; beyond, `gpu1 ×10`


def arm_and_twin(label: str) -> tuple[tuple[str, ...], int]:
    """((machine, environment, variation), twin) of a label; a label of another form is its own arm, twin 0."""
    head, _, tail = label.rpartition("/")
    if not head or not tail.startswith("twin-") or not tail[5:].isdigit():
        return (label,), 0
    machine, _, rest = head.partition("/")
    environment, _, variation = rest.partition("/")
    return (machine, environment or "default", variation or "base"), int(tail[5:])


def short_arms(labels: Iterable[str]) -> dict[tuple[str, ...], str]:
    """Arm -> its shortest telling name among these runs."""
    arms = list(dict.fromkeys(arm_and_twin(label)[0] for label in labels))
    full = [arm for arm in arms if len(arm) == 3]
    telling = [position for position in range(3) if len({arm[position] for arm in full}) > 1] or [0]
    return {arm: "/".join(arm[i] for i in telling) if len(arm) == 3 else arm[0] for arm in arms}


def short_names(labels: Sequence[str]) -> dict[str, str]:
    """Label -> short name with its primes: `gpu1''`; from twin 4 on `gpu1·4`."""
    arms = short_arms(labels)
    result = {}
    for label in labels:
        arm, twin = arm_and_twin(label)
        result[label] = arms[arm] + ("'" * twin if twin <= PRIMES_MAX else f"·{twin}")
    return result


def group_words(groups: Sequence[Sequence[str]]) -> list[str]:
    """One word a group, `gpu1 = gpu1'`; a many-twinned arm is `gpu1 ×10`."""
    labels = [label for group in groups for label in group]
    names, arms = short_names(labels), short_arms(labels)
    words = []
    for group in groups:
        by_arm: dict[tuple[str, ...], list[str]] = {}
        for label in group:
            by_arm.setdefault(arm_and_twin(label)[0], []).append(label)
        parts: list[str] = []
        for arm, members in by_arm.items():
            many = len(members) > LISTED_MAX
            parts += (
                [f"{arms[arm]} ×{len(members)}"] if many else [names[label] for label in sorted(members, key=_twin)]
            )
        words.append(" = ".join(parts))
    return words


def groups_sentence(groups: Sequence[Sequence[str]]) -> str:
    """What the groups say, in words; empty where there is nothing to say."""
    labels = [label for group in groups for label in group]
    places: dict[tuple[str, ...], set[int]] = {}
    sizes: dict[tuple[str, ...], int] = {}
    for number, group in enumerate(groups):
        for label in group:
            arm = arm_and_twin(label)[0]
            places.setdefault(arm, set()).add(number)
            sizes[arm] = sizes.get(arm, 0) + 1
    arms = short_arms(labels)
    if len(labels) < 2:
        return ""
    if len(groups) == 1:
        return "both runs are equal" if len(labels) == 2 else f"all {len(labels)} runs are equal"
    split = [arms[arm] for arm, where in places.items() if len(where) > 1]
    if split:
        return f"twins on {' and '.join(split)} disagree" if len(split) < 4 else "twins disagree"
    what = "machine" if len({arm[0] for arm in places}) == len(places) else "arm"
    if all(size > 1 for size in sizes.values()):
        rest = "the two disagree" if len(places) == 2 else "they disagree"
        return f"each {what} repeats itself; {rest}"
    return "they disagree; without twins nobody knows whether each repeats itself"


def _twin(label: str) -> int:
    return arm_and_twin(label)[1]
