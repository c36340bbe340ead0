"""Brings the source of a recipe to the place where a run trains it."""

from __future__ import annotations

from pathlib import Path

from detctl_agent.catalog.admission import Admitted
from detctl_agent.errors import RunRefusedError
from detctl_agent.source import git_source, source
from detctl_agent.source.overlay import Overlays
from detctl_agent.source.run_source import RunSource, take_privately
from detctl_agent.state.run_folder import RunFolder


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
    # Some files may belong to others: the folder is copied after all then.
    limit = recipe.source_bytes_max if covered and not inherit else None
    return take_privately(
        found, origin, folder.work, run=order.key, overlays=overlays, inherit=inherit, copied_bytes_max=limit
    )
