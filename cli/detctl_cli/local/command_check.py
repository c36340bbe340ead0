"""Finds the program, script or module of a command before anything starts. Nothing is imported or run for it."""

from __future__ import annotations

import difflib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from detctl_cli.errors import UsageError

_PYTHON = re.compile(r"python[\d.]*")
_SHELLS = ("bash", "sh", "dash", "zsh", "ksh")
_LAUNCHERS = ("torchrun", "accelerate", "deepspeed")
# Programs that run another one; the options make them start it elsewhere.
_WRAPPERS = frozenset(
    (
        "env", "nice", "ionice", "chrt", "nohup", "setsid", "stdbuf", "taskset", "numactl", "timeout", "time", "xvfb-run",
        "uv", "poetry", "pipenv", "pdm", "hatch", "rye", "pixi", "conda", "mamba", "micromamba",
    )
)  # fmt: skip
_ELSEWHERE = re.compile(r"-C.*|(?:--chdir|--directory|--cwd|--manifest-path|--project)(?:=.*)?|-[A-Za-z]*C")
_TAKES_A_PROGRAM = ("-p", "--python", "-n", "--name", "--with", "-w")  # options whose value may be called python
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_LAUNCHER_MODULES = ("torch.distributed.run", "torch.distributed.launch", "accelerate.commands.launch")
_SUFFIXES = (".py", ".pyc", ".so")
_SHOWN = 3


@dataclass(frozen=True)
class Target:
    """What a command names: a script, or a module (`python -m`). safe_path: Python does not search the current folder."""

    kind: Literal["script", "module"]
    name: str
    safe_path: bool = False


def check_command(command: Sequence[str], cwd: Path) -> None:
    """Raises UsageError if the program, script or module does not exist, as far as that can be decided without running it."""
    _check_program(command[0], cwd)
    target = target_of(command)
    if target is None or "{" in target.name:  # a placeholder, whose value only the agent knows
        return
    if target.kind == "script":
        _check_script(target.name, cwd, command)
    elif not target.safe_path:
        _check_module(target.name, cwd)


def target_of(command: Sequence[str]) -> Target | None:
    """Returns the script or module that a command runs; None if it has none, or its form is unknown."""
    program = Path(command[0]).name
    if program in _WRAPPERS:
        return _wrapped(command[1:])
    if _PYTHON.fullmatch(program):
        return _python_target(command[1:])
    if program in _LAUNCHERS:
        return _launched(command[1:])
    if program in _SHELLS:
        first = next((word for word in command[1:] if not word.startswith("+")), "")
        return Target("script", first) if first and not first.startswith("-") else None
    return None


def _wrapped(arguments: Sequence[str]) -> Target | None:
    """The target of the first Python or launcher that a wrapper starts here."""
    for position, word in enumerate(arguments):
        if _ELSEWHERE.fullmatch(word):
            return None
        if _PYTHON.fullmatch(Path(word).name) or word in _LAUNCHERS:
            if position and arguments[position - 1] in _TAKES_A_PROGRAM:
                return None
            return target_of(arguments[position:])
    return None


def _python_target(arguments: Sequence[str]) -> Target | None:
    rest, safe = list(arguments), bool(os.environ.get("PYTHONSAFEPATH"))
    while rest:
        word = rest.pop(0)
        if word == "-":
            return None
        if word == "--":
            return Target("script", rest[0]) if rest else None
        if not word.startswith("-"):
            return Target("script", word)
        if word.startswith("--"):
            if word == "--check-hash-based-pycs":
                rest = rest[1:]
            continue
        for position, letter in enumerate(word[1:], 2):
            safe = safe or letter in "IP"
            value = word[position:]
            if letter == "c":
                return None
            if letter == "m":
                name = value or (rest[0] if rest else "")
                after = rest if value else rest[1:]
                if name in _LAUNCHER_MODULES:
                    return _launched(after)
                return Target("module", name, safe) if name else None
            if letter in "WX":
                rest = rest if value else rest[1:]
                break
    return None


def _launched(arguments: Sequence[str]) -> Target | None:
    """The first word of a launcher that is a Python file: which of its options take a value is not known here."""
    if "--no-python" in arguments or "--no_python" in arguments or "-m" in arguments or "--module" in arguments:
        return None
    found = next((word for word in arguments if not word.startswith("-") and word.endswith(".py")), "")
    return Target("script", found) if found else None


