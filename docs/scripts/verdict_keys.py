"""What each key of a verdict means, for docs/reference/verdict.md. A key that several objects share has one meaning under "*"."""

from __future__ import annotations

MEANINGS: dict[str, dict[str, str]] = {
    "*": {
        "stage": "The stage in which the difference is.",
        "step": "The step, counted from 0.",
        "site": "The named place inside the stage.",
        "kind": "Whether the same things come in another order, values differ, or something is missing or extra.",
        "runs": "Labels of the runs that the object is about.",
        "lasting": "Whether the runs agree again later.",
        "words": "The same as one sentence, for people.",
    },
    "Verdict": {
        "schema": "The version of this format.",
        "audit": "The audit's id; empty if folders were compared.",
        "recipe": "The name of the recipe or of the script.",
        "outcome": "The answer. It decides the exit code: 0, 1 or 3.",
        "origin": "Where the first cause comes from; null if no twins proved it.",
        "not_separated": "The origins that are possible if `origin` is null.",
        "causes": "Why the runs differ, the earliest first.",
        "groups": "The runs, grouped: runs in one group are equal to each other.",
        "groups_by_stage": "The same for each stage.",
        "first_divergence": "The first difference in time; null if there is none.",
        "benign": "Differences that reached neither the model nor its results.",
        "machines": "The machines by name.",
        "unverified_because": "Why the outcome is `unverified`.",
        "coverage": "What was compared, and what was not.",
        "emulated": "Environments that stood in for other hardware.",
        "explained": "Whether experiments were requested and are over.",
        "experiments": "Each experiment with its settings, runs and result.",
        "cheapest_fix": "The cheapest settings that restored equality in an experiment.",
        "maps": "Where each pair of runs agrees, by stage and step.",
        "environment": "Facts in which the environments differ: fact → run → value.",
        "self_test": "Results of `--self-test`; null if it was not requested.",
        "expected": "Differences that vendors document, with their size. They still count as differences.",
        "zoom": "The first operation that differs; null if nobody looked.",
        "notes": "Remarks for people.",
        "summary": "The verdict as lines of text, for people.",
    },
    "AgreementMap": {
        "stages": "Ranges of steps in which the two runs agree or differ.",
        "loss": "The size of the loss difference for each step.",
    },
    "Cause": {
        "cause": "A word of [causes](../causes.md).",
        "origin": "Where this cause comes from.",
        "confidence": "Whether an experiment proved the cause.",
        "confirmed_by": "How the experiment proved it.",
        "evidence": "What was seen, as sentences for people.",
        "caveats": "What an experiment would still have to separate, as sentences.",
        "clues": "The same as data: what was called, and where.",
        "fix": "What to do, as a sentence.",
        "fix_settings": "Settings that the fix makes equal, such as `variables.TZ`.",
        "fix_at": "File and line that the fix changes.",
        "change": "The fix as lines of a diff.",
        "carried_on_to": "Later stages that differ because of this cause.",
    },
    "CheapestFix": {
        "set": "The settings: name → value.",
        "suffices": "Whether they alone made all runs equal.",
        "cost_percent": "What they add to the step time; null if it was not measured.",
        "steps": "In how many steps the cost was measured.",
    },
    "Clue": {
        "kind": "What kind of observation it is, such as `unseeded-rng` or `listing`.",
        "call": "The function that was called.",
        "generator": "The random generator concerned.",
        "package": "The installed package in which the call is.",
        "value_kind": "What a seed looks like, such as `the clock`.",
        "file": "The file of your code.",
        "line": "The line in it.",
    },
    "Coverage": {
        "stages": "The stages that were compared.",
        "not_observed": "The stages in which nothing was recorded.",
        "unobserved": "What the probe could not see, as text.",
        "steps": "The first and the last step that were compared.",
        "comparable_up_to": "The last stage that could be compared; null if all could.",
        "level": "How closely detctl looked: `step`, `module` or `op`.",
        "scheme": "The digest that was used.",
    },
    "Emulated": {
        "environment": "The environment.",
        "emulates": "What it stands in for, such as an older CPU.",
    },
    "Machine": {
        "repeats_itself": "Whether its twins agree; null if it had no twins.",
        "environments": "The environments that trained on it.",
        "cpu_model": "Its CPU.",
        "known_answers": "The class of its answers in the known-answer test; empty if it was not run.",
        "gpus": "Its GPUs.",
    },
    "Zoom": {
        "level": "The level of the second look.",
        "op": "The first operation with equal inputs and another output; null if none could be named.",
        "at": "The source line that called it; two lines if the runs name different ones.",
        "relative": "The size of the difference, divided by the size of the value.",
        "ulp": "The same in units of the last place.",
    },
}


def meaning_of(part: str, key: str) -> str:
    """Returns the meaning of a key of an object, "" if nobody wrote it down."""
    return MEANINGS.get(part, {}).get(key) or MEANINGS["*"].get(key, "")
