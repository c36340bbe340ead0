"""Which data files the runs of a pair opened, from the evidence of stage files."""

from __future__ import annotations

from typing import Any

from detctl_coordinator.attribution.evidence import Evidence
from detctl_coordinator.domain.fingerprint import Phase, Stage, StreamKey

SHOWN = 3


Opened = dict[str, dict[str, Any]]


def opened(evidence: Evidence) -> tuple[Opened, Opened]:
    """Name -> what is known (`bytes`, `content`) of the files that each run opened in step 0 and in the root's step: opening order is
    known, so the first steps tell."""
    sides: tuple[Opened, Opened] = ({}, {})
    for side, reader in zip(sides, (evidence.pair.left, evidence.pair.right), strict=True):
        key = StreamKey(evidence.root.rank, Stage.FILES, Phase.TRAIN)
        if key not in reader.streams():
            continue
        for step in {0, evidence.root.step}:
            for record in reader.records(key, step):
                name, size = record.evidence.get("file"), record.evidence.get("bytes")
                if isinstance(name, str) and isinstance(size, int):
                    side[name] = {**record.evidence, **side.get(name, {})}  # its first opening tells the content
    return sides


def opened_by_one(evidence: Evidence) -> dict[str, str]:
    """Name -> a line of the files that only one of the two opened."""
    left, right = opened(evidence)
    sides = (("first", left, right), ("second", right, left))
    return {
        name: f"only the {which} run opens {name} ({known['bytes']} bytes)"
        for which, mine, other in sides
        for name, known in mine.items()
        if name not in other
    }


def resized(evidence: Evidence) -> list[str]:
    """A line for each data file that both opened, with another size."""
    left, right = opened(evidence)
    return shortened(
        [
            f"{name}: {left[name]['bytes']} bytes against {right[name]['bytes']}"
            for name in left
            if name in right and left[name]["bytes"] != right[name]["bytes"] and "content" not in left[name]
        ],
        "files of another size",
    )


def other_settings(evidence: Evidence) -> list[str]:
    """A line for each settings file of the script's folder that both opened, with another content."""
    left, right = opened(evidence)
    both = [name for name in left if name in right and "content" in left[name] and "content" in right[name]]
    return [
        f"{name}, which both runs read, differs" for name in both if left[name]["content"] != right[name]["content"]
    ]


def shortened(lines: list[str], of_what: str) -> list[str]:
    """The first of the lines, and how many more there are."""
    more = len(lines) - SHOWN
    return lines[:SHOWN] + ([f"and {more} more {of_what}"] if more > 0 else [])
