"""Work that needs torch, in a process of the interpreter that has it: the command line itself imports none."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import detctl_proto
from detctl_proto import regular_file

from detctl_cli.doctor.interpreter import find_python
from detctl_cli.errors import CliError
from detctl_cli.output.clean import clean

# What every staged package imports of ours: the probe's digest, and the one way to open a file. Both need the standard library alone.
PROBE = "detctl_probe"
SHARED = (detctl_proto, regular_file)


def run_module(
    package: str,
    arguments: Sequence[str],
    python: str | None,
    progress: Callable[[int, int], None],
    *,
    imports_from_here: bool = False,
) -> dict[str, Any]:
    """Returns the JSON document that `PYTHON -m PACKAGE ARGUMENTS` prints; lines `progress DONE OF` on its stderr go to `progress`.

    PYTHON is the named one, else the first of `python` on PATH and our own interpreter that has torch. The package, the probe and SHARED
    are staged in its working folder, so that nothing else of ours reaches it: paths in `arguments` must be absolute, and a torch.py
    that lies beside a checkpoint is not imported. imports_from_here: classes of the current folder can be named. Raises CliError.
    """
    sources = {name: _folder_of(name) for name in (PROBE, package)}
    first = find_python(python)
    programs = [first] if first is not None else []
    programs += [sys.executable] if python is None and sys.executable not in programs else []
    with tempfile.TemporaryDirectory(prefix="detctl", ignore_cleanup_errors=True) as name:
        staged = Path(name)
        for copied, source_folder in sources.items():
            shutil.copytree(source_folder, staged / copied, ignore=shutil.ignore_patterns("inject", "*.c", "*.pyc.*"))
        (staged / detctl_proto.__name__).mkdir()
        for module_file in SHARED:
            source = Path(str(module_file.__file__))
            shutil.copy(source, staged / detctl_proto.__name__ / source.name)
        for program in programs:
            document = _run([program, "-m", package, *arguments], staged, progress, imports_from_here)
            if document.get("error") != "no-torch":
                break
    if "error" in document:
        hint = "--python names an interpreter that has it" if document["error"] == "no-torch" else ""
        raise CliError(document["error"], clean(document["message"]), hint)
    return document


def _folder_of(package: str) -> str:
    found = importlib.util.find_spec(package)
    places = found.submodule_search_locations if found is not None else None
    if not places:
        raise CliError("not-installed", f"{package} is not installed", "pip install 'detctl[all]'")
    return next(iter(places))


def _run(
    command: list[str], staged: Path, progress: Callable[[int, int], None], imports_from_here: bool
) -> dict[str, Any]:
    # The caller's folders stay: a cluster's torch may lie there.
    before = [str(Path(place).absolute()) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    here = [str(Path.cwd())] if imports_from_here else []
    variables = {name: value for name, value in os.environ.items() if not name.startswith("DETCTL_")}
    variables["PYTHONPATH"] = os.pathsep.join([str(staged), *before, *here])
    variables["PYTHONDONTWRITEBYTECODE"] = "1"
    # A file, not a pipe: a long answer would fill a pipe while we still read progress (seen: both wait for ever).
    with open(staged / "answer", "w+b") as answer:
        try:
            process = subprocess.Popen(
                command, cwd=staged, env=variables, stdin=subprocess.DEVNULL, stdout=answer, stderr=subprocess.PIPE
            )
        except OSError as problem:
            raise CliError("interpreter", f"{command[0]} cannot be started: {problem}") from None
        with process:
            try:
                last = _follow(process.stderr, progress)
            except BaseException:
                process.kill()
                raise
        answer.seek(0)
        text = answer.read()
    try:
        return dict(json.loads(text))
    except ValueError:
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"exit {process.returncode}"
        hint = "it may have run out of memory" if process.returncode == -9 else ""
        raise CliError("interpreter", f"{command[0]} ended without an answer ({how}): {clean(last)}", hint) from None


def _follow(stream: IO[bytes] | None, progress: Callable[[int, int], None]) -> str:
    """Reads to the end; the last line that is no progress."""
    last = ""
    for raw in stream or ():
        line = raw.decode("utf-8", "replace").strip()
        words = line.split()
        if len(words) == 3 and words[0] == "progress" and words[1].isdigit() and words[2].isdigit():
            progress(int(words[1]), int(words[2]))
        elif line:
            last = line
    return last
