"""Adds the results of experiments to a verdict: causes are confirmed or excluded, and the rest stays indicated. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from detctl_coordinator.attribution.evidence.cause_origins import CAUSES
from detctl_coordinator.attribution.experiments.releases import format_settings
from detctl_coordinator.attribution.experiments.rounds import Finding, Fix, Round
from detctl_coordinator.attribution.self_test import Check
from detctl_coordinator.attribution.signatures.kernels import KERNEL_FIX
from detctl_coordinator.attribution.verdict.changes import change_of, change_of_setting
from detctl_coordinator.attribution.verdict.report import cause_of
from detctl_coordinator.attribution.verdict.summary import summary_lines
from detctl_coordinator.domain.clue import Clue
from detctl_coordinator.domain.fingerprint import Stage
from detctl_coordinator.domain.verdict import Cause, CheapestFix, TestedSetting, Verdict

UNINITIALISED = "uninitialised-memory"
TIMED_STEPS_MIN = 8  # the median of fewer steps is too noisy

NONE_RUN = (
    "None was run, because the differing configurations have no agreeing twins, or no known fact differs between them."
)


def with_experiments(verdict: Verdict, rounds: Sequence[Round]) -> Verdict:
    """Returns the verdict after experiments. Its outcome stays the same."""
    confirmed: list[Cause] = []
    rest = list(verdict.causes)
    notes = list(verdict.notes)
    if not rounds:
        notes.append(_note(NONE_RUN))
    for round_ in rounds:
        own = [cause for cause in rest if _shown_by(cause, round_)]
        others = [cause for cause in rest if cause not in own]
        found, own, lines = _of_round(verdict, round_, own)
        confirmed += found
        rest = [*own, *others]
        notes += [_note(line) for line in lines]
    causes = sorted(_once(confirmed) + rest, key=_place)
    update: dict[str, object] = {
        "causes": causes,
        "notes": list(dict.fromkeys(notes)),
        "explained": True,
        "experiments": [row for round_ in rounds for row in round_.rows],
        "tested": [_tested(one, round_.scope) for round_ in rounds for one in round_.findings],
        "cheapest_fix": _fix([round_.fix for round_ in rounds if round_.fix]),
    }
    origins = {cause.origin for cause in confirmed}
    if confirmed and not rest and len(origins) == 1:
        update |= {"origin": origins.pop(), "not_separated": []}
    elif confirmed and causes[0].confidence == "confirmed":
        update["origin"] = causes[0].origin
    elif any(round_.hardware_fault for round_ in rounds):
        # Software that runs only on that machine, below all containers, could have the same effect.
        update |= {"origin": causes[0].origin, "not_separated": ["environment", "hardware"]}
    updated = verdict.model_copy(update=update)
    return updated.model_copy(update={"summary": summary_lines(updated, twins_untested=False)})


def _tested(one: Finding, scope: str) -> TestedSetting:
    return TestedSetting(
        setting=one.factor.shown,
        value=one.factor.equal,
        scope=scope,
        outcome=one.outcome,
        effective=one.outcome not in ("no-op", "no-result"),
        not_separated_from=[factor.shown for factor in one.overlaps],
        acts_with=[factor.shown for factor in one.acts_with],
        runs=one.runs,
        at=one.at,
        words=one.description,
    )


def _note(text: str) -> str:
    return f"Experiments: {text}"


def with_self_test(verdict: Verdict, checks: Sequence[Check]) -> Verdict:
    """Returns the verdict with the checks of the self-test. If a check failed, the outcome is unverified."""
    failed = [check.description for check in checks if check.passed is False]
    update: dict[str, object] = {"self_test": {"passed": not failed, "checks": [check.row() for check in checks]}}
    if failed:
        update["outcome"] = "unverified"
        update["unverified_because"] = [*verdict.unverified_because, *(f"self-test failed: {line}" for line in failed)]
    updated = verdict.model_copy(update=update)
    return updated.model_copy(update={"summary": summary_lines(updated, twins_untested=False)})


def _of_round(verdict: Verdict, round_: Round, own: list[Cause]) -> tuple[list[Cause], list[Cause], list[str]]:
    """Returns (confirmed causes, remaining causes of this round, notes)."""
    named = {cause.cause for cause in own}
    acting = [one for one in round_.findings if one.effect]
    # Random runs may agree by luck. So a signature must have named the cause as well, or all factors point to this one alone, or each of
    # several was released alone: without it runs always diverge, and with it all of many agree.
    suffices = round_.fix is not None and round_.fix.suffices
    alone = len(acting) == 1 and round_.answered and suffices
    released = bool(round_.equalised) and suffices and round_.scope == "twins"
    # What remains once the first cause is removed has causes of its own, which a signature named in the experiments.
    fits = [
        one
        for one in acting
        if alone
        or (released and one.steady and one.proven and not one.factor.masks)
        or not one.factor.confirms
        or one.operation is not None
        or (named | {found.cause for found in one.causes}) & {*one.factor.confirms}
    ]
    # Runs that agree by luck in the all-equal baseline are unlikely to agree again with only these factors equal.
    again = round_.scope != "twins" or (round_.fix is not None and round_.fix.suffices)
    partly = round_.scope == "twins" and round_.equalised is False
    # What ends once memory has a content is not the kernel that read it.
    proves = [
        one
        for one in fits
        if (again or (partly and one.proven))
        and (not one.factor.masks or (one.operation and not round_.uninitialised_memory))
    ]
    confirmed = [_confirmed(finding, own, verdict) for finding in proves]
    shown = {finding.factor for finding in fits if any(cause.cause in finding.factor.confirms for cause in own)}
    notes = list(
        dict.fromkeys(
            one.description
            for one in round_.findings
            if one not in proves and not (one.factor.masks and one.factor in shown)
        )
    )
    if round_.note:
        notes.insert(0, round_.note)
    names = {cause.cause for cause in confirmed}
    rest = [cause for cause in own if cause.cause not in names]
    for one in round_.causes_after_transplant:
        cause = cause_of(one)
        if cause.cause not in {known.cause for known in rest}:
            rest = [*rest, cause.model_copy(update={"evidence": [round_.transplant_evidence, *cause.evidence]})]
    for one in round_.causes_behind:
        if one.cause not in names | {known.cause for known in rest}:
            rest = [*rest, cause_of(one)]
    if round_.hardware_fault:
        fix = "Test the memory and the devices of {machine}, and use another machine in the meantime."
        rest = _with_shown_cause(rest, "hardware-fault", round_.hardware_fault, fix, verdict)
    if round_.uninitialised_memory:
        fix = "Write to memory before reading it: use torch.zeros instead of torch.empty, or fill the whole tensor."
        rest = _with_shown_cause(rest, UNINITIALISED, round_.uninitialised_memory, fix, verdict)
        if round_.equalised and any(one.factor.name == "deterministic" for one in acting):  # it fills the memory
            filled = {"confidence": "confirmed", "confirmed_by": "equalised"}
            rest = [cause.model_copy(update=filled) if cause.cause == UNINITIALISED else cause for cause in rest]
    for finding in fits:
        if finding.factor.masks:
            rest = [_with_evidence(cause, finding) for cause in rest]
    # The runs agree in the all-equal baseline and every factor has a result, so the confirmed causes suffice.
    if round_.answered and confirmed:
        notes += [f"{cause.cause} is excluded: the confirmed causes explain the difference." for cause in rest]
        rest = []
    return confirmed, rest, notes


def _shown_by(cause: Cause, round_: Round) -> bool:
    """Returns whether a cause belongs to a round: one between twins, or one between configurations."""
    configurations = {run.rpartition("/")[0] for run in cause.runs}
    return len(configurations) == 1 if round_.scope == "twins" else len(configurations) != 1


def _with_shown_cause(rest: Sequence[Cause], word: str, evidence: str, fix: str, verdict: Verdict) -> list[Cause]:
    """Returns the causes with one that the experiments showed. It replaces `unknown`; if a signature named it already, it gets
    the evidence. `fix`: {machine} stands for the machine of the first run."""
    named = [cause for cause in rest if cause.cause == word]
    base = named[0] if named else (rest[0] if rest else _first_divergence(verdict))
    lines = [clue for clue in base.clues if clue.kind == "uninitialised" and word == UNINITIALISED]
    shown = base.model_copy(
        update={
            "cause": word,
            "origin": CAUSES[word],
            "evidence": [evidence, *base.evidence],
            "change": [],
            "clues": lines,
            "fix_settings": [],
            "fix_at": lines[0].where if len(lines) == 1 else "",
            "fix": fix.replace("{machine}", base.runs[0].partition("/")[0]),
        }
    )
    return [shown, *(cause for cause in rest if cause is not base and cause.cause != "unknown")]


def _with_evidence(cause: Cause, finding: Finding) -> Cause:
    if cause.cause not in finding.factor.confirms:
        return cause
    return cause.model_copy(update={"evidence": [finding.evidence, *cause.evidence]})


def _confirmed(finding: Finding, own: Sequence[Cause], verdict: Verdict) -> Cause:
    """Returns the confirmed cause of a factor: the first verdict's, else the one that a signature found in the experiments, else
    one with the factor's own cause word."""
    factor = finding.factor
    found = [cause_of(one) for one in finding.causes]
    named = [cause.cause for cause in [*own, *found] if cause.cause in factor.confirms]
    word = named[0] if named else factor.word_at(found[0].stage if found else "", finding.calls)
    base = next((cause for cause in [*own, *found] if cause.cause == word), None)
    if base is None and finding.operation is not None:
        base = (found[0] if found else _first_divergence(verdict)).model_copy(
            update={
                "cause": word,
                "origin": CAUSES[word],
                "evidence": [],
                "caveats": [],
                "clues": [],
                "change": [],
                "fix": KERNEL_FIX,
                "fix_settings": [],
                "fix_at": "",
            }
        )
    if base is None:
        first = found[0] if found else _first_divergence(verdict)
        if first.cause != "unknown":  # lines and places of another cause
            first = first.model_copy(update={"evidence": [], "clues": [], "caveats": []})
        clues = [*first.clues, *(Clue(kind="intervention", call=call) for call in finding.calls)]
        base = first.model_copy(
            update={
                "cause": word,
                "origin": "code" if CAUSES[word] == "code" else "environment",
                "clues": clues,
                "fix": f"Set {factor.shown} to the same value in both runs."
                if factor.swaps
                else f"Set {factor.format_value(factor.equal)} in both runs.",
                "fix_settings": [factor.key],
                "fix_at": "",
                "change": change_of(word, clues),
            }
        )
    update: dict[str, object] = {
        "confidence": "confirmed",
        "confirmed_by": finding.confirmed_by,
        "evidence": [finding.evidence, *base.evidence],
        "caveats": [] if base in verdict.causes else base.caveats,  # this experiment resolves them
    }
    if finding.operation is not None and finding.operation.at:
        file, _, line = finding.operation.at[0].rpartition(":")
        clue = Clue(kind="operation", call=finding.operation.op, file=file, line=int(line) if line.isdigit() else None)
        update["clues"] = [*base.clues, clue]
        update["fix_at"] = base.fix_at or clue.where
    if factor.swaps:
        update["change"] = change_of_setting(factor.shown, factor.released, factor.equal)
        if factor.key not in base.fix_settings:
            update["fix"] = f"{base.fix} In this case, setting {factor.shown} to the same value in both runs is enough."
            update["fix_settings"] = [*base.fix_settings, factor.key]
    return base.model_copy(update=update)


