"""A verdict with what experiments showed: confirmed causes first, excluded ones gone, the rest left as indicated. Pure."""

from __future__ import annotations

from detctl_coordinator.attribution.experiments import Finding, Reading
from detctl_coordinator.attribution.report import cause_of
from detctl_coordinator.attribution.summary import summary_lines
from detctl_coordinator.attribution.words import CAUSES
from detctl_coordinator.domain.verdict import Cause, Verdict

STILL_DIFFERENT = "experiments: with all that can be set made equal the arms still part, so no cause is confirmed"
NOT_SHOWN = "experiments: the runs with everything equal show nothing, so no cause is confirmed"
DISTURBED = "experiments: setting its own values changed the first arm, so no cause is confirmed"
TOGETHER = (
    "experiments: no setting parts the arms by itself, though they agree with all of them equal: some act together"
)


def with_experiments(verdict: Verdict, reading: Reading) -> Verdict:
    """The verdict after experiments; unchanged in its outcome."""
    equalised = reading.equalised
    updated = verdict.model_copy(update={"experiments": reading.rows()})
    if not equalised or reading.disturbs:
        note = NOT_SHOWN if equalised is None else DISTURBED if equalised else STILL_DIFFERENT
        return _summarised(updated.model_copy(update={"notes": [*verdict.notes, note]}))
    found = reading.findings()
    named = {cause.cause for cause in verdict.causes}
    # Where chance is at work equal runs may be luck: there a signature must have named the cause too.
    fits = [one for one in found if one.effect and (not one.factor.words or named & {*one.factor.words})]
    confirmed = [_confirmed(finding, verdict) for finding in fits]
    notes = [f"experiments: {finding.words}" for finding in found if finding not in fits]
    words = {cause.cause for cause in confirmed}
    # With everything equal that could be set the arms agree, so nothing else is needed; a cause is gone where each factor answered.
    answered = all(finding.effect is not None for finding in found)
    rest = [cause for cause in verdict.causes if cause.cause not in words]
    if answered and confirmed:
        notes += [f"experiments: {cause.cause} is excluded: the arms agree without it" for cause in rest]
        rest = []
    elif answered and not any(finding.effect for finding in found):
        notes.append(TOGETHER)
    causes = [*confirmed, *rest]
    origins = {cause.origin for cause in confirmed}
    update: dict[str, object] = {"causes": causes, "notes": [*verdict.notes, *notes]}
    if confirmed and not rest and len(origins) == 1:
        update |= {"origin": origins.pop(), "not_separated": []}
    return _summarised(updated.model_copy(update=update))


def _confirmed(finding: Finding, verdict: Verdict) -> Cause:
    """The cause of a factor: as the first verdict tells it, else by the signature that fits, else under the factor's own word."""
    named = [cause.cause for cause in verdict.causes if cause.cause in finding.factor.words]
    word = named[0] if named else finding.factor.word
    told = [cause_of(one) for one in finding.causes]
    base = next((cause for cause in [*verdict.causes, *told] if cause.cause == word), None)
    if base is None:
        base = (told[0] if told else _first_divergence(verdict)).model_copy(
            update={"cause": word, "origin": CAUSES[word], "fix": f"set {finding.factor.shown} alike on both"}
        )
    lines = base.evidence
    if base in verdict.causes:  # this was the experiment
        lines = [line for line in lines if "without an experiment" not in line]
    return base.model_copy(
        update={
            "confidence": "confirmed",
            "confirmed_by": finding.confirmed_by,
            "evidence": [finding.words, *lines],
        }
    )


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


def _summarised(verdict: Verdict) -> Verdict:
    return verdict.model_copy(update={"summary": summary_lines(verdict, twins_untested=False)})