def _check_program(program: str, cwd: Path) -> None:
    if "{" in program or (program in ("python", "python3") and (shutil.which("python") or shutil.which("python3"))):
        return
    place = cwd / program
    if "/" in program:
        if not place.exists():
            raise UsageError(f"{program}: no such file", _did_you_mean(program, cwd) or _AS_TYPED)
        if place.is_dir():
            raise UsageError(f"{program} is a directory, not a program", _AS_TYPED)
        if not os.access(place, os.X_OK):
            run = f"python {program}" if program.endswith(".py") else f"chmod +x {program}"
            raise UsageError(f"{program} may not be executed", f"try: {run}")
    elif shutil.which(program) is None:
        if _ASSIGNMENT.match(program):
            raise UsageError(
                f"{program} sets a variable, and is not a program",
                f"write it in front of detctl: {program} detctl audit -- COMMAND",
            )
        if " " in program:
            raise UsageError(
                f"{program}: no such program", f"leave out the quotes, or let a shell run it: bash -c '{program}'"
            )
        if program in _BUILTINS:
            raise UsageError(f"{program} belongs to the shell, and is not a program", "write: bash -c 'COMMAND'")
        if place.is_file():
            run = f"python {program}" if program.endswith(".py") else f"./{program}"
            raise UsageError(f"{program}: no such program", f"did you mean {run}?")
        close = difflib.get_close_matches(program, programs(), n=1, cutoff=0.75)
        raise UsageError(f"{program}: no such program", f"did you mean {close[0]}?" if close else _AS_TYPED)


_BUILTINS = frozenset(("cd", "source", ".", "export", "ulimit", "alias", "eval", "exec", "set", "conda", "module"))
_AS_TYPED = "give the command after -- as you type it in a shell"


def _check_script(script: str, cwd: Path, command: Sequence[str]) -> None:
    place = cwd / script
    try:
        is_folder, is_there = place.is_dir(), place.exists()
    except OSError as problem:
        raise UsageError(f"{script}: {problem.strerror}", "name a script that you may read") from None
    if is_folder:
        if (place / "__main__.py").exists():
            return
        inside = sorted(str(Path(script) / path.name) for path in place.glob("*.py"))[:_SHOWN]
        raise UsageError(
            f"{script} is a directory without __main__.py, not a script",
            f"it contains: {', '.join(inside)}" if inside else "name the script",
        )
    if not is_there:
        raise UsageError(f"{script}: no such file", _did_you_mean(script, cwd) or f"the command runs in {cwd}")
    if not os.access(place, os.R_OK):
        raise UsageError(f"{script} may not be read", f"change its permissions: chmod u+r {script}")


def _check_module(module: str, cwd: Path) -> None:
    """Raises UsageError if the package lies in this folder, so that Python finds it first, and the module is not in it."""
    package, _, name = module.rpartition(".")
    if not package or not all(part.isidentifier() for part in module.split(".")):
        return
    folder = cwd
    for part in package.split("."):
        folder /= part
        initial = folder / "__init__.py"
        try:
            if "__path__" in initial.read_text("utf-8", "replace"):
                return  # it may add folders
        except OSError:
            return  # a namespace package has parts elsewhere, or the package is not in this folder
    if (folder / name).is_dir() or any(path.name.split(".")[0] == name for path in folder.glob(f"{name}.*")):
        return
    names = sorted(
        {path.name.split(".")[0] for path in folder.iterdir() if path.suffix in _SUFFIXES or (path / "__init__.py").exists()}
        - {"__init__"}
    )  # fmt: skip
    close = difflib.get_close_matches(name, names, n=1)
    hint = (
        f"did you mean {package}.{close[0]}?" if close else f"{folder} contains: {', '.join(names[:20]) or 'no module'}"
    )
    raise UsageError(f"{module}: the package {package} in this folder has no module {name}", hint)


def _did_you_mean(path: str, cwd: Path) -> str:
    """Returns a hint with the most similar file of the same folder, or of the folder whose name is most similar; else ''."""
    parent, name = Path(path).parent, Path(path).name
    folder = cwd / parent
    try:
        names = [found.name for found in folder.iterdir() if not found.name.startswith(".")]
    except OSError:
        return f"there is no folder {parent}" if not folder.exists() else ""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    shown = str(parent / close[0]) if close else ""
    if shown and path.startswith("./"):
        shown = f"./{shown}"
    return f"did you mean {shown}?" if shown else ""


def programs() -> Iterator[str]:
    """Yields the names in the folders of PATH."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        try:
            yield from (found.name for found in Path(folder or ".").iterdir())
        except OSError:
            continue
