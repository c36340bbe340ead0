"""Which data files the runs of a pair opened, from the evidence of stage files."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.evidence import Evidence

SHOWN = 3


def opened_by_one(evidence: Evidence) -> dict[str, str]:
    """Name -> a line of the files that only one of the two opened."""
    left, right = evidence.opened
    sides = (("first", left, right), ("second", right, left))
    return {
        name: f"only the {which} run opens {name} ({known['bytes']} bytes)"
        for which, mine, other in sides
        for name, known in mine.items()
        if name not in other
    }


def resized(evidence: Evidence) -> list[str]:
    """A line for each data file that both opened, with another size."""
    left, right = evidence.opened
    return shortened(
        [
            f"{name}: {left[name]['bytes']} bytes against {right[name]['bytes']}"
            for name in left
            if name in right and left[name]["bytes"] != right[name]["bytes"] and "content" not in left[name]
        ],
        "files of another size",
    )


def other_settings(evidence: Evidence) -> list[str]:
    """Names of the settings files of the script's folder that both opened, with another content."""
    left, right = evidence.opened
    both = [name for name in left if name in right and "content" in left[name] and "content" in right[name]]
    return [name for name in both if left[name]["content"] != right[name]["content"]]


def shortened(lines: list[str], of_what: str) -> list[str]:
    """The first of the lines, and how many more there are."""
    more = len(lines) - SHOWN
    return lines[:SHOWN] + ([f"and {more} more {of_what}"] if more > 0 else [])
