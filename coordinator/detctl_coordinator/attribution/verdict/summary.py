"""Formats the verdict as plain lines for terminals and logs, without markup."""

from __future__ import annotations

from detctl_coordinator.domain.verdict import Cause, Verdict

RUNS_SHOWN = 12


def summary_lines(verdict: Verdict, *, twins_untested: bool) -> list[str]:
    """Returns the lines: outcome, groups, causes with evidence and fixes, benign differences, reasons, coverage and notes."""
    lines = [_headline(verdict)]
    lines += [
        f"EMULATED: {e.environment} emulates {', '.join(f'{k}={v}' for k, v in e.emulates.items())}"
        for e in verdict.emulated
    ]
    if verdict.groups:
        lines.append("   ".join(_group(group) for group in verdict.groups) + _format_reproducibility(verdict))
    if verdict.continuation is not None:
        lines.append(f"continues  {verdict.continuation.words}")
    for cause in verdict.causes:
        lines += _cause_lines(cause)
    if verdict.outcome == "different" and twins_untested:
        lines.append(f"origin     not proved, because twins are missing; run {_command(verdict)}")
    elif verdict.outcome == "different" and verdict.origin is None and verdict.not_separated:
        lines.append(f"origin     {' or '.join(verdict.not_separated)}; only an experiment can decide")
    elif verdict.outcome == "different" and len(verdict.not_separated) > 1:
        lines.append(f"origin     {' or '.join(verdict.not_separated)}: facts of both differ")
    for benign in verdict.benign:
        difference = f": {benign.words}" if benign.words else ""
        where = f" ({', '.join(benign.at)})" if benign.at else ""
        effect = "the training" if benign.phase == "eval" else "the batches, the model or the results"
        lines.append(f"benign     step {benign.step} · {benign.site}{difference}; it did not affect {effect}{where}")
    lines += [f"unverified {reason}" for reason in verdict.unverified_because]
    if verdict.outcome == "identical":
        if verdict.updates_equal:
            lines.append(f"training   all updates are bit-equal: {verdict.updates_equal}")
        lines.append(f"compared   {_steps(verdict)}: {', '.join(verdict.coverage.stages)}")
        if verdict.coverage.not_observed:
            lines.append(f"not seen   {', '.join(verdict.coverage.not_observed)}; they may differ")
    lines += [f"unobserved {line}" for line in verdict.coverage.unobserved]
    lines += [f"note       {note}" for note in verdict.notes]
    return lines


def _headline(verdict: Verdict) -> str:
    parts = [verdict.outcome.upper()]
    if verdict.outcome == "different":
        parts.append(f"origin: {verdict.origin or 'not proved'}")
        if verdict.causes:
            parts.append("cause: " + ", ".join(f"{c.cause} ({c.confidence})" for c in verdict.causes))
    if verdict.emulated:
        parts.append("EMULATED")
    return "   ".join(parts)


def _group(group: list[str]) -> str:
    shown = " = ".join(group[:RUNS_SHOWN])
    return shown + (f" = … {len(group) - RUNS_SHOWN} more" if len(group) > RUNS_SHOWN else "")


def _format_reproducibility(verdict: Verdict) -> str:
    tested = {name: machine.repeats_itself for name, machine in verdict.machines.items()}
    if verdict.outcome != "different" or len(verdict.groups) < 2:
        return ""
    if all(tested.values()) and len(tested) > 1:
        return "   Each machine reproduces its own result; the machines differ."
    broken = [name for name, repeats in tested.items() if repeats is False]
    return f"   Not reproducible: {', '.join(broken)}." if broken else ""


def _cause_lines(cause: Cause) -> list[str]:
    lines = [
        f"root       step {cause.step} · {cause.stage} · {cause.site}   {cause.cause} ({cause.confidence}), {cause.kind}"
    ]
    if cause.carried_on_to:
        lines.append(f"propagates to {' → '.join(cause.carried_on_to)}")
    lines += [f"evidence   {line}" for line in (*cause.evidence, *cause.caveats)]
    if cause.fix:
        lines.append(f"fix        {cause.fix}")
    return lines


def _steps(verdict: Verdict) -> str:
    start, end = verdict.coverage.steps
    return f"steps {start} to {end - 1}" if end is not None else f"steps from {start} to the end"


def _command(verdict: Verdict) -> str:
    """Returns the command that makes the missing twins."""
    recipe = verdict.recipe if verdict.recipe and not verdict.recipe.startswith("-") else "RECIPE"
    machines = ",".join(verdict.machines)
    return f"detctl audit {recipe} --machines {machines} --twins 3" if machines else f"detctl audit {recipe} --twins 3"
