"""Gives a run a folder of its own to train in: a private view of the source, or a copy of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detctl_agent.source import source
from detctl_agent.source.ignored_files import add_ignored
from detctl_agent.source.overlay import Overlays, View


@dataclass(frozen=True)
class RunSource:
    """origin: the folder that holds the source; work: the folder that the run trains in: its copy, or the same folder if the run
    trains in place. view: covers the folder, so that what the run writes there stays private."""

    found: source.Source
    origin: Path
    work: Path
    view: View | None = None


def take_privately(
    found: source.Source,
    origin: Path,
    work: Path,
    *,
    run: str,
    overlays: Overlays | None,
    inherit: bool,
    copied_bytes_max: int | None = None,
) -> RunSource:
    """Covers the folder `origin`, or else copies its source to `work`. Raises SourceError or DiskFullError.

    overlays None: it is copied. inherit: the folder is that of the user who typed the command, so the copy gets ignored files too.
    copied_bytes_max: the source was scanned without a limit, and only a copy has one."""
    if overlays is not None and (view := overlays.view(origin, run, found.paths, repository=inherit)):
        return RunSource(found, origin, origin, view)
    if copied_bytes_max is not None:
        found = source.scan(origin, copied_bytes_max)
    source.copy(found, work)
    if inherit:
        add_ignored(origin, work)
    return RunSource(found, origin, work)
