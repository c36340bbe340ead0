"""Finds the arguments of a command that are folders or files, names them by position and points them into a private copy.

See docs/adr/0010 and docs/adr/0024.
"""

# Paths as text: neither links nor a venv's interpreter may be resolved.
# ruff: noqa: PTH112, PTH117, PTH118

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from detctl_agent.errors import RunRefusedError
from detctl_agent.state.run_folder import disk_error


def named_folders(argv: Sequence[str], cwd: Path) -> dict[str, str]:
    """`arg1`, `arg2` … for the arguments that are existing folders outside `cwd`, as absolute paths, in their order."""
    found: dict[str, str] = {}
    for _, value in _values(argv):
        path = os.path.normpath(cwd / value)
        inside = path == str(cwd) or path.startswith(f"{cwd}/")
        if os.path.isdir(path) and not inside and path not in found.values():
            found[f"arg{len(found) + 1}"] = path
    return found


def into_copy(
    argv: Sequence[str], folder: Path, work: Path, bytes_max: int, *, foreign: Collection[int] = ()
) -> list[str]:
    """The command for the copy `work`: absolute paths inside the source `folder` are replaced by paths in the copy. Relative paths
    that the copy lacks, for example because git ignores them, are copied too, or linked if they are larger than `bytes_max`.

    foreign: positions of arguments that the machine's owner did not write, or whose links are not the owner's. Raises
    RunRefusedError if one of them is missing in the copy and leads out of the folder by a symbolic link.
    """
    filled = list(argv)
    real = os.path.realpath(folder)
    for position, value in _values(argv):
        path = os.path.normpath(folder / value)
        if not path.startswith(f"{folder}/") or not os.path.lexists(path):
            continue
        relative = os.path.relpath(path, folder)
        place = work / relative
        if not os.path.lexists(place):
            if position in foreign and not f"{os.path.realpath(path)}/".startswith(f"{real}/"):
                raise RunRefusedError(
                    f"argument {value[:256]!r} leads out of the recipe's folder by a symbolic link: name a file in it"
                )
            _bring(Path(path), place, bytes_max)
        if os.path.isabs(value):
            filled[position] = filled[position].replace(value, str(place))
    return filled


def _values(argv: Sequence[str]) -> Iterator[tuple[int, str]]:
    """(position, possible path) of each argument: the whole argument, or the part after `=` of an option."""
    for position, word in enumerate(argv[1:], start=1):
        value = word.partition("=")[2] if word.startswith("-") else word
        if value and "\0" not in value and len(value) < 4096:
            yield position, value


def _bring(origin: Path, place: Path, bytes_max: int) -> None:
    # A copy, so that no run sees another's checkpoints. What is too large to be anything but data is linked.
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if _size(origin, bytes_max) > bytes_max:
            place.symlink_to(origin)
        elif origin.is_dir():
            shutil.copytree(origin, place, symlinks=True)
        else:
            shutil.copy2(origin, place)
    except shutil.Error as error:
        raise disk_error(OSError(str(error)), place.parent) from error
    except OSError as error:
        raise disk_error(error, place.parent) from error


def _size(path: Path, enough: int) -> int:
    if not path.is_dir():
        return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        total += sum(os.lstat(os.path.join(folder, name)).st_size for name in names)
        if total > enough:
            break
    return total
