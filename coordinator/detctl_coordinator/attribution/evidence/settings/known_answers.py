"""Compares the known-answer tests of two environments. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detctl_coordinator.attribution.evidence.facts import value_at

SHOWN = 6


def class_of(manifest: Mapping[str, Any]) -> str:
    """Returns the known-answer class of an environment; empty: it was not tested."""
    return str(value_at(manifest, "known_answers", "class") or "")


def answers_compared(left: Mapping[str, Any], right: Mapping[str, Any]) -> str:
    """Returns one line with the answers that differ; empty if one environment has no answers."""
    ours, theirs = value_at(left, "known_answers", "answers"), value_at(right, "known_answers", "answers")
    if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping):
        return ""
    shared = sorted(set(ours) & set(theirs))
    differ = [question for question in shared if ours[question] != theirs[question]]
    if not shared:
        return ""
    if not differ:
        return (
            f"Known-answer test: all {len(shared)} answers are equal, so both environments compute these identically."
        )
    more = f" and {len(differ) - SHOWN} more" if len(differ) > SHOWN else ""
    return f"Known-answer test: {len(differ)} of {len(shared)} answers differ: {', '.join(differ[:SHOWN])}{more}."
