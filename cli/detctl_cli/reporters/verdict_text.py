"""Writes a verdict as text: the outcome first, then where the runs diverge, why, and what to do."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from detctl_cli.output.clean import clean
from detctl_cli.output.failure_sentences import advice, what_happened
from detctl_cli.output.times import count
from detctl_cli.reporters.differing_facts import differing_facts
from detctl_cli.reporters.run_names import group_names, groups_sentence, short_names

if TYPE_CHECKING:
    from rich.console import Console

Row = tuple[str, str]

LABEL_WIDTH = 19
BENIGN_SHOWN = 4
FILES_SHOWN = 4
UNOBSERVED_SHOWN = 3
# Limits of every run of this version (README, "What it does not see"). They are listed with --verbose, not in each verdict.
STANDING = (
    "files: native readers",
    "rng: torch.Generator.manual_seed",
    "rng: numpy.random.RandomState(), SeedSequence()",
)
_STYLE = {"identical": "bold green", "different": "bold red", "unverified": "bold yellow"}
# What the headline calls a benign difference, by its stage or "evaluation".
_BENIGN = {
    "evaluation": "evaluation",
    "code": "code",
    "listing": "the order of a folder's files",
    "files": "opened files",
    "rng": "random states",
    "order": "the order of samples",
    "sample": "samples before they are batched",
    "artifact": "other content of saved files",
}
_PLURAL = ("opened files", "random states", "samples before they are batched")
_KIND = {
    "permutation": "the same values in another order",
    "content": "different content",
    "structure": "a fingerprint is missing, extra or has another shape",
}


def write_verdict(
    verdict: Mapping[str, Any], out: Console, next_steps: Sequence[str] = (), *, verbose: bool = False
) -> None:
    """Writes the verdict (detctl.verdict/v1) to `out`. Missing keys are left out. verbose: STANDING is listed too."""
    from rich.text import Text

    outcome = clean(verdict.get("outcome", "unverified"))
    line = Text(outcome.upper(), style=_STYLE.get(outcome, "bold"))
    line.append(_headline(verdict), style="not bold default")
    out.print(line, soft_wrap=True)
    for label, text in rows(verdict, next_steps, verbose=verbose):
        text = text.replace("{cwd}/", "")  # files of the training itself, as the user names them
        for number, part in enumerate(_wrapped(text, out.width - LABEL_WIDTH - 2, wrap=out.is_terminal)):
            line = Text("  ")
            line.append(f"{label if number == 0 else '':<{LABEL_WIDTH}}", style=_label_style(label))
            line.append(part)
            out.print(line, soft_wrap=True)


def rows(verdict: Mapping[str, Any], next_steps: Sequence[str] = (), *, verbose: bool = False) -> Iterator[Row]:
    """Yields (label, text) of every line under the outcome, the most helpful first."""
    labels = [label for group in verdict.get("groups") or [] for label in group]
    names = short_names(labels)
    yield from _group_rows(verdict)
    yield from _failure_rows(verdict.get("failures") or [])
    if verdict.get("outcome") == "identical" and (text := differing_facts(verdict.get("environment") or {})):
        yield "despite different", text
    for emulated in verdict.get("emulated") or []:
        what = ", ".join(f"{key}={value}" for key, value in (emulated.get("emulates") or {}).items())
        yield (
            "EMULATED",
            f"environment {clean(emulated.get('environment'))} stands in for other hardware: {clean(what)}",
        )
    yield from _continuation_rows(verdict.get("continuation"))
    causes = verdict.get("causes") or []
    for cause in causes:
        yield from _cause_rows(cause, names, several=len(causes) > 1)
    yield from _file_rows(verdict.get("files") or [])
    first = verdict.get("first_divergence")
    if first and not causes:
        yield "first divergence", _place(first) + "   " + _description(first)
    yield from _zoom_rows(verdict.get("zoom"))
    yield from _benign_rows(verdict.get("benign") or [])
    for item in verdict.get("experiments") or []:
        yield "experiment", clean(item.get("words") or item.get("text") or _flat(item))
    if fix := verdict.get("cheapest_fix"):
        yield "cheapest fix", clean(fix.get("words"))
    for number, check in enumerate((verdict.get("self_test") or {}).get("checks") or []):
        result = {True: "passed", False: "FAILED"}.get(check.get("passed"), "not run")
        yield "self-test" if number == 0 else "", f"{result}   {clean(check.get('words'))}"
    for item in verdict.get("expected") or []:
        yield "expected", clean(item.get("words") or item.get("text") or _flat(item))
    folders = verdict.get("folders") or {}
    if isinstance(folders, dict) and folders:
        yield (
            "folders",
            "   ".join(f"{names.get(label, clean(label))}: {clean(where)}" for label, where in folders.items()),
        )
    for reason in verdict.get("unverified_because") or []:
        yield "unverified because", clean(reason)
    yield from _coverage_rows(verdict.get("coverage") or {}, alone=len(labels) < 2, verbose=verbose)
    for text in verdict.get("notes") or []:
        yield "note", clean(text)
    for text in next_steps:
        yield "next", text


def _headline(verdict: Mapping[str, Any]) -> str:
    if verdict.get("outcome") == "identical":
        recipe = verdict.get("recipe")
        agreed = agreement(verdict)
        return (f"   {clean(recipe)}" if recipe else "") + (f"   {agreed}" if agreed else "")
    parts = []
    if verdict.get("outcome") == "different":
        if verdict.get("origin"):
            parts.append(f"origin: {clean(verdict['origin'])}{_emulated_mark(verdict)}")
        else:
            left = " or ".join(clean(word) for word in verdict.get("not_separated") or [])
            parts.append(f"origin: not proved{f' ({left})' if left else ''}")
    causes = list(dict.fromkeys(f"{clean(c['cause'])} ({clean(c['confidence'])})" for c in verdict.get("causes") or []))
    if causes:
        parts.append(f"cause{'s' if len(causes) > 1 else ''}: {', '.join(causes)}")
    return "".join(f"   {part}" for part in parts)


def agreement(verdict: Mapping[str, Any]) -> str:
    """Returns how many updates agree and what else differs, or "" if nothing differs or not every update was compared."""
    updates = verdict.get("updates_equal")
    benign = [item for item in verdict.get("benign") or [] if isinstance(item, Mapping)]
    if not isinstance(updates, int) or updates < 1 or not benign:
        return ""
    every = f"all {count(updates)} updates are" if updates > 1 else "its only update is"
    what = list(dict.fromkeys(_BENIGN.get(_benign_kind(item), clean(item.get("stage"))) for item in benign))
    several = len(what) > 1 or what[0] in _PLURAL
    named = ", ".join(what[:-1]) + " and " + what[-1] if len(what) > 1 else what[0]
    return f"{every} bit-equal; only {named} differ{'' if several else 's'}"


def _benign_kind(item: Mapping[str, Any]) -> str:
    stage = str(item.get("stage"))
    if item.get("phase") == "eval" and stage not in ("artifact", "rng"):
        return "evaluation"
    return stage


def _emulated_mark(verdict: Mapping[str, Any]) -> str:
    return " (EMULATED)" if verdict.get("emulated") and verdict.get("origin") == "hardware" else ""


def _group_rows(verdict: Mapping[str, Any]) -> Iterator[Row]:
    groups = [[clean(label) for label in group] for group in verdict.get("groups") or []]
    if not groups:
        return
    parts = group_names(groups)
    if len(groups) > 1:
        names = short_names([label for group in groups for label in group])
        parts.append(" ≠ ".join(names[group[0]] for group in groups if group))
    sentence = groups_sentence(groups, partial=verdict.get("outcome") == "unverified")
    yield "runs", "   ".join(parts) + (f"     {sentence}" if sentence else "")


def _failure_rows(failures: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Yields (label, text) for failed runs. Output and advice appear once for all runs that failed alike."""
    labels = [clean(failure.get("run")) for failure in failures]
    names = short_names(labels) if len(labels) > 1 else {label: label.rpartition("/")[2] for label in labels}
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for failure in failures:
        key = tuple(clean(failure.get(name) or "") for name in ("kind", "exit_code", "module", "file"))
        groups.setdefault(key, []).append(failure)
    for alike in groups.values():
        first = alike[0]
        runs = ", ".join(names[clean(failure.get("run"))] for failure in alike)
        yield "failed", f"{runs}: {what_happened(first)}"
        for number, line in enumerate(first.get("tail") or []):
            yield "its last output" if number == 0 else "", clean(line)
        yield "advice", advice(first)


