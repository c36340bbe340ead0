"""The catalog of one command: it makes `audit -- python train.py --data data` a recipe that the local agent runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from detctl_proto.syntax.names import PLACEHOLDER, to_name

from detctl_cli.errors import UsageError
from detctl_cli.local.variations import argument_places, own_variations

TIMEOUT_S = 24 * 3600


@dataclass(frozen=True)
class LocalRecipe:
    """A recipe.

    command: a template. paths: parameter -> folder, compared by name only (docs/adr/0010). literals: parameter -> argument that
    looks like a placeholder. python: the interpreter that "python" names here. roots: path parameter -> other values that the
    same command line gives it, which the agent accepts in a request because they are listed. values: parameter -> the values that
    the command line gives it. variables: name -> template. parameters: typed name of a --set or --vary -> parameter.
    side_by_side: whether its runs may train at the same time if they fit.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    copy: bool
    timeout_s: int = TIMEOUT_S
    keep_files: bool = False
    paths: Mapping[str, str] = field(default_factory=dict)
    literals: Mapping[str, str] = field(default_factory=dict)
    python: str = ""
    roots: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    side_by_side: bool = False


def recipe_of(
    command: Sequence[str],
    cwd: Path,
    *,
    copy: bool,
    timeout_s: int = TIMEOUT_S,
    keep_files: bool = False,
    given: Iterable[tuple[str, Sequence[str]]] = (),
) -> LocalRecipe:
    """Returns the recipe for a command. Raises UsageError if a catalog cannot contain it.

    given: name and values of each --set and --vary.

    Folders outside `cwd` among the arguments become parameters with their absolute path, named by position. Folders inside
    stay as typed, and the agent maps them to each run's own copy, so that a twin does not see checkpoints of another.
    """
    given = list(given)
    variations = own_variations(given)
    varied = argument_places(command, variations)
    by_position = {word.position: word for word in varied if word.position is not None}
    if len(by_position) < sum(word.position is not None for word in varied):
        raise UsageError("two of --set and --vary change the same word of the command", "leave one of them out")
    template: list[str] = []
    paths: dict[str, str] = {}
    literals: dict[str, str] = {}
    for position, word in enumerate(command):
        if any(0xD800 <= ord(char) < 0xE000 for char in word) or "\0" in word:
            raise UsageError(f"argument {position + 1} of the command is not UTF-8 text", "write it in UTF-8")
        if changed := by_position.get(position):
            template.append(f"{changed.prefix}{{{changed.parameter}}}")
            continue
        option, equals, value = word.rpartition("=") if word.startswith("-") else ("", "", word)
        place = cwd / value
        if position > 0 and value and place.is_dir() and _outside(place, cwd) and not PLACEHOLDER.search(option):
            name = f"path{len(paths) + 1}"
            paths[name] = str(Path(os.path.normpath(place)))
            template.append(f"{option}{equals}{{{name}}}")
            continue
        if position > 0 and copy and value.startswith("..") and place.is_file():
            word = f"{option}{equals}{Path(os.path.normpath(place))}"
        if PLACEHOLDER.search(word):
            name = f"word{position}"
            literals[name] = word
            word = f"{{{name}}}"
        template.append(word)
    template += [f"{word.prefix}{{{word.parameter}}}" for word in varied if word.position is None]
    values = {one.parameter: one.values for one in variations}
    roots: dict[str, tuple[str, ...]] = {}
    for name in [word.parameter for word in varied]:
        if all(value.startswith("/") and _outside(Path(value), cwd) and Path(value).is_dir() for value in values[name]):
            roots[name] = values.pop(name)
            paths[name] = roots[name][0]
    # Not resolved: Python finds its virtual environment by this path.
    found = shutil.which("python") or shutil.which("python3")
    python = str(cwd / found) if found else ""
    roots |= {
        name: tuple(value for value in typed_values if value.startswith("/"))
        for typed, typed_values in given
        if (name := typed.removeprefix("param:")) in paths
    }
    variables = {one.variable: f"{{{one.parameter}}}" for one in variations if one.variable}
    parameters = {one.typed: one.parameter for one in variations}
    return LocalRecipe(
        recipe_name(command),
        tuple(template),
        cwd,
        copy,
        timeout_s,
        keep_files,
        paths,
        literals,
        python,
        roots,
        values,
        variables,
        parameters,
    )


def recipe_name(command: Sequence[str]) -> str:
    """Returns `train` for `python train.py` and `python -m pkg.train`, `train.sh` for `bash train.sh`; `command` if nothing is a name."""
    typed = list(command)
    candidate = next((word for word in typed if word.endswith((".py", ".sh")) and not word.startswith("-")), "")
    if not candidate and "-m" in typed[1:-1]:
        candidate = typed[typed.index("-m", 1) + 1].rpartition(".")[2]
    return to_name(Path(candidate or typed[0]).name.removesuffix(".py"), "command")


def catalog_toml(recipe: LocalRecipe) -> str:
    """Returns the catalog as TOML."""
    lines = [
        "# Written by `detctl audit --`, and read by `detctl explain`.",
        f"[recipes.{_quoted(recipe.name)}]",
        f"command = [{', '.join(map(_quoted, recipe.command))}]",
        f"folder = {_quoted(str(recipe.folder))}",
        f"copy = {'true' if recipe.copy else 'false'}",
        f"timeout_s = {recipe.timeout_s}",
        f"keep_files = {'true' if recipe.keep_files else 'false'}",
        *(["side_by_side = true"] if recipe.side_by_side else []),
        "allow_values = true",  # coordinator and agent are this user's own, on this machine
    ]
    if recipe.paths:
        lines.append(f"paths = [{', '.join(map(_quoted, recipe.paths))}]")
    first = {name: values[0] for name, values in recipe.values.items()}
    if parameters := {**recipe.paths, **recipe.literals, **first}:
        lines.append(f"[recipes.{_quoted(recipe.name)}.parameters]")
        lines += [f"{_quoted(name)} = {_quoted(value)}" for name, value in parameters.items()]
    if recipe.values:
        lines.append(f"[recipes.{_quoted(recipe.name)}.patterns]")
        lines += [f"{_quoted(name)} = [{', '.join(map(_quoted, values))}]" for name, values in recipe.values.items()]
    if recipe.roots:
        lines.append(f"[recipes.{_quoted(recipe.name)}.roots]")
        lines += [f"{_quoted(name)} = [{', '.join(map(_quoted, roots))}]" for name, roots in recipe.roots.items()]
    lines.append("[environments.default]")
    if recipe.python:
        lines.append(f"python = {_quoted(recipe.python)}")
    if recipe.variables:
        lines.append("[environments.default.variables]")
        lines += [f"{name} = {_quoted(template)}" for name, template in recipe.variables.items()]
    return "\n".join(lines) + "\n"


def _outside(place: Path, cwd: Path) -> bool:
    return not Path(os.path.normpath(place)).is_relative_to(cwd)


def _quoted(text: str) -> str:
    # A JSON string is a TOML basic string, except that TOML requires DEL to be escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
