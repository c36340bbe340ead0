"""Which data files the runs of a pair opened, from the evidence of stage files."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence import Evidence
from detctl_coordinator.domain.fingerprint import Phase, Stage, StreamKey

SHOWN = 3


def opened(evidence: Evidence) -> tuple[dict[str, int], dict[str, int]]:
    """Name -> bytes of the files that each run opened in step 0 and in the root's step. Opening order is known, so the first steps tell."""
    sides: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for side, reader in zip(sides, (evidence.pair.left, evidence.pair.right), strict=True):
        key = StreamKey(evidence.root.rank, Stage.FILES, Phase.TRAIN)
        if key not in reader.streams():
            continue
        for step in {0, evidence.root.step}:
            for record in reader.records(key, step):
                name, size = record.evidence.get("file"), record.evidence.get("bytes")
                if isinstance(name, str) and isinstance(size, int):
                    side[name] = size
    return sides


def opened_by_one(evidence: Evidence) -> dict[str, str]:
    """Name -> a line of the files that only one of the two opened."""
    left, right = opened(evidence)
    told = {name: f"only the first run opens {name} ({size} bytes)" for name, size in left.items() if name not in right}
    return told | {
        name: f"only the second run opens {name} ({size} bytes)" for name, size in right.items() if name not in left
    }


def resized(evidence: Evidence) -> list[str]:
    """A line for each file that both opened, with another size."""
    left, right = opened(evidence)
    return shortened(
        [f"{n}: {left[n]} bytes against {right[n]}" for n in left if n in right and left[n] != right[n]],
        "files of another size",
    )


def shortened(lines: list[str], of_what: str) -> list[str]:
    """The first of the lines, and how many more there are."""
    more = len(lines) - SHOWN
    return lines[:SHOWN] + ([f"and {more} more {of_what}"] if more > 0 else [])
