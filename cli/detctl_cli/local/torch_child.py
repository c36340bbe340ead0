"""Work that needs torch, in a process of the interpreter that has it: the command line itself imports none."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from detctl_cli.clean import clean
from detctl_cli.doctor.interpreter import find_python
from detctl_cli.errors import CliError

PACKAGE = "detctl_probe"  # needs nothing but the standard library and torch


def run_module(
    module: str, arguments: Sequence[str], python: str | None, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """The JSON document that `PYTHON -m MODULE ARGUMENTS` prints; lines `progress DONE OF` on its stderr go to `progress`.

    The package is staged alone, so that nothing else of ours reaches that interpreter. Raises CliError.
    """
    program = find_python(python)
    if program is None:
        raise CliError("not-found", "no python on PATH to read checkpoints with", "--python names one that has torch")
    found = importlib.util.find_spec(PACKAGE)
    places = found.submodule_search_locations if found is not None else None
    if not places:
        raise CliError("not-installed", f"{PACKAGE} is not installed", "pip install 'detctl[all]'")
    with tempfile.TemporaryDirectory(prefix="detctl") as staged:
        shutil.copytree(
            next(iter(places)), Path(staged) / PACKAGE, ignore=shutil.ignore_patterns("__pycache__", "inject", "*.c")
        )
        return _run([program, "-m", module, *arguments], staged, progress)


def _run(command: list[str], staged: str, progress: Callable[[int, int], None]) -> dict[str, Any]:
    variables = {**os.environ, "PYTHONPATH": staged, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        process = subprocess.Popen(
            command, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    except OSError as problem:
        raise CliError("interpreter", f"{command[0]} cannot be started: {problem}") from None
    with process:
        assert process.stdout is not None and process.stderr is not None
        last = ""
        try:
            for line in process.stderr:
                words = line.split()
                if len(words) == 3 and words[0] == "progress":
                    progress(int(words[1]), int(words[2]))
                elif line.strip():
                    last = line.strip()
            text = process.stdout.read()
        except BaseException:
            process.kill()
            raise
    try:
        document = json.loads(text)
    except ValueError:
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"exit {process.returncode}"
        raise CliError("interpreter", f"{command[0]} ended without an answer ({how}): {clean(last)}") from None
    if "error" in document:
        hint = "--python names an interpreter that has it" if document["error"] == "no-torch" else ""
        raise CliError(document["error"], clean(document["message"]), hint)
    return dict(document)
