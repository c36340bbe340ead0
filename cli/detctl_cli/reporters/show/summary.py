"""Writes the short form of `detctl show`: one screen about an audit, a run, a machine or a recording."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from detctl_proto.verdict_words import STAGES

from detctl_cli.output.clean import clean, clean_lines
from detctl_cli.output.sizes import size_text
from detctl_cli.output.times import ago, count
from detctl_cli.reporters.show.costs import cost_lines
from detctl_cli.reporters.show.one_screen import LINES, first_lines, screen_lines, written_lines
from detctl_cli.reporters.verdict_text import STANDING, write_verdict

if TYPE_CHECKING:
    from rich.console import Console

Facts = Mapping[str, Any]
Row = tuple[str, str]

LABEL_WIDTH = 14
TEXT_MAX = 140  # characters of one fact, such as a long command
OUTPUT_LINES = 5
VERDICT_LINES = 13
UNOBSERVED_SHOWN = 3
RANKS_SHOWN = 2
_HEADINGS = ("--- stdout ---", "--- stderr ---")  # of the output's parts


def write_summary(kind: str, content: Facts, out: Console, whole: str) -> None:
    """Writes one screen. whole: the command that shows everything."""
    rows = list({"audit": _audit_rows, "machine": _machine_rows}.get(kind, _run_rows)(content))
    lines: list[str] = []
    verdict = content.get("verdict")
    if isinstance(verdict, Mapping) and verdict:
        lines = [*first_lines(written_lines(out, lambda: write_verdict(verdict, out)), VERDICT_LINES, whole), ""]
    rows = [*rows, ("everything", whole)]
    facts = [f"  {label:<{LABEL_WIDTH}} {_cut(text)}".rstrip() for label, text in rows if text]
    room = LINES - sum(map(screen_lines, lines)) - 1
    for line in [*lines, f"{kind} {clean(_name(content))}".rstrip(), *first_lines(facts, room, whole)]:
        out.file.write(line + "\n")


def _name(content: Facts) -> str:
    found = content.get("folder") or content.get("run_id") or content.get("audit_id") or content.get("name")
    return str(found or _mapping(content, "spec").get("run_id") or "")


def _audit_rows(audit: Facts) -> Iterator[Row]:
    request = _mapping(audit, "request")
    yield "state", _text(audit.get("state"))
    yield "message", "" if audit.get("verdict") else _text(audit.get("message"))
    yield "started", _started(audit.get("created_unix_s"), request.get("requested_by"))
    yield "recipe", _joined(request.get("recipe"), f"--twins {_text(request.get('twins'))}")
    yield "machines", _text(request.get("machines"))
    yield "variation", _text(request.get("vary")) or _text(request.get("set"))
    for number, run in enumerate(one for one in audit.get("runs") or [] if isinstance(one, Mapping)):
        spec, outcome = _mapping(run, "spec"), _mapping(run, "outcome")
        name = _text(spec.get("run_id"))
        yield "runs" if number == 0 else "", _joined(name, run.get("state"), _end(outcome), _wall(outcome))


def _run_rows(content: Facts) -> Iterator[Row]:
    """Yields the facts of a run that a coordinator has (nested), or of a recording (flat)."""
    run = {**content, **_mapping(content, "spec"), **_mapping(content, "outcome")}
    recipe = _mapping(_mapping(content, "manifest"), "recipe")
    command = run.get("command") or recipe.get("command")
    yield "command", shlex.join(map(str, command)) if isinstance(command, list) else _text(command)
    yield "recipe", "" if command else _text(run.get("recipe"))
    yield "machine", _joined(run.get("machine"), _environment(run.get("environment")))
    yield "settings", _settings(run)
    yield "started", _started(run.get("started_unix_s") or run.get("created_unix_s"), None)
    yield "ended", _joined(_end(run), _wall(run), run.get("message")) if run.get("end") else _text(run.get("state"))
    yield "damaged", _text(content.get("damage"))
    yield "recorded", _recorded(run)
    yield from _seal_rows(content)
    costs = list(cost_lines(content))
    for line in costs[:RANKS_SHOWN]:
        yield "cost", line
    if len(costs) > RANKS_SHOWN:
        yield "", f"and {len(costs) - RANKS_SHOWN} more ranks"
    tail = [line for line in clean_lines(run.get("output_tail") or "").splitlines() if line.strip()]
    for number, line in enumerate([line for line in tail if line not in _HEADINGS][-OUTPUT_LINES:]):
        yield "last output" if number == 0 else "", line[:60]
    yield "source", _source(recipe)
    yield from _facts_of(_mapping(content, "manifest"))


def _machine_rows(machine: Facts) -> Iterator[Row]:
    yield "state", "connected" if machine.get("connected") else "away"
    yield "seen", ago(float(machine.get("last_seen_unix_s") or 0), time.time())
    yield "agent", _text(machine.get("version"))
    recipes = machine.get("recipes") or []
    yield "recipes", ", ".join(clean(one.get("name")) for one in recipes if isinstance(one, Mapping))
    environments = machine.get("environments") or {}
    yield "environments", ", ".join(map(clean, environments))
    yield from _facts_of(_mapping(machine, "manifest"))


def _seal_rows(content: Facts) -> Iterator[Row]:
    """Yields the stages of which at least one rank has a fingerprint, and what was not observed."""
    seals = [seal for seal in _mapping(content, "seals").values() if isinstance(seal, Mapping)]
    if not seals:
        return
    seen = {str(name).partition("/")[0] for seal in seals for name in _mapping(seal, "streams")}
    yield "observed", ", ".join(stage for stage in STAGES if stage in seen)
    yield "not observed", ", ".join(stage for stage in STAGES if stage not in seen)
    rows = [
        row for seal in seals for row in _mapping(seal, "detail").get("unobserved") or () if isinstance(row, Mapping)
    ]
    texts = dict.fromkeys(f"{row.get('stage', '?')}: {row.get('what', '?')}" for row in rows)
    shown = [text for text in texts if not text.startswith(STANDING)]
    for text in shown[:UNOBSERVED_SHOWN]:
        yield "", clean(text)
    if len(shown) > UNOBSERVED_SHOWN:
        yield "", f"and {len(shown) - UNOBSERVED_SHOWN} more"


def _facts_of(manifest: Facts) -> Iterator[Row]:
    machine, python, torch = (_mapping(manifest, name) for name in ("machine", "python", "torch"))
    memory = machine.get("memory_bytes")
    size = f"{size_text(memory)} memory" if isinstance(memory, int) else ""
    cores = f"{machine['cores']} cores" if machine.get("cores") else ""
    yield "hardware", _joined(machine.get("cpu_model"), machine.get("cpu_isa"), cores, size)
    gpus = manifest.get("gpu") or []
    yield "gpu", ", ".join(_text(gpu.get("name")) for gpu in gpus if isinstance(gpu, Mapping))
    os = " ".join(filter(None, (_text(machine.get("os")), _text(machine.get("os_version")))))
    yield "system", _joined(os, machine.get("kernel") and f"Linux {machine['kernel']}", machine.get("libc"))
    versions = [
        f"{name} {part['version']}" for name, part in (("Python", python), ("torch", torch)) if part.get("version")
    ]
    yield "software", _joined(*versions, torch.get("threads") and f"{torch['threads']} threads")


def _recorded(run: Facts) -> str:
    first, to = run.get("step_from"), run.get("step_to")
    window = f"window {first or 0}:{'' if to is None else to}"
    last = run.get("last_step", run.get("step"))
    steps = "no step" if last is None else f"up to step {last}"
    records = f"{count(run['records'])} records" if isinstance(run.get("records"), int) else ""
    ranks = f"{run['ranks']} ranks" if isinstance(run.get("ranks"), int) and run["ranks"] > 1 else ""
    return _joined(steps, records, ranks, f"level {_text(run.get('level'))}", window)


def _settings(run: Facts) -> str:
    values = [_mapping(run, key) for key in ("parameters", "variables", "interventions")]
    return ", ".join(f"{clean(name)}={_text(value)}" for group in values for name, value in group.items())


def _source(recipe: Facts) -> str:
    commit = _text(recipe.get("git_commit"))[:12]
    return _joined(
        commit and f"commit {commit}", recipe.get("source_digest") and f"digest {_text(recipe['source_digest'])[:12]}"
    )


def _end(outcome: Facts) -> str:
    code = outcome.get("exit_code")
    return _text(outcome.get("end")) + (f" {code}" if code else "")


def _wall(outcome: Facts) -> str:
    wall = outcome.get("wall_s")
    return f"after {wall:.1f} s" if isinstance(wall, (int, float)) and wall else ""


def _started(unix_s: object, by: object) -> str:
    if not isinstance(unix_s, (int, float)) or not unix_s:
        return ""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_s))
    return _joined(at, ago(unix_s, time.time()), by and f"by {_text(by)}")


def _environment(name: object) -> str:
    return "" if name in (None, "", "default") else f"environment {_text(name)}"


def _mapping(content: Facts, key: str) -> Facts:
    found = content.get(key)
    return found if isinstance(found, Mapping) else {}


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{clean(key)}={_text(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    return "" if value is None else clean(value)


def _joined(*parts: object) -> str:
    return "   ".join(text for part in parts if part and (text := clean(_text(part))))


def _cut(text: str) -> str:
    text = clean(text)
    return text if len(text) <= TEXT_MAX else f"{text[: TEXT_MAX - 1]}…"