def _cause_rows(cause: Mapping[str, Any], names: Mapping[str, str], *, several: bool) -> Iterator[Row]:
    if several:
        yield "cause", f"{clean(cause.get('cause'))} ({clean(cause.get('confidence'))})"
    yield "root", f"{_place(cause)}   {_description(cause)}"
    runs = [names.get(run, clean(run)) for run in cause.get("runs") or []]
    if runs and several:
        yield "shown by", " against ".join(runs)
    onward = [clean(stage) for stage in cause.get("carried_on_to") or []]
    if onward:
        yield "propagates to", " → ".join(onward)
    for number, text in enumerate([*(cause.get("evidence") or []), *(cause.get("caveats") or [])]):
        yield "evidence" if number == 0 else "", clean(text)
    if cause.get("confirmed_by"):
        yield "confirmed by", clean(cause["confirmed_by"])
    if cause.get("fix"):
        yield "fix", clean(cause["fix"])
    for line in cause.get("change") or []:
        yield "", clean(line)


def _continuation_rows(continuation: Mapping[str, Any] | None) -> Iterator[Row]:
    if not continuation:
        return
    yield "continuation", clean(continuation.get("words"))
    if options := continuation.get("options"):
        yield "", f"Options that differ, as they must: {', '.join(clean(one) for one in options)}"


