"""A verdict with what experiments showed: what was confirmed says so, excluded causes are gone, the rest stays indicated. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from detctl_coordinator.attribution.evidence.descriptions import CAUSES
from detctl_coordinator.attribution.experiments.rounds import Finding, Fix, Round
from detctl_coordinator.attribution.self_test import Check
from detctl_coordinator.attribution.verdict.changes import change_of, change_of_setting
from detctl_coordinator.attribution.verdict.report import cause_of
from detctl_coordinator.attribution.verdict.summary import summary_lines
from detctl_coordinator.domain.clue import Clue
from detctl_coordinator.domain.fingerprint import Stage
from detctl_coordinator.domain.verdict import Cause, CheapestFix, Verdict

TIMED_STEPS_MIN = 8  # medians of fewer say nothing of a step's time

NONE_RUN = "none was run: the arms that differ have no twins that agree, or differ in nothing that is known"


def with_experiments(verdict: Verdict, rounds: Sequence[Round]) -> Verdict:
    """The verdict after experiments; unchanged in its outcome."""
    confirmed: list[Cause] = []
    rest = list(verdict.causes)
    notes = list(verdict.notes)
    if not rounds:
        notes.append(_note(NONE_RUN))
    for round_ in rounds:
        own = [cause for cause in rest if _shown_by(cause, round_)]
        others = [cause for cause in rest if cause not in own]
        found, own, said = _of_round(verdict, round_, own)
        confirmed += found
        rest = [*own, *others]
        notes += [_note(line) for line in said]
    causes = sorted(_once(confirmed) + rest, key=_place)
    update: dict[str, object] = {
        "causes": causes,
        "notes": list(dict.fromkeys(notes)),
        "explained": True,
        "experiments": [row for round_ in rounds for row in round_.rows],
        "cheapest_fix": _fix([round_.fix for round_ in rounds if round_.fix]),
    }
    origins = {cause.origin for cause in confirmed}
    if confirmed and not rest and len(origins) == 1:
        update |= {"origin": origins.pop(), "not_separated": []}
    elif confirmed and causes[0].confidence == "confirmed":
        update["origin"] = causes[0].origin
    elif any(round_.fault for round_ in rounds):
        # What runs on that machine alone, below every container, looks the same.
        update |= {"origin": causes[0].origin, "not_separated": ["environment", "hardware"]}
    updated = verdict.model_copy(update=update)
    return updated.model_copy(update={"summary": summary_lines(updated, twins_untested=False)})


def _note(words: str) -> str:
    return f"experiments: {words}"


def with_self_test(verdict: Verdict, checks: Sequence[Check]) -> Verdict:
    """With the checks; a verdict whose audit failed one is unverified, whatever it says."""
    failed = [check.words for check in checks if check.passed is False]
    update: dict[str, object] = {"self_test": {"passed": not failed, "checks": [check.row() for check in checks]}}
    if failed:
        update["outcome"] = "unverified"
        update["unverified_because"] = [*verdict.unverified_because, *(f"self-test failed: {line}" for line in failed)]
    updated = verdict.model_copy(update=update)
    return updated.model_copy(update={"summary": summary_lines(updated, twins_untested=False)})


def _of_round(verdict: Verdict, round_: Round, own: list[Cause]) -> tuple[list[Cause], list[Cause], list[str]]:
    """(confirmed, what is left of the causes that this round is about, notes)."""
    named = {cause.cause for cause in own}
    acting = [one for one in round_.findings if one.effect]
    # Where chance is at work equal runs may be luck: there a signature must have named the cause too, or all that was tried points to one.
    alone = len(acting) == 1 and round_.answered and round_.fix is not None and round_.fix.suffices
    fits = [one for one in acting if alone or not one.factor.words or named & {*one.factor.words}]
    # Runs that agree by chance in E* would hardly do so again with nothing but these equal.
    again = round_.scope != "twins" or (round_.fix is not None and round_.fix.suffices)
    proves = [one for one in fits if again and not one.factor.masks]
    confirmed = [_confirmed(finding, own, verdict) for finding in proves]
    notes = list(
        dict.fromkeys(
            one.words for one in round_.findings if one not in proves and not (one in fits and one.factor.masks)
        )
    )
    if round_.note:
        notes.insert(0, round_.note)
    words = {cause.cause for cause in confirmed}
    rest = [cause for cause in own if cause.cause not in words]
    for one in round_.behind:
        cause = cause_of(one)
        if cause.cause not in {known.cause for known in rest}:
            rest = [*rest, cause.model_copy(update={"evidence": [round_.behind_words, *cause.evidence]})]
    if round_.fault:
        fix = "test the memory and the devices of {machine}; let another machine do its work"
        rest = _shown(rest, "hardware-fault", round_.fault, fix, verdict)
    if round_.unfilled:
        fix = "fill memory before it is read: torch.zeros in the place of torch.empty, or a write to all of it"
        rest = _shown(rest, "uninitialised-memory", round_.unfilled, fix, verdict)
    for finding in fits:
        if finding.factor.masks:
            rest = [_with_evidence(cause, finding) for cause in rest]
    # With everything equal that could be set the runs agree, so nothing else is needed.
    if round_.answered and confirmed:
        notes += [f"{cause.cause} is excluded: the runs agree without it" for cause in rest]
        rest = []
    return confirmed, rest, notes


def _shown_by(cause: Cause, round_: Round) -> bool:
    """Whether a cause was seen between the arms of a round (between twins, in a round of twins)."""
    arms = {run.rpartition("/")[0] for run in cause.runs}
    return len(arms) == 1 if round_.scope == "twins" else len(arms) != 1


def _shown(rest: Sequence[Cause], word: str, words: str, fix: str, verdict: Verdict) -> list[Cause]:
    """A cause that a round has shown, in the place of what named no cause; one that a signature named keeps its place, with the
    evidence. fix: {machine} is the one that the first run is of."""
    named = [cause for cause in rest if cause.cause == word]
    base = named[0] if named else (rest[0] if rest else _first_divergence(verdict))
    shown = base.model_copy(
        update={
            "cause": word,
            "origin": CAUSES[word],
            "evidence": [words, *base.evidence],
            "change": [],
            "clues": [],
            "fix_settings": [],
            "fix_at": "",
            "fix": fix.replace("{machine}", base.runs[0].partition("/")[0]),
        }
    )
    return [shown, *(cause for cause in rest if cause is not base and cause.cause != "unknown")]


def _with_evidence(cause: Cause, finding: Finding) -> Cause:
    if cause.cause not in finding.factor.words:
        return cause
    return cause.model_copy(update={"evidence": [finding.evidence, *cause.evidence]})


def _confirmed(finding: Finding, own: Sequence[Cause], verdict: Verdict) -> Cause:
    """The cause of a factor: as the first verdict tells it, else by the signature that fits, else under the factor's own word."""
    factor = finding.factor
    told = [cause_of(one) for one in finding.causes]
    named = [cause.cause for cause in own if cause.cause in factor.words]
    word = named[0] if named else factor.word_at(told[0].stage if told else "", finding.calls)
    base = next((cause for cause in [*own, *told] if cause.cause == word), None)
    if base is None:
        first = told[0] if told else _first_divergence(verdict)
        clues = [*first.clues, *(Clue(kind="intervention", call=call) for call in finding.calls)]
        base = first.model_copy(
            update={
                "cause": word,
                "origin": "code" if CAUSES[word] == "code" else "environment",
                "clues": clues,
                "fix": f"set {factor.shown} alike on both",
                "fix_settings": [factor.key],
                "fix_at": "",
                "change": change_of(word, clues),
            }
        )
    update: dict[str, object] = {
        "confidence": "confirmed",
        "confirmed_by": finding.confirmed_by,
        "evidence": [finding.evidence, *base.evidence],
        "caveats": [] if base in verdict.causes else base.caveats,  # this was the experiment that they ask for
    }
    if factor.swaps:
        update["change"] = change_of_setting(factor.shown, factor.released, factor.equal)
        if factor.key not in base.fix_settings:
            update["fix"] = f"{base.fix}; here {factor.shown} alike on both does it"
            update["fix_settings"] = [*base.fix_settings, factor.key]
    return base.model_copy(update=update)


def _once(confirmed: Sequence[Cause]) -> list[Cause]:
    """A cause that two factors or two pairs of arms confirm is one, with the evidence of both: the same fix in the same place."""
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
    """A cause where the runs of the first verdict part, for want of a signature that speaks."""
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
    """Of the last round: it holds what the rounds before it found."""
    if not fixes:
        return None
    fix = fixes[-1]
    values = {factor.shown: value for factor, value in fix.values.items()}
    shown = ", ".join(factor.value_words(value) for factor, value in fix.values.items())
    percent = None if fix.cost is None or fix.steps < TIMED_STEPS_MIN else round(100 * fix.cost, 1)
    scatter = f"over {fix.steps} steps; runs as they are scatter by {100 * fix.scatter:.0f} %"
    if percent is None:
        cost = f"its cost was not measured: {fix.steps} steps are too few"
    elif percent <= 100 * fix.scatter:
        cost = f"no cost in step time to be seen ({percent:+.0f} % {scatter})"
    else:
        cost = f"{percent:+.0f} % step time ({scatter})"
    words = f"{shown}: {cost}" if fix.suffices else f"{shown} alone does not restore equality"
    return CheapestFix(set=values, suffices=fix.suffices, cost_percent=percent, steps=fix.steps, words=words)
