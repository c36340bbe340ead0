"""Manifests as they are recorded: which values of variables they hold, and which only as marks. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping
from typing import Any

from detctl_proto.security.redaction.command_lines import redact_command, redact_pairs, redact_value
from detctl_proto.security.redaction.marks import MARK, RecordingKey, agree
from detctl_proto.security.variable_rules import has_recorded_value, names_a_secret

# The section of a manifest with, for each variable whose value is recorded because the training read it, the mark that another
# recording may hold instead.
DIGESTS = "variable_digests"


def protected_variables(
    variables: Mapping[str, str], key: RecordingKey, read: Collection[str] = ()
) -> tuple[dict[str, str], dict[str, str]]:
    """(the value or the mark of each variable, DIGESTS) for a manifest. read: the names of variables that the training's code reads."""
    shown: dict[str, str] = {}
    digests: dict[str, str] = {}
    for name, value in sorted(variables.items()):
        if is_open(name, value, read=name in read):
            shown[name] = value
            if not has_recorded_value(name):
                digests[name] = key.mark(value, name)
        else:
            shown[name] = key.mark(value, name)
    return shown, digests


def is_open(name: str, value: str, *, read: bool) -> bool:
    """Whether a manifest may hold the value of this variable."""
    if names_a_secret(name) or MARK.search(value):  # a value that reads as a mark would pass for one
        return False
    if has_recorded_value(name):
        return redact_value(value) == value
    return read and not looks_secret(value)


def protected_manifest(manifest: Mapping[str, Any], key: RecordingKey, read: Collection[str] = ()) -> dict[str, Any]:
    """A manifest as it is recorded today. Older ones hold all values; one of today stays as it is."""
    if DIGESTS in manifest:
        return dict(manifest)
    found = dict(manifest)
    variables = found.get("variables")
    plain = {str(k): str(v) for k, v in variables.items()} if isinstance(variables, Mapping) else {}
    if plain:
        found["variables"], digests = protected_variables(plain, key, read)
        found[DIGESTS] = digests
    recipe = found.get("recipe")
    if isinstance(recipe, Mapping):
        found["recipe"] = protected_recipe(recipe, key)
    return found


def protected_recipe(recipe: Mapping[str, Any], key: RecordingKey) -> dict[str, Any]:
    """The section `recipe` with its command and parameters redacted."""
    found = dict(recipe)
    command, parameters = found.get("command"), found.get("parameters")
    arguments = [str(word) for word in command] if isinstance(command, list) else []
    if arguments:
        found["command"] = redact_command(arguments, key)
    if isinstance(parameters, Mapping):
        found["parameters"] = redact_pairs({str(k): str(v) for k, v in parameters.items()}, key, arguments)
    return found


def looks_secret(value: str) -> bool:
    """Whether a value is or holds a credential by its shape: what redact_value finds, and long random text."""
    return redact_value(value) != value or any(
        _is_random(run) for run in re.findall(r"[A-Za-z0-9+=_-]{20,4096}", value)
    )


def variables_agree(name: str, left: Mapping[str, Any], right: Mapping[str, Any]) -> bool | None:
    """As agree, of one variable in two manifests: if only one of them holds the value, its digest is compared instead."""
    ours, theirs = _variable(left, name), _variable(right, name)
    if ours is not None and theirs is not None:
        if MARK.fullmatch(ours) and not MARK.fullmatch(theirs):
            theirs = _digest(right, name) or theirs
        elif MARK.fullmatch(theirs) and not MARK.fullmatch(ours):
            ours = _digest(left, name) or ours
    return agree(ours, theirs)


def _is_random(run: str) -> bool:
    """Whether letters and digits alternate as they do in keys and hardly ever in names: long hex, base64 and the like."""
    unpadded = run.strip("=")
    if re.fullmatch(r"[0-9a-fA-F]{32,}", unpadded.replace("-", "")):
        return True
    piece = max(re.split(r"[-_+=]", unpadded), key=len)
    kinds = ["d" if char.isdigit() else "U" if char.isupper() else "l" for char in piece]
    runs = 1 + sum(a != b for a, b in itertools.pairwise(kinds))
    # The runs of camelCase have three letters and more, those of base64 one and a half.
    return len(piece) >= 16 and len(piece) < 1.9 * runs


def _variable(manifest: Mapping[str, Any], name: str) -> str | None:
    section = manifest.get("variables")
    value = section.get(name) if isinstance(section, Mapping) else None
    return None if value is None else str(value)


def _digest(manifest: Mapping[str, Any], name: str) -> str:
    section = manifest.get(DIGESTS)
    return str(section.get(name) or "") if isinstance(section, Mapping) else ""