def _file_rows(files: Sequence[Any]) -> Iterator[Row]:
    """Yields a line for each data file whose first differing byte is known."""
    known = [file for file in files if isinstance(file, Mapping) and isinstance(file.get("offset"), int)]
    for number, file in enumerate(known[:FILES_SHOWN]):
        text = f"{clean(file.get('name'))} differs from byte {count(file['offset'])} on"
        yield "" if number else "data", text
    if len(known) > FILES_SHOWN:
        yield "", f"and {len(known) - FILES_SHOWN} more files (--json lists them)"


def _zoom_rows(zoom: Mapping[str, Any] | None) -> Iterator[Row]:
    if not zoom:
        return
    if zoom.get("op"):
        place = f"step {count(int(zoom.get('step') or 0))} · {clean(zoom.get('stage'))} · {clean(zoom.get('site'))}"
        lines = " against ".join(clean(line) for line in zoom.get("at") or [])
        yield "operation", f"{place}{f'   {lines}' if lines else ''}"
        yield "", clean(zoom.get("words"))
    else:
        yield "operation", f"not identified: {clean(zoom.get('words'))}"


def _benign_rows(benign: Sequence[Any]) -> Iterator[Row]:
    for item in benign[:BENIGN_SHOWN]:
        if not isinstance(item, Mapping):
            yield "benign", clean(item)
            continue
        cause = clean(item.get("cause") or "")
        where = ", ".join(clean(line) for line in item.get("at") or [])
        why = cause + (f" at {where}" if cause and where else where)
        yield "benign", f"{_place(item)}   {_description(item)}{f'   ({why})' if why else ''}"
    if len(benign) > BENIGN_SHOWN:
        yield "", f"and {len(benign) - BENIGN_SHOWN} more benign differences (--json lists them)"


def _coverage_rows(coverage: Mapping[str, Any], *, alone: bool, verbose: bool) -> Iterator[Row]:
    stages = coverage.get("stages")
    if isinstance(stages, list) and stages:
        text = ", ".join(clean(stage) for stage in stages)
        steps = coverage.get("steps") or []
        if len(steps) == 2:
            first, last = steps
            text += f"   steps {first} to {'the end' if last is None else int(last) - 1}"
        if coverage.get("level"):
            text += f", level {clean(coverage['level'])}"
        yield "recorded" if alone else "compared", text
    if coverage.get("comparable_up_to"):
        yield "comparable up to", clean(coverage["comparable_up_to"])
    missing = [clean(stage) for stage in coverage.get("not_observed") or []]
    if missing and stages:
        yield "not observed", ", ".join(missing)
    unobserved = [clean(text) for text in coverage.get("unobserved") or []]
    if not verbose:
        unobserved = [text for text in unobserved if not text.startswith(STANDING)]
    shown = unobserved if verbose else unobserved[:UNOBSERVED_SHOWN]
    for number, text in enumerate(shown):
        yield "" if missing or number else "not observed", text
    if len(unobserved) > len(shown):
        yield "", f"and {len(unobserved) - len(shown)} more (--verbose lists them)"


def _place(item: Mapping[str, Any]) -> str:
    return f"step {count(int(item.get('step') or 0))} · {clean(item.get('stage'))} · {clean(item.get('site') or '*')}"


def _description(item: Mapping[str, Any]) -> str:
    kind = clean(item.get("kind") or "")
    if item.get("words"):
        return clean(item["words"])
    return clean(_KIND.get(kind, kind)) + (" (then identical again)" if item.get("lasting") == "transient" else "")


def _flat(item: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in item.items())


def _label_style(label: str) -> str:
    return {
        "fix": "bold",
        "EMULATED": "bold magenta",
        "unverified because": "yellow",
        "failed": "red",
        "advice": "bold",
    }.get(label, "dim")


def _wrapped(text: str, width: int, *, wrap: bool) -> list[str]:
    if not wrap:
        return [text]
    # Several blanks separate the columns of a line, so they stay.
    return textwrap.wrap(
        text, max(width, 30), break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    ) or [""]
