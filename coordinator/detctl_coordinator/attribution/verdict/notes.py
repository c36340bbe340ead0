"""The notes of a verdict: lines about steps, interventions, twins and facts that are neither causes nor reasons."""

from __future__ import annotations

from collections.abc import Iterable

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.configurations import separated_by_changed_files
from detctl_coordinator.attribution.evidence.facts import interventions_of
from detctl_coordinator.attribution.evidence.outside import UNFILLED
from detctl_coordinator.attribution.evidence.settings.suspect_families import IRRELEVANT_VARIABLES
from detctl_coordinator.attribution.verdict.bounds import format_bound
from detctl_coordinator.attribution.verdict.partition import partition_notes
from detctl_coordinator.comparison.steps.window import finished_steps, training_steps
from detctl_coordinator.domain.manifest import not_comparable

NAMES_SHOWN = 8
BY_LOAD = ("concurrency", "uninitialised-memory", "nondeterministic-kernel", "kernel-choice", "unknown")


def verdict_notes(case: Case) -> list[str]:
    """Returns the notes on a case, each once."""
    lines: list[str] = []
    lines += _cut_short(case)
    for pair in case.compared:
        lines += [f"{case.label(pair.left)} and {case.label(pair.right)}: {note}" for note in pair.notes]
    for reader in case.comparable:
        for row in interventions_of(reader):
            if row.get("name") == "values" and row.get("acted"):
                continue  # the zoom asks for values itself, and its text shows them
            effect = "" if row.get("acted") else "had no effect"
            report = ": ".join(part for part in (effect, str(row.get("detail") or "")) if part)
            lines.append(f"{case.label(reader)}: {row.get('name')}={row.get('value')} {report or 'was in effect'}")
    identical = [
        sum(case.is_complete(r) for r in runs.readers) for runs in case.configurations if case.reproducible(runs)
    ]
    if identical:
        lines.append(format_bound(min(identical)))
    lines += _agree_by_chance(case)
    lines += _no_twins(case)
    lines += _side_by_side(case)
    lines += _not_comparable(case)
    lines += partition_notes(case)
    return _once(lines)


def _cut_short(case: Case) -> list[str]:
    """Returns a line if the runs were not compared over all their steps."""
    readers = [r for r in case.comparable if training_steps(r) is not None]
    limits = [p.limit for p in case.compared if not p.incomparable and p.limit is not None]
    if not limits or any(p.continuation is not None for p in case.compared):  # `coverage` has its steps
        return []
    least, most = min(limits), max(limits)
    steps = f"the first {least if least == most else f'{least} to {most}'} steps were compared"
    if any(r.run.outcome is not None and r.run.outcome.end == "stop" for r in readers):
        return [f"The runs stopped early because the result of every stage was known; {steps}. --to-end continues."]
    if len({finished_steps(r) for r in readers}) > 1:
        return [f"The runs ended at different steps; {steps}."]
    return []


def _no_twins(case: Case) -> list[str]:
    """Returns a line if files of the folder changed between recordings, so that they are not twins although the code may differ."""
    if not case.causes or case.causes[0].origin not in ("code", None):
        return []
    pairs = [
        pair
        for left, right, _, pair in case.configuration_pairs
        if pair.different and separated_by_changed_files(left, right)
    ]
    if not pairs:
        return []
    runs = _once(case.label(reader) for pair in pairs for reader in (pair.left, pair.right))
    advice = "`detctl audit -- COMMAND` starts each twin from the same snapshot."
    return [f"{' and '.join(runs)} are not twins, because files of their folder changed in between. {advice}"]


def _agree_by_chance(case: Case) -> list[str]:
    """Returns a line for each place that makes memory without content, if all runs agree: the memory may hold something else next time."""
    if not case.compared or any(pair.different for pair in case.compared):
        return []
    notes = [
        note for reader in case.comparable for note in case.facts(reader).note(UNFILLED) if not note.raw.get("filled")
    ]
    return [
        f"{note.where} makes memory with {note.raw.get('call')}, and no line of the file fills it. If the training reads it, the runs "
        "agree only by chance."
        for note in notes
    ]


def _side_by_side(case: Case) -> list[str]:
    """Returns a line if runs that shared their machine diverge for a reason that may depend on its load."""
    if not any(pair.different for pair in case.compared) or not any(c.cause in BY_LOAD for c in case.causes):
        return []
    beside = [r for r in case.comparable if r.run.outcome is not None and r.run.outcome.beside]
    if not beside:
        return []
    counted = f"{len(beside)} of {len(case.comparable)} runs trained while others trained on the same machine."
    return [f"{counted} A race may show more often then; --parallel 1 trains them one after another."]


def _not_comparable(case: Case) -> list[str]:
    """Returns a line for each set of variables that cannot be compared, since the runs were recorded with different keys."""
    found: dict[tuple[str, ...], str] = {}
    for pair in case.compared:
        ours, theirs = case.facts(pair.left).manifest, case.facts(pair.right).manifest
        names = tuple(sorted(name for name in not_comparable(ours, theirs) if not IRRELEVANT_VARIABLES.match(name)))
        if names:
            found.setdefault(names, f"{case.label(pair.left)} and {case.label(pair.right)}")
    why = "these variables cannot be compared, because their values are not recorded and their digests have different keys"
    return [f"{runs}: {why}: {_some(names)}" for names, runs in found.items()]


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"{', '.join(names[:NAMES_SHOWN])}{more}"


def _once(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines))
