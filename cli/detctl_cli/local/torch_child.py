"""Runs work that needs torch in a process of an interpreter that has it. The command line itself never imports torch."""

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
from detctl_proto import files
from detctl_proto.files import regular_file

from detctl_cli.doctor.interpreter import find_python
from detctl_cli.errors import CliError
from detctl_cli.output.clean import clean

# Each staged package imports these: the digest of the probe, and the module that opens files. Both need only the standard library.
PROBE = "detctl_probe"
SHARED = (detctl_proto, files, regular_file)


def run_module(
    package: str,
    arguments: Sequence[str],
    python: str | None,
    progress: Callable[[int, int], None],
    *,
    imports_from_here: bool = False,
) -> dict[str, Any]:
    """Returns the JSON document that `PYTHON -m PACKAGE ARGUMENTS` prints. Lines `progress DONE OF` on its stderr go to `progress`.

    python: an interpreter. None means the first that has torch, of `python` on PATH and our own interpreter. The process works in
    a temporary folder that contains only the package, the probe and SHARED. Paths in `arguments` must therefore be absolute, and a
    torch.py next to a checkpoint is not imported. imports_from_here: classes of the current folder can be imported. Raises CliError.
    """
    sources = {name: _folder_of(name) for name in (PROBE, package)}
    first = find_python(python)
    programs = [first] if first is not None else []
    programs += [sys.executable] if python is None and sys.executable not in programs else []
    with tempfile.TemporaryDirectory(prefix="detctl", ignore_cleanup_errors=True) as name:
        staged = Path(name)
        for copied, source_folder in sources.items():
            shutil.copytree(source_folder, staged / copied, ignore=shutil.ignore_patterns("inject", "*.c", "*.pyc.*"))
        for module in SHARED:
            source = Path(str(module.__file__))
            target = staged / source.relative_to(Path(str(detctl_proto.__file__)).parents[1])
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        for program in programs:
            document = _run([program, "-m", package, *arguments], staged, progress, imports_from_here)
            if document.get("error") != "no-torch":
                break
    if "error" in document:
        hint = "name an interpreter that has it with --python" if document["error"] == "no-torch" else ""
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
    # The folders of the caller stay: a cluster may have its torch there.
    before = [str(Path(place).absolute()) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    here = [str(Path.cwd())] if imports_from_here else []
    variables = {name: value for name, value in os.environ.items() if not name.startswith("DETCTL_")}
    variables["PYTHONPATH"] = os.pathsep.join([str(staged), *before, *here])
    variables["PYTHONDONTWRITEBYTECODE"] = "1"
    # A file instead of a pipe: a long answer would fill a pipe while we still read progress, and both would wait for ever (seen).
    with open(staged / "answer", "w+b") as answer:
        try:
            process = subprocess.Popen(
                command, cwd=staged, env=variables, stdin=subprocess.DEVNULL, stdout=answer, stderr=subprocess.PIPE
            )
        except OSError as problem:
            raise CliError(
                "interpreter", f"{command[0]} cannot be started: {problem}", "name another one with --python"
            ) from None
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
    """Reads to the end, and returns the last line that is not a progress line."""
    last = ""
    for raw in stream or ():
        line = raw.decode("utf-8", "replace").strip()
        fields = line.split()
        if len(fields) == 3 and fields[0] == "progress" and fields[1].isdigit() and fields[2].isdigit():
            progress(int(fields[1]), int(fields[2]))
        elif line:
            last = line
    return last
