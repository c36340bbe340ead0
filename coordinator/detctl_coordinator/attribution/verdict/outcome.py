"""Decides outcome and origin, and lists why something is not verified (docs/adr/0016, docs/adr/0018, docs/adr/0022)."""

from __future__ import annotations

from dataclasses import dataclass

from detctl_proto.verdict_words import OriginWord, OutcomeWord

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.evidence.facts import interventions_of, other_places
from detctl_coordinator.attribution.evidence.pair_evidence import NUMERIC
from detctl_coordinator.attribution.evidence.settings.suspects import suspects_of
from detctl_coordinator.domain.fingerprint import Stage


@dataclass(frozen=True)
class Decision:
    """`not_separated`: the origins that remain possible if `origin` is None or another one is not excluded."""

    outcome: OutcomeWord
    origin: OriginWord | None
    not_separated: tuple[OriginWord, ...]
    unverified_because: tuple[str, ...]


def decide(case: Case) -> Decision:
    """Returns the outcome: different if any pair differs; identical only if every run is complete and all that was requested
    was compared; else unverified."""
    different = any(pair.different for pair in case.compared)
    if different:
        _ = case.causes  # computed first, since it may find damage, which is a reason
    reasons = (*_reasons(case), *case.damage_reasons)
    if different:
        origin, left = _origin(case)
        return Decision("different", origin, left, reasons)
    return Decision("unverified" if reasons else "identical", None, (), reasons)


def _reasons(case: Case) -> tuple[str, ...]:
    request = case.request
    found: list[str] = []
    for reader in request.readers:
        found += case.completeness[reader.run.spec.run_id].reasons
        if reader.run.spec.run_id in request.damaged and case.is_complete(reader):
            found.append(f"{case.label(reader)}: its stored data is damaged; run it again")
    if request.stopped_by:
        others = f"{request.not_run} other run{'s' * (request.not_run != 1)}"
        found.append(
            f"{case.labels[request.stopped_by]} failed, so the audit stopped without {others}; --keep-going runs all"
        )
    present = {reader.run.spec.arm.machine for reader in request.readers}
    for machine in request.machines:
        if machine not in present:
            found.append(f"{machine}: it has no run; run detctl audit {request.recipe} --machines {machine}")
    have = {reader.run.spec.label for reader in request.readers} | set(case.labels.values())
    found += [
        f"{label}: planned, but it does not exist; run the audit again"
        for label in request.planned
        if label not in have
    ]
    for configuration in dict.fromkeys(reader.run.spec.arm for reader in request.readers):
        count = sum(reader.run.spec.arm == configuration for reader in request.readers)
        if count < request.twins and not request.planned:
            found.append(f"{configuration.label}: only {count} of {request.twins} twins exist; run the audit again")
    for pair in case.compared:
        runs = f"{case.label(pair.left)} and {case.label(pair.right)}"
        if pair.incomparable:
            found.append(f"{runs}: {pair.incomparable}")
        if pair.united is not None and not pair.different:
            stages = ", ".join(sorted({node.stage.word for node in pair.observed}))
            found.append(
                f"{runs}: their numbers of ranks differ, so only {stages} were compared (equal in {pair.united.steps} steps); "
                "run both with the same number of ranks"
            )
        found += [f"{why}, so it was not compared" for why in pair.one_sided.values()]
        if pair.continuation is not None and pair.limit is not None and pair.limit <= pair.continuation.step:
            advice = "record a run that was not interrupted and is as long"
            if pair.left.run.spec.arm == pair.right.run.spec.arm:  # twins, which should know nothing of each other
                advice = (
                    "the later twin found what the earlier one had saved, outside of its private view of the folder: let the command "
                    "save inside of its folder or repository, in no folder that a link leads to, or give it a new place"
                )
            found.append(
                f"{runs}: one continues the other from step {pair.continuation.step}, and they have no step in common from there on; "
                f"{advice}"
            )
        elif pair.limit == 0 and not pair.incomparable:
            found.append(f"{runs}: they have no finished step in common; run them longer")
    if not case.compared and not found:
        found.append("nothing to compare with: run detctl audit with --twins 2 or more, or on another machine")
    found += _without_effect(case)
    return tuple(dict.fromkeys(found))


def _without_effect(case: Case) -> list[str]:
    """Returns a reason for each varied intervention that had no effect, so that its configuration does not match its label."""
    found = []
    for reader in case.request.readers:
        spec = reader.run.spec
        rows = {str(row.get("name")): row for row in interventions_of(reader)}
        for name, value in spec.interventions.items():
            if name in rows and not rows[name].get("acted"):
                detail = f" ({rows[name]['detail']})" if rows[name].get("detail") else ""
                found.append(f"{case.label(reader)}: {name}={value} had no effect{detail}; its runs do not test it")
    varied = {name for reader in case.request.readers for name, _ in reader.run.spec.arm.variation}
    return found if varied & {"listing", "workers", "probe:listing", "probe:workers"} else []


def _origin(case: Case) -> tuple[OriginWord | None, tuple[OriginWord, ...]]:
    """Returns (the first cause's origin if twins prove it, else None; the origins that remain possible)."""
    if case.causes and case.causes[0].cause == "resume":
        return (
            "code",
            (),
        )  # proved without twins: equal weights went on differently because the program left out a state
    if any(case.reproducible(runs) is False for runs in case.configurations):
        first = case.causes[0] if case.causes else None
        if (first is None or first.origin is None) and _recorded_elsewhere(case):
            return None, ("code", "environment")
        return (first.origin if first and first.origin else "code"), ()
    deciding = [(left, right, pair) for left, right, _, pair in case.configuration_pairs if pair.different]
    if any(case.reproducible(runs) is None for left, right, _ in deciding for runs in (left, right)):
        same_host = all(left.machine == right.machine for left, right, _ in deciding)
        return None, ("code", "environment") if same_host else ("code", "environment", "hardware")
    first = case.causes[0] if case.causes else None
    if first is None or first.origin is None:
        return None, ("environment", "hardware")
    numeric = first.stage in NUMERIC or (
        first.stage in (Stage.SAMPLE, Stage.BATCH) and first.cause == "library-version"
    )
    for left, right, pair in deciding:
        specs = pair.left.run.spec, pair.right.run.spec
        suspects = suspects_of(case.facts(pair.left).manifest, case.facts(pair.right).manifest, *specs)
        hardware = [s for s in suspects if s.family == "hardware" or (s.family == "isa" and s.key.startswith("torch."))]
        software = [s for s in suspects if s.family in ("library", "threads", "precision", "host", "config")]
        if any(s.deliberate for s in suspects) or not numeric or left.machine == right.machine:
            continue
        if (first.origin == "environment" and hardware) or (first.origin == "hardware" and software):
            return first.origin, ("environment", "hardware")
    return first.origin, ()


def _recorded_elsewhere(case: Case) -> bool:
    """Returns whether twins that differ are recordings of different working folders."""
    pairs = [pair for _, pair in case.twin_pairs if pair.different]
    return any(other_places(case.facts(pair.left).manifest, case.facts(pair.right).manifest) for pair in pairs)
