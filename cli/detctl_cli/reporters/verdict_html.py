"""Writes the result of a comparison as one self-contained page. It sends no request, and runs no script but the inlined charts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detctl_proto.files.private_files import private
from detctl_proto.security.redaction import redact_document

from detctl_cli.errors import CliError, UsageError
from detctl_cli.output.clean import clean
from detctl_cli.reporters.page.agreement_map import map_layout
from detctl_cli.reporters.page.code import Excerpt, excerpts_of
from detctl_cli.reporters.page.facts import Written, moment, run_facts, source_facts, written_facts, written_now
from detctl_cli.reporters.run_names import group_names, groups_sentence, short_names

COLOURS = {"identical": "equal", "different": "different", "unverified": "one-sided"}
TENSORS_SHOWN = 400
CHECKPOINTS = "detctl.checkpoints/"


def check_writable(file: Path) -> None:
    """Raises UsageError if the page cannot be written, before anything runs."""
    folder = file.parent if str(file.parent) else Path()
    if file.is_dir():
        raise UsageError(f"--html {file} is a folder", "name a file, such as report.html")
    if not folder.is_dir():
        raise UsageError(f"--html {file}: there is no folder {folder}", f"create it with mkdir -p {folder}")
    if not os.access(file if file.exists() else folder, os.W_OK):
        raise UsageError(f"--html {file} cannot be written", "name a file in a folder that you can write")


def write_page(document: Mapping[str, Any], file: Path) -> None:
    """Writes the page (mode 0600), whole or not at all. Raises CliError if the file cannot be written."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(partial, "w", encoding="utf-8", errors="replace", opener=private) as stream:
            stream.write(page(document, Path()))
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CliError(
            "output", f"{file} was not written: {error.strerror or error}", "name another file with --html"
        ) from None


def page(document: Mapping[str, Any], folder: Path | None = None, written: Written | None = None) -> str:
    """Returns the page of detctl.verdict/v1 or detctl.checkpoints/v1. Missing keys are left out.

    folder: where the user's code is; None: no code is shown."""
    document = redact_document(document)
    facts = written_facts(written or written_now())
    if str(document.get("schema", "")).startswith(CHECKPOINTS):
        return _rendered("checkpoints.html.j2", **_checkpoints(document), written=facts)
    return _rendered("verdict.html.j2", **_verdict(document, folder), written=facts)


