"""--set and --vary of the user's own variables and arguments, for a command after `--`. Each becomes a parameter of its recipe. Pure.

`env:NAME=V,W` sets a variable, `arg:--lr=V,W` the value of an option, `arg:lr=V,W` a word `lr=…` as Hydra has them, and `arg:3=V,W`
the third word after the script, sys.argv[3].
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from detctl_proto.security.variable_rules import REMOTE, is_withheld
from detctl_proto.syntax.names import PARAMETER_NAME, VARIABLE_NAME

from detctl_cli.errors import UsageError

# Placeholders that every run fills in, and variables that detctl sets for each run.
_OWN_PLACEHOLDERS = frozenset(("out", "tmp", "port", "seed"))
_OWN_VARIABLES = frozenset(("HOME", "TMPDIR"))


@dataclass(frozen=True)
class OwnVariation:
    """typed: as in --vary, `env:SEED`; parameter: its name in the recipe; values: those that runs may get."""

    typed: str
    parameter: str
    values: tuple[str, ...]

    @property
    def variable(self) -> str:
        """The name of the variable, empty for an argument."""
        return self.typed.removeprefix("env:") if self.typed.startswith("env:") else ""

    @property
    def argument(self) -> str:
        """`--lr`, `lr` or `3`; empty for a variable."""
        return self.typed.removeprefix("arg:") if self.typed.startswith("arg:") else ""


@dataclass(frozen=True)
class ArgumentPlace:
    """A word of the command with a parameter in it. position: which word it replaces; None: it is appended."""

    position: int | None
    prefix: str
    parameter: str


def own_variations(given: Iterable[tuple[str, Sequence[str]]]) -> list[OwnVariation]:
    """Returns the variations that only a command has. Raises UsageError for a name that cannot be set.

    given: name and values of each --set and --vary. Variables that may be set on any machine are left to the coordinator.
    """
    found: list[OwnVariation] = []
    for typed, values in given:
        kind, colon, name = typed.partition(":")
        if not colon or kind not in ("env", "arg") or (kind == "env" and name in REMOTE):
            continue
        if kind == "env":
            _check_variable(typed, name)
        elif not name.strip("-"):
            raise UsageError(f"{typed}: there is no name after arg:", "for example --vary arg:--lr=0.1,0.01")
        if any(one.typed == typed for one in found):
            raise UsageError(f"{typed} is given twice", "give all its values in one --vary")
        found.append(OwnVariation(typed, _parameter(name, {one.parameter for one in found}), tuple(values)))
    return found


def argument_places(command: Sequence[str], variations: Iterable[OwnVariation]) -> list[ArgumentPlace]:
    """Returns the words that the variations of arguments change. Raises UsageError if there is no such word."""
    places: list[ArgumentPlace] = []
    for one in variations:
        if one.argument.isdigit():
            places.append(ArgumentPlace(_positional(command, int(one.argument), one.typed), "", one.parameter))
        elif one.argument:
            places.append(_option(command, one))
    return places


def _option(command: Sequence[str], one: OwnVariation) -> ArgumentPlace:
    """Returns the word with the value of an option. The last use counts, as for argparse."""
    name, begins = one.argument, f"{one.argument}="
    for position in range(len(command) - 1, 0, -1):
        if command[position].startswith(begins):
            return ArgumentPlace(position, begins, one.parameter)
        if command[position] == name and name.startswith("-"):
            if position + 1 < len(command) and not _is_option(command[position + 1]):
                return ArgumentPlace(position + 1, "", one.parameter)
            raise UsageError(
                f"{one.typed}: {name} has no value in the command", f"write {name} VALUE, or leave {name} out"
            )
    return ArgumentPlace(None, begins, one.parameter)


def _positional(command: Sequence[str], number: int, typed: str) -> int:
    position = script_position(command) + number
    if number == 0 or position >= len(command):
        count = len(command) - 1 - script_position(command)
        raise UsageError(f"{typed}: the command has {count} words after the script", "sys.argv[1] is the first of them")
    return position


def script_position(command: Sequence[str]) -> int:
    """Returns which word becomes sys.argv[0]: the script, the module after -m, or else the program."""
    for position, word in enumerate(command[1:], 1):
        if word == "-m" and position + 1 < len(command):
            return position + 1
        if word.endswith(".py"):
            return position
    return 0


def _is_option(word: str) -> bool:
    return word.startswith("-") and re.fullmatch(r"-[0-9.].*", word) is None


def _check_variable(typed: str, name: str) -> None:
    if not VARIABLE_NAME.fullmatch(name):
        raise UsageError(f"{typed}: {name!r} is not a name for a variable", "for example --vary env:SEED=0,1")
    if name in _OWN_VARIABLES or name.startswith("DETCTL_"):
        raise UsageError(f"{typed}: detctl sets {name} for each run", "vary another variable")
    if is_withheld(name):
        raise UsageError(f"{typed}: {name} looks like a secret, and trainings never get any", "use another name")


def _parameter(name: str, taken: set[str]) -> str:
    text = re.sub(r"[^A-Za-z0-9._-]", "-", name.lstrip("-"))[:56]
    if not PARAMETER_NAME.fullmatch(text) or text in _OWN_PLACEHOLDERS:
        text = f"arg-{text}"
    return next(option for option in (text, *(f"{text}-{n}" for n in range(2, 1000))) if option not in taken)