def _once(confirmed: Sequence[Cause]) -> list[Cause]:
    """Returns the causes, with those of the same fix in the same place merged into one with all evidence."""
    found: dict[tuple[object, ...], Cause] = {}
    for cause in confirmed:
        key = (cause.cause, *cause.fix_settings, cause.fix_at)
        if key in found:
            lines = list(dict.fromkeys([*found[key].evidence, *cause.evidence]))
            cause = found[key].model_copy(update={"evidence": lines})
        found[key] = cause
    return list(found.values())


def _place(cause: Cause) -> tuple[int, Stage]:
    return cause.step, Stage[cause.stage.upper()]


def _first_divergence(verdict: Verdict) -> Cause:
    """Returns an unknown cause at the first divergence of the verdict, for the case that no signature matches."""
    first = verdict.first_divergence
    assert first is not None
    return Cause(
        cause="unknown",
        origin=None,
        stage=first.stage,
        step=first.step,
        site=first.site,
        kind=first.kind,
        runs=first.runs,
    )


def _fix(fixes: Sequence[Fix]) -> CheapestFix | None:
    """Returns the fix of the last round, which includes those of earlier rounds; None: no fix was tried."""
    if not fixes:
        return None
    fix = fixes[-1]
    values = {factor.shown: value for factor, value in fix.values.items()}
    shown = format_settings(fix.values)
    percent = None if fix.cost is None or fix.steps < TIMED_STEPS_MIN else round(100 * fix.cost, 1)
    scatter = f"over {fix.steps} steps; unchanged runs vary by {100 * fix.scatter:.0f} %"
    if percent is None:
        cost = f"the cost was not measured, since {fix.steps} steps are too few"
    elif percent <= 100 * fix.scatter:
        cost = f"no measurable cost in step time ({percent:+.0f} % {scatter})"
    else:
        cost = f"{percent:+.0f} % step time ({scatter})"
    text = f"{shown}: {cost}" if fix.suffices else f"{shown} alone does not make the runs equal"
    return CheapestFix(set=values, suffices=fix.suffices, cost_percent=percent, steps=fix.steps, words=text)
