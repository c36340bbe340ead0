"""Credentials in JSON documents. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detctl_proto.security.redaction.command_lines import redact_command, redact_value
from detctl_proto.security.redaction.marks import REDACTED, is_redacted
from detctl_proto.security.variable_rules import names_a_secret


def redact_document(value: Any) -> Any:
    """A JSON value for showing: its texts are redacted; below `variables` and `parameters` the names decide too."""
    return _document(value, "")


def _document(value: Any, within: str) -> Any:
    if isinstance(value, str):
        return REDACTED if within == "secret" and value and not is_redacted(value) else redact_value(value)
    if isinstance(value, Mapping):
        return {name: _document(item, _within(str(name), within)) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        if within == "named":  # pairs of name and value, as an audit's request has them
            return [_pair(item) for item in value]
        if within != "secret" and value and all(isinstance(item, str) for item in value):
            return redact_command(list(value))
        return [_document(item, within) for item in value]
    return value


def _pair(item: Any) -> Any:
    if isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str):
        return [item[0], _document(item[1], _within(item[0], "named"))]
    return _document(item, "")


def _within(name: str, within: str) -> str:
    """The kind of the value under a name: `named` holds pairs by name, `secret` is a credential, empty is anything else."""
    if within == "secret" or (within == "named" and names_a_secret(name)):
        return "secret"
    section, _, rest = name.rpartition(".")  # `variables.PGPASSWORD`
    if section.endswith(("variables", "parameters")) and names_a_secret(rest):
        return "secret"
    return "named" if name in ("variables", "parameters", "set", "vary") else ""
