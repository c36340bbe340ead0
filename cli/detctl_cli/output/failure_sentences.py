"""Writes sentences about why a training failed and what to do, from the facts of a verdict or of run.json."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from detctl_proto.security.variable_rules import is_withheld

from detctl_cli.output.clean import clean

_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b")


def what_happened(failure: Mapping[str, Any]) -> str:
    """Returns one clause about the failure, with its exit code."""
    kind, module, file = (clean(failure.get(name) or "") for name in ("kind", "module", "file"))
    code = int(failure.get("exit_code") or 0)
    name = clean(failure.get("signal") or "")
    ended = f"signal {name}" if name else f"exit code {code}"
    if kind in ("missing-module", "no-torch"):
        return f"Python does not find the module {module or 'torch'} ({ended})"
    if kind == "missing-file":
        return f"the file {file} does not exist ({ended})"
    if kind == "crash":
        return f"the process crashed ({ended})"
    if kind == "out-of-memory" and name == "SIGKILL":
        return f"the process was killed, most likely because memory ran out ({ended})"
    if kind == "out-of-memory":
        return f"the training ran out of memory ({ended})"
    if kind == "timeout":
        return "the training reached its time limit"
    if kind == "no-training":
        return f"the program ended before its first training step ({ended})"
    if kind == "not-started":
        return "the program could not be started"
    return f"the training failed ({ended})"


def advice(failure: Mapping[str, Any]) -> str:
    """Returns one or two sentences about what to do."""
    kind, module, original, python = (
        clean(failure.get(name) or "") for name in ("kind", "module", "original", "interpreter")
    )
    if kind in ("missing-module", "no-torch"):
        used = f"The interpreter was {python}. " if python else ""
        return (
            f"{used}If the name {module or 'torch'} is right, install it there, or use another interpreter: activate its "
            "environment, or write its path after --, such as -- /path/to/python train.py. Recipes name it in `python` of "
            "their environment."
        )
    if kind == "missing-file" and original:
        return (
            f"The run started in a copy of the folder, which lacks this file; {original} exists. Start the runs in the folder "
            "itself with --in-place, or pass the absolute path."
        )
    if kind == "missing-file":
        return (
            "Check the path: relative paths start in the folder in which detctl was called, or in the recipe's folder."
        )
    if kind == "crash":
        return (
            "Native code failed. PYTHONFAULTHANDLER=1 prints the Python stack. If the command also crashes without detctl, "
            "fix that first."
        )
    if kind == "out-of-memory":
        return "Free memory, use a smaller batch, or raise memory_mb_max of the recipe."
    if kind == "timeout":
        return "Raise --timeout (timeout_s of a recipe), or record fewer steps with --steps. If it hangs, look at what it printed last."
    if kind == "no-training":
        return (
            "detctl needs at least one optimizer step of torch in this command. Check that the arguments start a training, and that "
            "Python runs without -I and -S."
        )
    if kind == "not-started":
        return "Check the program's path and permissions."
    if withheld := _withheld(failure.get("tail") or []):
        names = ", ".join(withheld)
        return (
            f"Trainings get no variables that look like secrets, so {names} is not set. Let the command read it from a file, "
            "such as ~/.netrc."
        )
    return (
        "Run the command without detctl, as in `COMMAND </dev/null | cat`, since trainings have no input and no terminal here. "
        "If it fails in the same way, fix that first."
    )


def _withheld(lines: Sequence[object]) -> list[str]:
    """Returns the variables in the output of a training that detctl never gives to one."""
    return sorted({name for line in lines for name in _VARIABLE.findall(clean(line)) if is_withheld(name)})
