"""Replaces every sentence that attribution reads or writes by a placeholder: decisions must not change by it."""

from __future__ import annotations

from typing import Any

import pytest
from detctl_coordinator.attribution.evidence import facts
from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding
from detctl_coordinator.attribution.evidence.facts import Note, interventions_of
from detctl_coordinator.attribution.evidence.settings.suspects import Suspect
from detctl_coordinator.attribution.experiments import experiment_runner, rounds
from detctl_coordinator.domain.verdict import Verdict

PLACEHOLDER = "…"


def without_words(patch: pytest.MonkeyPatch) -> None:
    """Until `patch` is undone: notes, read-backs, suspects, findings, rounds and causes have placeholders for sentences."""
    _blank(patch, Note, text=PLACEHOLDER)
    _blank(patch, CauseFinding, evidence=(PLACEHOLDER,), fix=PLACEHOLDER, description=PLACEHOLDER)
    _blank(patch, rounds.Finding, description=PLACEHOLDER)
    for name in ("description", "listed"):
        patch.setattr(Suspect, name, property(lambda self: PLACEHOLDER))
    patch.setattr(rounds, "by_experiment", lambda text: PLACEHOLDER)

    def blanked(reader: Any) -> list[dict[str, Any]]:
        return [{**row, "detail": PLACEHOLDER} for row in interventions_of(reader)]

    for module in (facts, experiment_runner):
        patch.setattr(module, "interventions_of", blanked)


def _blank(patch: pytest.MonkeyPatch, kind: type, **fields: object) -> None:
    """Instances made from now on have these values."""
    original = kind.__init__

    def __init__(self: Any, *args: Any, **given: Any) -> None:
        original(self, *args, **given)
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    patch.setattr(kind, "__init__", __init__)


def decisions(verdict: Verdict) -> dict[str, Any]:
    """What a verdict decides: all of it but the sentences."""
    document = verdict.model_copy(update={"audit": ""}).to_dict()
    for key in ("summary", "notes", "unverified_because", "coverage", "zoom"):
        del document[key]
    for key in ("causes", "benign", "experiments", "tested"):
        document[key] = [_without_sentences(row) for row in document[key]]
    for key in ("first_divergence", "cheapest_fix"):
        document[key] = document[key] and _without_sentences(document[key])
    return document


def _without_sentences(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in ("evidence", "caveats", "fix", "words")}
