"""Short names of runs: what all labels share is left out, and twins have primes: gpu1, gpu1', gpu1''."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from detctl_proto.recordings.run_labels import parse_label

PRIMES_MAX = 3
LISTED_MAX = 4  # twins of one configuration in one group; more are written as `gpu1 ×10`

Configuration = tuple[str, ...]


def configuration_and_twin(label: str) -> tuple[Configuration, int]:
    """Returns ((machine, environment, variation), twin) of a label. A label of another form is a configuration, twin 0."""
    found = parse_label(label)
    if found is None or found.kind != "twin":
        return (label,), 0
    return (found.machine, found.environment, found.variation), found.number


def short_configurations(labels: Iterable[str]) -> dict[Configuration, str]:
    """Returns the shortest name of each configuration that is unique among these runs."""
    found = list(dict.fromkeys(configuration_and_twin(label)[0] for label in labels))
    full = [one for one in found if len(one) == 3]
    distinct = [position for position in range(3) if len({one[position] for one in full}) > 1] or [0]
    return {one: "/".join(one[i] for i in distinct) if len(one) == 3 else one[0] for one in found}


def short_names(labels: Sequence[str]) -> dict[str, str]:
    """Returns the short name of each label with its primes, `gpu1''`, and from twin 4 on `gpu1·4`."""
    configurations = short_configurations(labels)
    result = {}
    for label in labels:
        configuration, twin = configuration_and_twin(label)
        result[label] = configurations[configuration] + ("'" * twin if twin <= PRIMES_MAX else f"·{twin}")
    return result


def group_names(groups: Sequence[Sequence[str]]) -> list[str]:
    """Returns one text for each group, `gpu1 = gpu1'`. A configuration with many twins is `gpu1 ×10`."""
    labels = [label for group in groups for label in group]
    names, configurations = short_names(labels), short_configurations(labels)
    result = []
    for group in groups:
        members: dict[Configuration, list[str]] = {}
        for label in group:
            members.setdefault(configuration_and_twin(label)[0], []).append(label)
        parts: list[str] = []
        for configuration, twins in members.items():
            if len(twins) > LISTED_MAX:
                parts.append(f"{configurations[configuration]} ×{len(twins)}")
            else:
                parts += [names[label] for label in sorted(twins, key=_twin)]
        result.append(" = ".join(parts))
    return result


def groups_sentence(groups: Sequence[Sequence[str]], *, partial: bool = False) -> str:
    """Returns what the groups mean, empty for less than two runs. partial: not everything could be compared."""
    labels = [label for group in groups for label in group]
    if len(labels) < 2:
        return ""
    if len(groups) == 1:
        runs = "Both runs" if len(labels) == 2 else f"All {len(labels)} runs"
        return f"{runs} are identical{' in what was compared' if partial else ''}."
    places: dict[Configuration, set[int]] = {}
    sizes: dict[Configuration, int] = {}
    for number, group in enumerate(groups):
        for label in group:
            configuration = configuration_and_twin(label)[0]
            places.setdefault(configuration, set()).add(number)
            sizes[configuration] = sizes.get(configuration, 0) + 1
    names = short_configurations(labels)
    split = [names[configuration] for configuration, where in places.items() if len(where) > 1]
    if split:
        return f"Twins of {' and '.join(split)} differ." if len(split) < 4 else "Twins differ."
    what = "machine" if len({one[0] for one in places}) == len(places) else "configuration"
    if all(size > 1 for size in sizes.values()):
        return f"Each {what} reproduces its own result; {'the two' if len(places) == 2 else 'they'} differ."
    return "They differ. Without twins it is unknown whether each reproduces its own result."


def _twin(label: str) -> int:
    return configuration_and_twin(label)[1]
