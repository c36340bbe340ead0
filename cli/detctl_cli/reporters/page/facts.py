"""The facts that every page shows: when, where, by whom and with which command it was made, and what each run was."""

from __future__ import annotations

import getpass
import shlex
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from detctl_proto.security.redaction import redact_command, redact_text

from detctl_cli.output.clean import clean

SOURCES_MAX = 40
Fact = tuple[str, list[tuple[str, str]]]  # name, then (run or "", value)


@dataclass(frozen=True)
class Written:
    """The writing of a page: time, user, host, folder, command line and version of detctl."""

    unix_s: float
    user: str
    host: str
    folder: str
    command: str
    version: str


def written_now() -> Written:
    """Returns the facts about this process, without credentials."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("detctl")
    except PackageNotFoundError:
        number = "not installed"
    command = redact_command(["detctl", *sys.argv[1:]])
    return Written(time.time(), _user(), socket.gethostname(), _folder(), clean(shlex.join(command)), number)


def written_facts(written: Written) -> list[Fact]:
    """Returns the rows about the writing of a page."""
    rows = [
        ("written", moment(written.unix_s)),
        ("by", f"{written.user or 'unknown user'} on {written.host}"),
        ("in folder", redact_text(written.folder)),
        ("command", written.command),
        ("detctl", written.version),
    ]
    return [(name, [("", clean(value))]) for name, value in rows if value]


def run_facts(verdict: Mapping[str, Any], names: Mapping[str, str]) -> list[Fact]:
    """Returns the rows about the compared runs. A value that all runs share is listed once, without names.

    names: label -> displayed name of a run."""
    runs = [run for run in verdict.get("runs") or [] if isinstance(run, Mapping)]
    folders = verdict.get("folders") if isinstance(verdict.get("folders"), Mapping) else {}
    facts: list[Fact] = []
    if user := verdict.get("requested_by"):
        facts.append(("audit started by", [("", clean(user))]))
    if duration := _duration(runs):
        facts.append(("time for all runs", [("", duration)]))

    def add(name: str, value_of: Callable[[Mapping[str, Any]], str]) -> None:
        values = [(str(run.get("label")), clean(value_of(run))) for run in runs]
        known = [(names.get(label, clean(label)), value) for label, value in values if value]
        if not known:
            return
        shared = len(known) == len(runs) and len({value for _, value in known}) == 1
        facts.append((name, [("", known[0][1])] if shared else known))

    add("date", lambda run: moment(_number(run.get("created_unix_s"))))
    add("duration", lambda run: seconds(_number(run.get("wall_s"))))
    add("folder", lambda run: str((folders or {}).get(run.get("label"), "")))
    add("host", lambda run: str(run.get("host") or run.get("machine") or ""))
    add("training", lambda run: shlex.join(str(word) for word in run.get("command") or []))
    add("commit", lambda run: str(run.get("commit") or ""))
    add("versions", lambda run: ", ".join(f"{name} {number}" for name, number in _mapping(run, "versions").items()))
    add("source digest", lambda run: str(run.get("source_digest") or ""))
    for stage in dict.fromkeys(stage for run in runs for stage in _mapping(run, "chains")):
        add(f"digest of {clean(stage)}", lambda run, stage=stage: str(_mapping(run, "chains").get(stage, "")))  # type: ignore[misc]
    add("run id", lambda run: str(run.get("run_id") or ""))
    return facts


def source_facts(verdict: Mapping[str, Any]) -> list[Fact]:
    """Returns the recorded digests of source files."""
    sources = _mapping(verdict, "sources")
    rows = [(clean(file), ", ".join(clean(digest) for digest in digests)) for file, digests in sources.items()]
    facts: list[Fact] = [(file.removeprefix("{cwd}/"), [("", digests)]) for file, digests in rows[:SOURCES_MAX]]
    if len(rows) > SOURCES_MAX:
        facts.append((f"and {len(rows) - SOURCES_MAX} more files", [("", "--json lists them")]))
    return facts


def moment(unix_s: float) -> str:
    """Returns `2026-11-30 17:01:18 UTC`; empty for 0."""
    if unix_s <= 0:
        return ""
    try:
        return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return ""


def seconds(duration_s: float) -> str:
    """Returns `4.9 s` or `3 min 20 s`; empty for 0."""
    if duration_s <= 0:
        return ""
    if duration_s < 60:
        return f"{duration_s:.1f} s"
    minutes, rest = divmod(round(duration_s), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _duration(runs: Sequence[Mapping[str, Any]]) -> str:
    """Returns the time from the start of the first run to the end of the last; empty if it is unknown."""
    spans = [(_number(run.get("created_unix_s")), _number(run.get("wall_s"))) for run in runs]
    known = [(start, start + wall) for start, wall in spans if start > 0 and wall > 0]
    return seconds(max(end for _, end in known) - min(start for start, _ in known)) if known else ""


def _mapping(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def _folder() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return ""
