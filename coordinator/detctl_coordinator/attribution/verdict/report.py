"""Builds the verdict of a case from its parts."""

from __future__ import annotations

from collections.abc import Sequence

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding
from detctl_coordinator.attribution.evidence.facts import emulates, value_at
from detctl_coordinator.attribution.evidence.settings.known_answers import class_of
from detctl_coordinator.attribution.verdict.changes import change_of
from detctl_coordinator.attribution.verdict.continuation import continuation_of
from detctl_coordinator.attribution.verdict.coverage import coverage_of, stage_word
from detctl_coordinator.attribution.verdict.files import files_of
from detctl_coordinator.attribution.verdict.losses import losses_of
from detctl_coordinator.attribution.verdict.maps import environment_of, maps_of
from detctl_coordinator.attribution.verdict.notes import verdict_notes
from detctl_coordinator.attribution.verdict.outcome import Decision, decide
from detctl_coordinator.attribution.verdict.provenance import runs_of, sources_of
from detctl_coordinator.attribution.verdict.summary import summary_lines
from detctl_coordinator.comparison.groups import Groups
from detctl_coordinator.comparison.pair import NodeDifference, PairComparison
from detctl_coordinator.comparison.reader import DamagedError
from detctl_coordinator.domain.fingerprint import Phase, Stage
from detctl_coordinator.domain.verdict import (
    AgreementMap,
    Benign,
    Cause,
    Divergence,
    Emulated,
    Failure,
    Machine,
    Verdict,
)


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
        groups_by_stage={stage_word(stage): _labels(case, groups) for stage, groups in by_stage.items()},
        first_divergence=_first(case) if different else None,
        continuation=continuation_of(case),
        benign=_benign(case),
        updates_equal=_updates_equal(case),
        strict=case.request.strict,
        machines=_machines(case),
        unverified_because=list(decision.unverified_because),
        failures=_failures(case),
        stopped_by=case.labels.get(case.request.stopped_by, ""),
        coverage=coverage_of(case),
        emulated=_emulated(case),
        notes=verdict_notes(case),
        maps=[AgreementMap.model_validate(one) for one in maps_of(case)],
        environment=environment_of(case),
        losses=losses_of(case),
        runs=runs_of(case),
        sources=sources_of(case),
        files=files_of(case),
        requested_by=case.request.requested_by,
        expected=_expected(case) if different else [],
    )
    return verdict.model_copy(update={"summary": summary_lines(verdict, twins_untested=_untested(case, decision))})


def _failures(case: Case) -> list[Failure]:
    """Returns why trainings failed, each with its run."""
    return [
        Failure(run=case.label(reader), **{**vars(outcome.failure), "tail": list(outcome.failure.tail)})
        for reader in case.request.readers
        if (outcome := reader.run.outcome) is not None and outcome.failure is not None
    ]


def _labels(case: Case, groups: Groups) -> list[list[str]]:
    return [[case.label(reader) for reader in group] for group in groups]


def cause_of(finding: CauseFinding) -> Cause:
    """Returns a finding as an indicated cause of the verdict."""
    return Cause(
        cause=finding.cause,
        origin=finding.origin,
        stage=stage_word(finding.stage),
        step=finding.step,
        site=finding.site,
        kind=finding.kind,
        evidence=list(finding.evidence),
        caveats=list(finding.caveats),
        clues=list(finding.clues),
        fix=finding.fix,
        fix_settings=list(finding.fix_settings),
        fix_at=finding.fix_at,
        change=list(finding.change) or change_of(finding.cause, finding.clues, finding.source),
        runs=list(finding.runs),
        carried_on_to=[stage_word(stage) for stage in finding.carried_on_to],
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
        causes = case.causes_in_evaluation(pair)
        for difference in pair.benign:
            key = (difference.node.stage, difference.node.phase, difference.site)
            if key not in found:
                found[key] = _benign_difference(case, difference, pair, causes)
    return [found[key] for key in sorted(found)]


def _benign_difference(
    case: Case, difference: NodeDifference, pair: PairComparison, causes: Sequence[CauseFinding]
) -> Benign:
    shared = _shared(case, difference, pair)
    if difference.drawn_from:
        end = (
            "its training does not depend on it"
            if pair.updates_equal is not None
            else "nothing that was compared differs"
        )
        shared["words"] = f"{shared['words']}; the program draws from it, but {end}"
    root = next((f for f in causes if f.stage is difference.node.stage or difference.node.phase is Phase.EVAL), None)
    if root is not None and (difference.evaluation or difference.drawn_from):
        shared |= {"cause": root.cause, "at": [root.fix_at] if root.fix_at else []}
    return Benign.model_validate({**shared, "phase": difference.node.phase.word, "drawn_from": difference.drawn_from})


def _updates_equal(case: Case) -> int | None:
    """Returns how many updates agree in every compared pair; None: in one of them some differ or were not recorded."""
    counts = [pair.updates_equal for pair in case.compared]
    return None if None in counts else min((count for count in counts if count is not None), default=None)


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
