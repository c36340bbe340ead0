"""What this machine offers now: the catalog and the digests of its recipes' folders, kept up to date."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from detctl_agent import logs
from detctl_agent.catalog.catalog import Catalog, CatalogFile
from detctl_agent.errors import SourceError
from detctl_agent.source import source
from detctl_agent.source.overlay import Overlays

# Reading all folders may take at most this share of the time, so large ones are read less often.
LOOK_SHARE = 0.05
LOOK_EVERY_S = 1.0
log = logs.logger("offers")


@dataclass(frozen=True)
class OfferNote:
    """What a user of a recipe should know. unusable: it is not offered; otherwise each run gets a copy of its folder."""

    recipe: str
    unusable: bool
    reason: str


class Offers:
    """Not thread-safe; `refresh` reads files and is called in a thread.

    snapshots: a folder for copies of the recipes' folders, made when they are first read. All runs then start from these copies,
    because a command that writes a file beside its script must not change the source of its own twins (docs/adr/0024).
    None: no copies are made, and a run is refused if its folder changed after planning (docs/adr/0025).
    overlays: a folder that they can cover needs no copy, and may have any size.
    """

    def __init__(self, path: Path, snapshots: Path | None = None, overlays: Overlays | None = None) -> None:
        """Raises CatalogError."""
        self._overlays = overlays
        self._file = CatalogFile(path)
        self._snapshots = snapshots
        self._signatures: dict[str, str] = {}
        self._problems: dict[str, str] = {}
        self._next_look = 0.0
        self.sources: dict[str, source.Source] = {}

    @property
    def catalog(self) -> Catalog:
        return self._file.current

    def snapshot(self, recipe: str) -> source.Source | None:
        """The copy of this recipe's folder that runs start from; None if each run reads the folder itself."""
        found = self.sources.get(recipe)
        return found if self._snapshots is not None and found and found.folder == self._snapshots / recipe else None

    def notes(self) -> Iterator[OfferNote]:
        """Why recipes are not offered, and why the runs of others get copies of their folder."""
        for name, recipe in list(self.catalog.recipes.items()):
            if problem := self._problems.get(name):
                yield OfferNote(name, True, problem)
                continue
            covered = not (self._overlays is None or recipe.runs_in_place or recipe.source)
            if covered and self._overlays is not None and (reason := self._overlays.why_not(recipe.folder)):
                yield OfferNote(name, False, reason)

    def refresh(self) -> bool:
        """Reads what changed; returns whether the offers changed."""
        changed = self._file.refresh()
        if not changed and time.monotonic() < self._next_look:
            return False
        started = time.monotonic()
        recipes = self.catalog.recipes
        for name in [name for name in self.sources if name not in recipes]:
            del self.sources[name]
        self._problems = {name: problem for name, problem in self._problems.items() if name in recipes}
        for name, recipe in recipes.items():
            if recipe.source:
                changed |= self.sources.get(name) is not source.NOT_YET
                self.sources[name] = source.NOT_YET
                self._signatures.pop(name, None)
                continue
            in_place = recipe.runs_in_place or (self._overlays is not None and self._overlays.can_cover(recipe.folder))
            if self._snapshots is not None and name in self.sources and not in_place:
                continue
            try:
                signature = source.signature(recipe.folder, limited=self._snapshots is None and not in_place)
                if signature == self._signatures.get(name) and name in self.sources:
                    continue
                unlimited = in_place or self._snapshots is not None
                found = source.scan(recipe.folder, None if unlimited else recipe.source_bytes_max)
                changed |= self._problems.pop(name, None) is not None
                self._signatures[name] = signature
                if self._snapshots is not None and not in_place:
                    found = source.snapshot(found, self._snapshots / name)
                if self.sources.get(name) != found:
                    self.sources[name] = found
                    changed = True
            except SourceError as error:
                if self._problems.get(name) != str(error):
                    self._problems[name] = str(error)
                    changed = True  # the reason is part of the offers
                    log.error(logs.line("recipe_unusable", recipe=name, why=str(error)))
                if self.sources.pop(name, None) is not None:
                    changed = True
        took_s = time.monotonic() - started
        self._next_look = time.monotonic() + max(LOOK_EVERY_S, took_s / LOOK_SHARE)
        return changed
