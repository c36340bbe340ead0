"""What the known-answer test of two environments says of a difference between their runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detctl_coordinator.attribution.evidence.facts import value_at

SHOWN = 6


def class_of(manifest: Mapping[str, Any]) -> str:
    """The class of an environment, empty where nobody asked it or it did not answer."""
    return str(value_at(manifest, "known_answers", "class") or "")


def answers_compared(left: Mapping[str, Any], right: Mapping[str, Any]) -> str:
    """One line: which answers differ, or that none does; empty where one of them has none."""
    ours, theirs = value_at(left, "known_answers", "answers"), value_at(right, "known_answers", "answers")
    if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping):
        return ""
    shared = sorted(set(ours) & set(theirs))
    differ = [question for question in shared if ours[question] != theirs[question]]
    if not shared:
        return ""
    if not differ:
        return f"known-answer test: all {len(shared)} answers are equal: the two environments compute these alike"
    more = f" and {len(differ) - SHOWN} more" if len(differ) > SHOWN else ""
    return f"known-answer test: {len(differ)} of {len(shared)} answers differ: {', '.join(differ[:SHOWN])}{more}"
