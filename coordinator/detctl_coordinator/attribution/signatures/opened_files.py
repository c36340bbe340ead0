"""Compares the data files that the two runs opened, from the evidence of stage files."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.observed.read_files import read_files
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence
from detctl_coordinator.attribution.evidence.selection import opened_alone
from detctl_coordinator.comparison.alignment import name_hash

SHOWN = 3


def opened_by_one(evidence: Evidence) -> dict[str, str]:
    """Returns file name -> a line about it, for each file that only one run opened."""
    left, right = opened_alone(evidence)
    return {
        name: f"Only the {which} run opens {name} ({known['bytes']} bytes)."
        for which, mine in (("first", left), ("second", right))
        for name, known in mine.items()
    }


def absent_names(evidence: Evidence) -> list[str]:
    """Returns a line for each name that only one run lists, as far as the files that it opened show the name. The evidence of a
    listing holds the first names alone, which the description of the difference shows."""
    lines = []
    for which, facts, opened in zip(("first", "second"), (evidence.left, evidence.right), evidence.opened, strict=True):
        known = {}
        for path in (*opened, *read_files(facts.manifest).files):
            name = path.rpartition("/")[2]
            known[name_hash(name)] = name
        for site in evidence.root.sites:
            if site.left is None or site.right is None:
                continue
            mine, other = (site.left, site.right) if which == "first" else (site.right, site.left)
            shown = site.only_left if which == "first" else site.only_right
            names = sorted(known[row] for row in set(mine.rows or ()) - set(other.rows or ()) if row in known)
            lines += [f"Only the {which} run lists {name} in {site.site}." for name in names if name not in shown]
    return shortened(lines, "names that only one run lists")


def resized(evidence: Evidence) -> list[str]:
    """Returns a line for each data file that both runs opened with different sizes."""
    left, right = evidence.opened
    return shortened(
        [
            f"The size of {name} differs: {left[name]['bytes']} vs {right[name]['bytes']} bytes."
            for name in left
            if name in right and left[name]["bytes"] != right[name]["bytes"] and "content" not in left[name]
        ],
        "files with different sizes",
    )


def other_settings(evidence: Evidence) -> list[str]:
    """Returns the names of settings files in the script's folder that both runs opened with different content."""
    left, right = evidence.opened
    both = [name for name in left if name in right and "content" in left[name] and "content" in right[name]]
    return [name for name in both if left[name]["content"] != right[name]["content"]]


def shortened(lines: list[str], of_what: str) -> list[str]:
    """Returns the first lines, and a line that counts the rest."""
    more = len(lines) - SHOWN
    return lines[:SHOWN] + ([f"and {more} more {of_what}"] if more > 0 else [])