def _rendered(template: str, **values: Any) -> str:
    from jinja2 import Environment, PackageLoader

    templates = Environment(
        loader=PackageLoader("detctl_cli.reporters.page", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    text: str = templates.get_template(template).render(**values)
    return text


def _verdict(verdict: Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
    from detctl_cli.reporters.page.charts import Scripts, has_charts, loss_chart, scripts

    excerpts = excerpts_of(verdict, folder) if folder is not None else []
    shown: dict[str, Any] = _cleaned(verdict)
    coverage = shown.get("coverage") or {}
    environment = shown.get("environment") or {}
    outcome = str(shown.get("outcome", "unverified"))
    groups = [group for group in shown.get("groups") or [] if group]
    labels = [label for group in groups for label in group]
    names = short_names(list(dict.fromkeys([*labels, *(shown.get("losses") or {})])))
    losses = shown.get("losses") or {}
    chart = loss_chart({label: losses[label] for label in names if label in losses}, names)
    causes = shown.get("causes") or []
    return {
        "outcome": outcome,
        "colour": COLOURS.get(outcome, "one-sided"),
        "headline": _headline(shown),
        "audit": shown.get("audit"),
        "recipe": shown.get("recipe"),
        "emulated": shown.get("emulated"),
        "groups": list(zip(group_names(groups), groups, strict=True)),
        "sentence": groups_sentence(groups, partial=outcome == "unverified"),
        "machines": [(name, _repeats(machine)) for name, machine in (shown.get("machines") or {}).items()],
        "unverified": shown.get("unverified_because") or [],
        "causes": [(cause, _excerpts_of_cause(verdict, place, excerpts)) for place, cause in enumerate(causes)],
        "first": None if causes else shown.get("first_divergence"),
        "fix": shown.get("cheapest_fix"),
        "zoom": shown.get("zoom"),
        "zoom_excerpts": _excerpts_at((verdict.get("zoom") or {}).get("at") or [], excerpts, set(_used(verdict))),
        "chart": chart,
        "scripts": scripts() if chart else Scripts(),
        "without_charts": bool(losses) and not has_charts(),
        "maps": [map_layout(one) for one in shown.get("maps") or []],
        "experiments": shown.get("experiments") or [],
        "self_test": (shown.get("self_test") or {}).get("checks"),
        "configurations": list(dict.fromkeys(name for values in environment.values() for name in values)),
        "environment": list(environment.items()),
        "benign": [
            f"step {b.get('step')} · {b.get('stage')} · {b.get('site')}: {b.get('words')}"
            for b in shown.get("benign") or []
        ],
        "covered": _covered(coverage),
        "unobserved": [*(coverage.get("not_observed") or []), *(coverage.get("unobserved") or [])],
        "notes": shown.get("notes") or [],
        "runs": run_facts(shown, names),
        "sources": source_facts(shown),
    }


Excerpts = Sequence[tuple[str, Excerpt]]


def _places(cause: Mapping[str, Any]) -> list[str]:
    clues = [f"{clue.get('file')}:{clue.get('line')}" for clue in cause.get("clues") or []]
    return list(dict.fromkeys(place for place in (cause.get("fix_at"), *clues) if place))


def _used(verdict: Mapping[str, Any]) -> list[str]:
    return [place for cause in verdict.get("causes") or [] for place in _places(cause)]


def _excerpts_of_cause(verdict: Mapping[str, Any], number: int, excerpts: Excerpts) -> list[Excerpt]:
    """Returns the excerpts of one cause without those of earlier causes."""
    causes = (verdict.get("causes") or [])[: number + 1]
    return _excerpts_at(_places(causes[-1]), excerpts, {place for cause in causes[:-1] for place in _places(cause)})


def _excerpts_at(places: Sequence[str], excerpts: Excerpts, but: set[str]) -> list[Excerpt]:
    return [excerpt for place, excerpt in excerpts if place in places and place not in but]


def _checkpoints(document: Mapping[str, Any]) -> dict[str, Any]:
    from detctl_cli.reporters.checkpoints import describe_tensor

    shown = _cleaned(document)
    outcome = str(shown.get("outcome", "unverified"))
    differing = shown.get("differing") or []
    sizes = [row.get("relative") for row in differing]
    largest = max((size for size in sizes if isinstance(size, (int, float))), default=0.0)
    compared = shown.get("compared") or {}
    return {
        "outcome": outcome,
        "colour": COLOURS.get(outcome, "one-sided"),
        "sides": [
            {**side, "changed": moment(side.get("changed_unix_s") or 0.0)}
            for side in (shown.get("a") or {}, shown.get("b") or {})
        ],
        "compared": compared,
        "sections": shown.get("sections") or [],
        "differing": [
            (row, describe_tensor(row), 100 * row["relative"] / largest if largest and row.get("relative") else 0.0)
            for row in differing[:TENSORS_SHOWN]
        ],
        "more": max(0, len(differing) - TENSORS_SHOWN),
        "all_differing": len(differing),
        "values": shown.get("values") or [],
        "only": [("first", shown.get("only_a") or []), ("second", shown.get("only_b") or [])],
        "unread": shown.get("unread") or [],
        "notes": shown.get("notes") or [],
        "scheme": shown.get("scheme"),
    }


def _cleaned(value: Any) -> Any:
    """Returns a value without control characters."""
    if isinstance(value, Mapping):
        return {clean(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    # Files of the training are shown as the user names them.
    return clean(value).replace("{cwd}/", "") if isinstance(value, str) else value


def _headline(verdict: Mapping[str, Any]) -> str:
    if verdict.get("outcome") != "different":
        return ""
    causes = ", ".join(f"{cause['cause']} ({cause['confidence']})" for cause in verdict.get("causes") or [])
    left = " or ".join(verdict.get("not_separated") or [])
    origin = verdict.get("origin") or f"not proved{f' ({left})' if left else ''}"
    return f"origin: {origin}" + (f" · causes: {causes}" if causes else " · no cause identified")


def _repeats(machine: Mapping[str, Any]) -> str:
    repeats = machine.get("repeats_itself")
    if repeats is None:
        return "has no twins"
    return "reproduces its own result" if repeats else "does not reproduce its own result"


def _covered(coverage: Mapping[str, Any]) -> str:
    steps = coverage.get("steps") or []
    first, last = steps if len(steps) == 2 else (0, None)
    over = f"steps {first} to {'the end' if last is None else last - 1}"
    return f"{', '.join(coverage.get('stages') or []) or 'nothing'}; {over}, level {coverage.get('level') or '–'}"
