"""The catalog: recipes and environments in one TOML file of the machine's owner; agents run nothing else.

The agent reads the file again when it changes. If somebody else could write it, nothing of it runs. If it does not parse, because it
is being edited, the last good version stays in use.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detctl_proto.files.regular_file import open_regular, read_up_to
from detctl_proto.syntax.clean_text import clean_text
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from detctl_agent import logs
from detctl_agent.catalog.recipe import Environment, MemoryMb, Processes, Recipe, User, name_problem
from detctl_agent.catalog.roots import root_problem
from detctl_agent.errors import CatalogError, UnsafeCatalogError
from detctl_agent.launcher.limits import PROCESSES_MAX

BYTES_MAX = 4 * 1024 * 1024
log = logs.logger("catalog")


class Catalog(BaseModel):
    """What a machine offers. An environment `default` always exists. roots: for every place of a recipe that has no roots of its own.

    user: the user that trainings run as, if the agent is root and their environment names none; empty: the user of the agent.
    memory_mb_max and processes_max apply to recipes without limits of their own."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    roots: tuple[str, ...] = ()
    user: User = ""
    memory_mb_max: MemoryMb | None = None
    processes_max: Processes = PROCESSES_MAX
    recipes: dict[str, Recipe] = Field(default_factory=dict)
    environments: dict[str, Environment] = Field(default_factory=dict)

    @field_validator("roots")
    @classmethod
    def _root_texts(cls, roots: tuple[str, ...]) -> tuple[str, ...]:
        for root in roots:
            if problem := root_problem(root):
                raise ValueError(problem)
        return roots


def load(path: Path) -> Catalog:
    """Reads and checks a catalog. Raises CatalogError, in one line that names file and key."""
    try:
        with open_regular(path, BYTES_MAX, follow=True) as stream:
            _check_safe(path, os.fstat(stream.fileno()))
            raw = read_up_to(stream, BYTES_MAX, path)
    except OSError as error:
        raise CatalogError(f"{path}: {error.strerror}: give the path of the catalog with --catalog") from error
    try:
        document = tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise CatalogError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except RecursionError:
        raise CatalogError(f"{path}: is nested too deep") from None
    except ValueError as error:  # TOMLDecodeError, and a number of thousands of digits
        raise CatalogError(f"{path}: {error}") from error
    return parse(_from_folder(document, path.resolve().parent), str(path))


def parse(document: Mapping[str, Any], where: str) -> Catalog:
    """Checks a catalog's content. Raises CatalogError that begins with `where` and the key."""
    for kind in ("recipes", "environments"):
        table = document.get(kind)
        for name in table if isinstance(table, dict) else ():
            if problem := name_problem(name):
                raise CatalogError(f"{where}: {kind}: {problem}")
    try:
        catalog = Catalog.model_validate(document)
    except ValidationError as error:
        raise CatalogError(f"{where}: {_one_line(error)}") from error
    recipes = {name: _with_roots(recipe, catalog.roots) for name, recipe in catalog.recipes.items()}
    environments = catalog.environments
    if "default" not in environments:
        environments = {"default": Environment(), **environments}
    return catalog.model_copy(update={"recipes": recipes, "environments": environments})


def _with_roots(recipe: Recipe, roots: tuple[str, ...]) -> Recipe:
    return recipe.model_copy(update={"roots": {**dict.fromkeys(recipe.paths, roots), **recipe.roots}})


def _from_folder(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The document with absolute places: folders of recipes, parameters in `paths`, roots and interpreters that are relative count
    from the catalog's folder. Values of a wrong type stay as they are; `parse` reports them.
    """

    def led(table: Any, key: Any) -> Any:
        value = table.get(key) if isinstance(key, str) else None
        if isinstance(value, str) and value and not value.startswith("/"):
            return {**table, key: str(folder / value)}
        return table

    def led_roots(roots: Any) -> Any:
        if not isinstance(roots, list):
            return roots
        return [str(folder / root) if isinstance(root, str) and root else root for root in roots]

    def recipe(table: Any) -> Any:
        if not isinstance(table, dict):
            return table
        if not table.get("source"):
            table = led(table, "folder")
        parameters, places = table.get("parameters"), table.get("paths")
        if isinstance(parameters, dict) and isinstance(places, list):
            for name in places:
                parameters = led(parameters, name)
            table = {**table, "parameters": parameters}
        if isinstance(table.get("roots"), dict):
            table = {**table, "roots": {name: led_roots(roots) for name, roots in table["roots"].items()}}
        return table

    def environment(table: Any) -> Any:
        is_place = isinstance(table, dict) and isinstance(table.get("python"), str) and "/" in table["python"]
        is_place = is_place and not table.get("image")
        return (
            led(table, "python") if is_place else table
        )  # "python3.12" alone is not a path, and PATH depends on who starts the agent

    changed = dict(document)
    if "roots" in changed:
        changed["roots"] = led_roots(changed["roots"])
    for kind, change in (("recipes", recipe), ("environments", environment)):
        if isinstance(changed.get(kind), dict):
            changed[kind] = {name: change(table) for name, table in changed[kind].items()}
    return changed


class CatalogFile:
    """A catalog that is read again when its file changes. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        """Raises CatalogError if the file cannot be used now."""
        self._path = path
        self._seen = self._stamp()
        self._problem = ""
        self.current = load(path)

    def refresh(self) -> bool:
        """Reads the file again if it changed; returns whether `current` changed. Logs problems and never raises."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            fresh = load(self._path)
        except CatalogError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                log.error(logs.line("catalog_unusable", why=self._problem))
            if isinstance(error, UnsafeCatalogError) and self.current.recipes:
                self.current = Catalog(environments={"default": Environment()})
                return True
            return False
        if self._problem:
            self._problem = ""
        changed = fresh != self.current
        self.current = fresh
        if changed:
            log.info(logs.line("catalog_read", recipes=len(fresh.recipes), environments=len(fresh.environments)))
        return changed

    def _stamp(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_mode)


def _check_safe(path: Path, found: os.stat_result) -> None:
    if found.st_mode & 0o022:
        raise UnsafeCatalogError(f"{path}: others may write to it, and so run anything here: chmod go-w {path}")
    if found.st_uid not in (0, os.getuid()):
        raise UnsafeCatalogError(f"{path}: belongs to another user (uid {found.st_uid}): chown it to the agent's user")
    folder = path.resolve().parent
    mode = folder.stat().st_mode
    if mode & 0o002 and not mode & stat.S_ISVTX:
        raise UnsafeCatalogError(
            f"{path}: everybody may replace it, since its folder is world-writable: chmod o-w {folder}"
        )


_TYPES = {
    "missing": "is missing",
    "tuple_type": 'must be a list, such as ["one", "two"]',
    "string_type": 'must be text, such as "one"',
    "dict_type": "must be a table",
    "model_type": "must be a table",
}


def _one_line(error: ValidationError) -> str:
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        key = ".".join(str(part) for part in item["loc"] if part not in ("str", "tuple[str, ...]"))
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "is not a known key: correct it, or update this agent if a newer version has it"
        elif item["type"] in _TYPES:
            message = _TYPES[item["type"]]
        lines.append(f"{key}: {message}" if key else message)
    first = clean_text(lines[0])
    return first if len(lines) == 1 else f"{first} (and {len(lines) - 1} more)"
