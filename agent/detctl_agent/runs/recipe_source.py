"""Brings the source of a recipe to the place where a run trains it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detctl_agent.catalog.admission import Admitted
from detctl_agent.errors import RunRefusedError
from detctl_agent.source import git_source, source
from detctl_agent.source.ignored_files import add_ignored
from detctl_agent.source.overlay import Overlays, View
from detctl_agent.state.run_folder import RunFolder


@dataclass(frozen=True)
class RunSource:
    """origin: the recipe's folder; work: the folder that the run trains in: its copy, or the same folder for a recipe that runs in
    place. view: covers the folder, so that what the run writes there stays private."""

    found: source.Source
    origin: Path
    work: Path
    view: View | None = None


def take_source(
    admitted: Admitted,
    folder: RunFolder,
    *,
    trees: Path,
    inherit: bool = False,
    snapshot: source.Source | None = None,
    overlays: Overlays | None = None,
) -> RunSource:
    """Scans the recipe's source, and covers or copies it unless it runs in place. Raises RunRefusedError, SourceError or
    DiskFullError.

    trees: folder in which the commits of recipes with a source are checked out.
    inherit: the folder is that of the user who typed the command: any size will do, and the copy gets ignored files too.
    snapshot: a copy to use instead of scanning the recipe's folder again.
    overlays: a process that trains as the agent's own user gets a private view of the folder instead of a copy."""
    order, recipe = admitted.order, admitted.recipe
    origin = recipe.folder
    if recipe.source:
        commit = admitted.parameters[git_source.PARAMETER]
        origin = git_source.folder_in(git_source.worktree(recipe.source, commit, trees), recipe.folder)
    if recipe.runs_in_place or admitted.environment.image or admitted.user:
        overlays = None
    covered = overlays is not None and overlays.can_cover(origin)
    found = snapshot or source.scan(
        origin, None if covered or recipe.runs_in_place or inherit else recipe.source_bytes_max
    )
    # A command in the user's own folder may write there; its second twin then finds another folder than was planned.
    must_match = not (inherit and recipe.runs_in_place)
    if must_match and order.expected_source_digest and found.digest != order.expected_source_digest:
        raise RunRefusedError(
            f"the source of recipe {order.recipe} in {origin} changed after the audit was planned: start the audit again"
        )
    if recipe.runs_in_place:
        return RunSource(found, origin, recipe.folder)
    if overlays is not None and (view := overlays.view(origin, order.key, found.paths, repository=inherit)):
        return RunSource(found, origin, origin, view)
    if covered and not inherit:  # some files belong to others: it is copied after all, and a copy has a limit
        found = source.scan(origin, recipe.source_bytes_max)
    source.copy(found, folder.work)
    if inherit:
        add_ignored(origin, folder.work)
    return RunSource(found, origin, folder.work)
