"""Adds to a manifest what the agent finds in the files that a training has read."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from detctl_agent import logs
from detctl_agent.launcher.account import Account
from detctl_agent.runs.inspection.digest_table import DigestTable
from detctl_agent.runs.inspection.named_files import NamedFile, named_files
from detctl_agent.runs.inspection.opened_section import opened_section
from detctl_agent.runs.inspection.source_section import read_sources, source_section
from detctl_agent.runs.outcome import Outcome
from detctl_agent.runs.preparation import Prepared

log = logs.logger("inspection")
OWN_PLACES = ("tmp", "cache", "out", "home")  # of the run: it writes there


def with_inspection(
    manifest: Mapping[str, Any], outcome: Outcome, prepared: Prepared, table: DigestTable
) -> dict[str, Any]:
    """Returns the manifest with the sections `source` and `opened`. Call it before the folders of the run are cleaned. A training in
    another container has other files under these paths: nothing is read for it."""
    plan, observed = prepared.plan, outcome.observed
    started_ns = time.time_ns() - int(outcome.wall_s * 1e9)
    if plan.attached or plan.container:
        return dict(manifest)
    places = {name: path for name, path in prepared.places.items() if name not in OWN_PLACES}
    found = dict(manifest)
    may_read = _readable_by(plan.account) if plan.account else lambda _: True
    sources = resolver(places, absolute=plan.account is None)

    def named() -> dict[str, NamedFile]:
        if plan.account:  # a source may name what the agent can read and its user cannot
            return {}
        return named_files(observed, read_sources(observed, sources), plan.argv[1:], places, started_ns)

    sections: dict[str, Callable[[], dict[str, Any]]] = {
        "source": lambda: source_section(observed, sources),
        "opened": lambda: opened_section(
            observed,
            resolver(places),
            places,
            table,
            started_ns=started_ns,
            may_read=may_read,
            named=named(),
            elsewhere=plan.account is None,
        ),
    }
    for name, make in sections.items():
        try:
            section = make()
        except Exception as error:  # the recording is complete without it, and must not be lost for it
            log.error(logs.line("inspection", run=plan.key, section=name, why=f"{type(error).__name__}: {error}"))
            continue
        if section:
            found[name] = section
    return found


def resolver(places: Mapping[str, str], *, absolute: bool = False) -> Callable[[str], Path | None]:
    """Returns a function that finds the path of a logical name such as `{data}/a.png`, inside of its place. absolute: whether it
    accepts absolute paths too."""

    def resolve(name: str) -> Path | None:
        if name.startswith("{"):
            place, _, below = name[1:].partition("}")
            base = places.get(place)
            if base is None or "\0" in below:
                return None
            path = Path(base, below.lstrip("/")) if below.strip("/") else Path(base)
            return path if ".." not in path.parts else None
        return Path(name) if absolute and name.startswith("/") and "\0" not in name else None

    return resolve


def _readable_by(account: Account) -> Callable[[os.stat_result], bool]:
    def may_read(found: os.stat_result) -> bool:
        mine = found.st_uid == account.uid and found.st_mode & stat.S_IRUSR
        ours = found.st_gid == account.gid and found.st_mode & stat.S_IRGRP
        return bool(mine or ours or found.st_mode & stat.S_IROTH)

    return may_read
