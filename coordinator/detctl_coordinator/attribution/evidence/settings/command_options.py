"""Options that differ between two recorded commands. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

from detctl_coordinator.attribution.evidence.settings.suspect_families import family_of_parameter
from detctl_coordinator.attribution.evidence.settings.suspects import Suspect
from detctl_coordinator.domain.fingerprint import Fingerprint

LENGTHS = re.compile(r"epoch|step|iter|resume|ckpt|checkpoint|output|save|log|name", re.IGNORECASE)
ACTING = "OREIsS"  # options of Python that decide about assertions, hashes, variables and search paths
POSITIONAL = "argument "
PATH = re.compile(r"/|\.(pt|pth|ckpt|bin|safetensors)$")


def command_suspects(left: Fingerprint, right: Fingerprint) -> list[Suspect]:
    """Returns the options that differ between two recorded commands, as parameters. Evidence `command`: the arguments, with
    logical paths."""
    commands = [fingerprint.evidence.get("command") for fingerprint in (left, right)]
    if not all(isinstance(command, list) for command in commands):
        return []
    ours, theirs = (_options([str(argument) for argument in command or ()]) for command in commands)
    return [
        Suspect(f"recipe.parameters.{name}", ours.get(name), theirs.get(name), family_of_parameter(name))
        for name in {**ours, **theirs}
        if ours.get(name) != theirs.get(name)
    ]


def interpreter_suspects(left: Sequence[str], right: Sequence[str]) -> list[Suspect]:
    """Returns the options of Python itself that differ between two commands and can change what a program does, as one suspect."""
    ours, theirs = (" ".join(_options_of_python(command)) for command in (left, right))
    return [Suspect("python.options", ours or None, theirs or None, "config")] if ours != theirs else []


def _options_of_python(command: Sequence[str]) -> list[str]:
    found: list[str] = []
    arguments = iter(command[1:])
    for argument in arguments:
        if not argument.startswith("-") or argument.startswith("--"):
            break
        for at, letter in enumerate(argument[1:], 2):
            if letter in "mc":
                return found
            if letter in "XW":
                found.append(f"-{letter} {argument[at:] or next(arguments, '')}")
                break
            if letter in ACTING:
                found.append(f"-{letter}")
    return found


def of_continuation(suspects: Iterable[Suspect]) -> list[Suspect]:
    """Returns the suspects of two runs of which one continues the other. An option that only one of them has shows that it continues,
    a path where its files are, and a length how far it goes: all of these must differ, and so must the folder, which holds a checkpoint."""
    options = ("recipe.parameters.", "recipe.command")
    return [
        one
        for one in suspects
        if one.deliberate or (one.family != "folder" and (not one.key.startswith(options) or _same_kind(one)))
    ]


def _same_kind(one: Suspect) -> bool:
    name = one.key.rpartition(".")[2]
    values = (one.left, one.right)
    if name.startswith(POSITIONAL):
        return False  # a folder or a file, more often than not
    return None not in values and not LENGTHS.search(name) and not any(PATH.search(value or "") for value in values)


def _options(arguments: list[str]) -> dict[str, str]:
    """Returns `python x.py --a 1 --b=2 --c y` as {"argument 0": "x.py", "a": "1", "b": "2", "c": "y"}.

    An argument after a flag counts as its value; other arguments are numbered as in sys.argv."""
    found: dict[str, str] = {}
    name = ""
    rest = arguments[1:] if arguments[:1] == ["python"] else arguments
    numbers = itertools.count(1 if rest[:1] in (["-m"], ["-c"]) else 0)
    for argument in rest:
        if argument.startswith("-") and not argument.lstrip("-")[:1].isdigit() and argument.strip("-"):
            name, equals, value = argument.lstrip("-").partition("=")
            name = name.replace("-", "_")
            found[name] = value if equals else "given"
            name = "" if equals else name
        elif name:
            found[name], name = argument, ""
        else:
            found[f"{POSITIONAL}{next(numbers)}"] = argument
    return found
