"""Builds the verdict of a case from its parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from detctl_proto.verdict_words import StageWord

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.configurations import separated_by_changed_files
from detctl_coordinator.attribution.evidence.facts import emulates, interventions_of, value_at
from detctl_coordinator.attribution.evidence.known_answers import class_of
from detctl_coordinator.attribution.evidence.pair_evidence import CauseFinding
from detctl_coordinator.attribution.evidence.suspect_families import IRRELEVANT_VARIABLES
from detctl_coordinator.attribution.verdict.bounds import format_bound
from detctl_coordinator.attribution.verdict.changes import change_of
from detctl_coordinator.attribution.verdict.maps import environment_of, maps_of
from detctl_coordinator.attribution.verdict.outcome import Decision, decide
from detctl_coordinator.attribution.verdict.partition import partition_notes
from detctl_coordinator.attribution.verdict.summary import summary_lines
from detctl_coordinator.comparison.groups import Groups
from detctl_coordinator.comparison.pair import NodeDifference, PairComparison
from detctl_coordinator.comparison.reader import DamagedError
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.comparison.steps.coverage import unobserved_parts
from detctl_coordinator.comparison.steps.window import common_steps, finished_steps, training_steps
from detctl_coordinator.domain.fingerprint import Phase, Stage
from detctl_coordinator.domain.manifest import not_comparable
from detctl_coordinator.domain.verdict import (
    AgreementMap,
    Benign,
    Cause,
    Coverage,
    Divergence,
    Emulated,
    Machine,
    Verdict,
)

NAMES_SHOWN = 8


def build_verdict(case: Case) -> Verdict:
    """Returns the verdict of a case."""
    decision = decide(case)
    different = decision.outcome == "different"
    overall, by_stage = case.groups
    verdict = Verdict(
        audit=case.request.audit_id,
        recipe=case.request.recipe,
        outcome=decision.outcome,
        origin=decision.origin,
        not_separated=list(decision.not_separated),
        causes=[cause_of(f) for f in case.causes] if different else [],
        groups=_labels(case, overall),
        groups_by_stage={_word(stage): _labels(case, groups) for stage, groups in by_stage.items()},
        first_divergence=_first(case) if different else None,
        benign=_benign(case),
        machines=_machines(case),
        unverified_because=list(decision.unverified_because),
        coverage=_coverage(case),
        emulated=_emulated(case),
        notes=_notes(case),
        maps=[AgreementMap.model_validate(one) for one in maps_of(case)],
        environment=environment_of(case),
        expected=_expected(case) if different else [],
    )
    return verdict.model_copy(update={"summary": summary_lines(verdict, twins_untested=_untested(case, decision))})


def _word(stage: Stage) -> StageWord:
    return cast("StageWord", stage.word)


def _labels(case: Case, groups: Groups) -> list[list[str]]:
    return [[case.label(reader) for reader in group] for group in groups]


def cause_of(finding: CauseFinding) -> Cause:
    """Returns a finding as an indicated cause of the verdict."""
    return Cause(
        cause=finding.cause,
        origin=finding.origin,
        stage=_word(finding.stage),
        step=finding.step,
        site=finding.site,
        kind=finding.kind,
        evidence=list(finding.evidence),
        caveats=list(finding.caveats),
        clues=list(finding.clues),
        fix=finding.fix,
        fix_settings=list(finding.fix_settings),
        fix_at=finding.fix_at,
        change=change_of(finding.cause, finding.clues),
        runs=list(finding.runs),
        carried_on_to=[_word(stage) for stage in finding.carried_on_to],
        lasting=finding.lasting,
        words=finding.description,
    )


def _first(case: Case) -> Divergence | None:
    """Returns the difference with the smallest (step, stage) over all pairs that differ."""
    found = [(pair.first, pair) for pair in case.compared if pair.different and pair.first is not None]
    ranked = sorted(found, key=lambda item: (item[0].step, item[0].node))
    if not ranked:
        return None
    difference, pair = ranked[0]
    return Divergence.model_validate(_shared(case, difference, pair))


def _benign(case: Case) -> list[Benign]:
    """Returns the benign differences, each (stage, site) once."""
    found: dict[tuple[Stage, Phase, str], Benign] = {}
    for pair in case.compared:
        for difference in pair.benign:
            key = (difference.node.stage, difference.node.phase, difference.site)
            found.setdefault(key, Benign.model_validate(_shared(case, difference, pair)))
    return [found[key] for key in sorted(found)]


def _shared(case: Case, difference: NodeDifference, pair: PairComparison) -> dict[str, object]:
    return {
        "stage": difference.node.stage.word,
        "step": difference.step,
        "site": difference.site,
        "kind": difference.kind,
        "runs": [case.label(pair.left), case.label(pair.right)],
        "lasting": difference.lasting,
        "words": difference.description,
    }


def _machines(case: Case) -> dict[str, Machine]:
    names = dict.fromkeys([*case.request.machines, *(r.run.spec.arm.machine for r in case.request.readers)])
    result = {}
    for name in names:
        readers = [r for r in case.request.readers if r.run.spec.arm.machine == name]
        answers = [case.reproducible(runs) for runs in case.configurations if runs.machine == name]
        manifest = case.facts(readers[0]).manifest if readers and readers[0] in case.comparable else {}
        gpus = manifest.get("gpu")
        result[name] = Machine(
            runs=[case.label(r) for r in readers],
            repeats_itself=False if False in answers else True if answers and None not in answers else None,
            environments=list(dict.fromkeys(r.run.spec.arm.environment for r in readers)),
            known_answers=class_of(manifest),
            cpu_model=str(value_at(manifest, "machine", "cpu_model") or ""),
            gpus=[str(gpu.get("name", "")) for gpu in gpus if isinstance(gpu, dict)] if isinstance(gpus, list) else [],
        )
    return result


def _coverage(case: Case) -> Coverage:
    """Returns the stages that every compared run recorded. The others are `not_observed`."""
    seen = [{key.stage for key, count in r.streams().items() if count} for r in case.comparable]
    common = set.intersection(*seen) if seen else set()
    readers = case.comparable
    return Coverage(
        stages=[_word(stage) for stage in sorted(common)],
        not_observed=[_word(stage) for stage in Stage if stage not in common],
        unobserved=_once(line for r in readers for line in unobserved_parts(r)),
        steps=_steps(case),
        comparable_up_to=_comparable_up_to(case),
        level=_joined(r.level for r in readers),
        scheme=_joined(r.scheme for r in readers),
    )


def _comparable_up_to(case: Case) -> StageWord | None:
    """Returns the last compared stage of runs with different numbers of ranks; None: their numbers are equal."""
    united = [pair for pair in case.compared if pair.united is not None]
    if not united:
        return None
    return "update" if all(Node(Stage.UPDATE) in pair.observed for pair in united) else "batch"


def _steps(case: Case) -> list[int | None]:
    """Returns [first, last + 1] of the compared training steps, or the window if no run has any."""
    extents = [extent for reader in case.comparable if (extent := training_steps(reader)) is not None]
    if not extents:
        return list(case.request.window)
    limits = [pair.limit for pair in case.compared if not pair.incomparable]
    end = common_steps([*limits, case.limit, max(stop for _, stop in extents)])
    return [min(start for start, _ in extents), end]


def _joined(values: Iterable[str]) -> str:
    return " | ".join(dict.fromkeys(value for value in values if value))


def _once(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines))


def _expected(case: Case) -> list[dict[str, object]]:
    """Returns differences that vendors document for other hardware, with their size. They still count as differences, since a wrong
    kernel on a new device looks the same."""
    found: list[dict[str, object]] = []
    for cause in case.causes:
        if cause.cause not in ("cpu-isa", "gpu-architecture") or cause.origin != "hardware":
            continue
        sizes = [
            site.relative
            for pair in case.compared
            for root in pair.roots
            if (root.node.stage, root.step) == (cause.stage, cause.step)
            for site in root.sites
            if site.relative is not None
        ]
        size = (
            f"Here the relative difference is {max(sizes):.1g} at {cause.site}."
            if sizes
            else "Its size is unknown here."
        )
        text = f"{cause.cause}: according to its vendor, other hardware rounds differently. {size}"
        text += " A difference too large for rounding indicates a fault."
        found.append({"cause": cause.cause, "relative": max(sizes, default=None), "words": text})
    return found


def _emulated(case: Case) -> list[Emulated]:
    found: dict[str, Emulated] = {}
    for reader in case.request.readers:
        try:
            what = emulates(reader.manifest())
        except DamagedError:
            continue
        configuration = reader.run.spec.arm
        if what:
            name = f"{configuration.machine}/{configuration.environment}"
            found[name] = Emulated(environment=name, emulates=what)
    return list(found.values())


def _untested(case: Case, decision: Decision) -> bool:
    """Returns whether the origin is open because a configuration has no twins."""
    return (
        decision.outcome == "different"
        and decision.origin is None
        and any(case.reproducible(runs) is None for runs in case.configurations)
    )


def _cut_short(case: Case) -> list[str]:
    """Returns a line if the runs were not compared over all their steps."""
    readers = [r for r in case.comparable if training_steps(r) is not None]
    limits = [p.limit for p in case.compared if not p.incomparable and p.limit is not None]
    if not limits:
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


def _notes(case: Case) -> list[str]:
    lines: list[str] = []
    lines += _cut_short(case)
    for pair in case.compared:
        lines += [f"{case.label(pair.left)} and {case.label(pair.right)}: {note}" for note in pair.notes]
    for reader in case.comparable:
        for row in interventions_of(reader):
            effect = "" if row.get("acted") else "had no effect"
            report = ": ".join(part for part in (effect, str(row.get("detail") or "")) if part)
            lines.append(f"{case.label(reader)}: {row.get('name')}={row.get('value')} {report or 'was in effect'}")
    identical = [
        sum(case.is_complete(r) for r in runs.readers) for runs in case.configurations if case.reproducible(runs)
    ]
    if identical:
        lines.append(format_bound(min(identical)))
    lines += _no_twins(case)
    lines += _not_comparable(case)
    lines += partition_notes(case)
    return _once(lines)
