"""Credentials in commands, single values and parameters. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from detctl_proto.security.redaction.marks import Marker, RecordingKey, is_redacted, marker
from detctl_proto.security.redaction.text import redact_text
from detctl_proto.security.redaction.urls import redact_whole_url
from detctl_proto.security.variable_rules import names_a_secret
from detctl_proto.syntax.names import PLACEHOLDER

_OPTION_INSIDE = re.compile(
    r"(?<!\S)(--?[A-Za-z][A-Za-z0-9_.-]{0,63})(=|\s{1,3})(\"[^\"]{1,1024}\"|'[^']{1,1024}'|[^\s\"'-][^\s\"']{0,1023})"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_./\[\]-]{0,199}")
# What follows `--password` and is another option, not its value.
_OPTION = re.compile(r"--[A-Za-z][A-Za-z0-9_.-]*(?:=[\s\S]*)?|-[A-Za-z]")


def redact_command(command: Sequence[str], key: RecordingKey | None = None) -> list[str]:
    """The arguments of a command without credentials: values of options whose name is that of a secret (`--password X`, `--token=X`,
    `db.password=X`), and credentials inside of any argument. key: its marks show whether two commands have the same values; None:
    plain marks."""
    found: list[str] = []
    expects = ""  # the option whose value is the next argument
    for word in command:
        if expects and not _OPTION.fullmatch(word):
            found.append(marker(key, expects)(word))
            expects = ""
            continue
        expects = ""
        option, equals, value = word.partition("=")
        name = option.lstrip("-+~")
        if equals and value and _NAME.fullmatch(name) and names_a_secret(name):
            found.append(f"{option}={marker(key, name)(value)}")
            continue
        if word.startswith("-") and not equals and names_a_secret(name):
            expects = name
        found.append(redact_value(word, key))
    return found


def redact_value(value: str, key: RecordingKey | None = None) -> str:
    """One argument or value: as redact_text; a value that is one URL may hold blanks and quotes."""
    mark = marker(key)
    value = redact_whole_url(value, mark)
    if " " in value:
        value = _OPTION_INSIDE.sub(lambda found: _option_inside(found, mark), value)
    return redact_text(value, mark)


def redact_pairs(
    pairs: Mapping[str, str], key: RecordingKey | None = None, command: Sequence[str] = ()
) -> dict[str, str]:
    """Parameters by name, without the values of those whose name is that of a secret and without credentials inside of any value.

    command: a template in which `{name}` stands for a value: `--password {name}` makes a secret of it too."""
    hidden = _hidden_parameters(command)
    return {
        name: marker(key, name)(value)
        if value and (name in hidden or names_a_secret(name))
        else redact_value(value, key)
        for name, value in pairs.items()
    }


def _hidden_parameters(command: Sequence[str]) -> set[str]:
    """Names of the placeholders that redaction removes from a command."""
    pairs = zip(command, redact_command(command), strict=True)
    return {name for word, shown in pairs for name in set(PLACEHOLDER.findall(word)) - set(PLACEHOLDER.findall(shown))}


def _option_inside(found: re.Match[str], mark: Marker) -> str:
    if not names_a_secret(found[1].lstrip("-")) or is_redacted(found[3]):
        return found[0]
    return f"{found[1]}{found[2]}{mark(found[3])}"
