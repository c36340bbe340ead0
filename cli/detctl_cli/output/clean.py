"""Cleans what is shown: names come from other machines and must not control the terminal (docs/security.md 7)."""

from __future__ import annotations

from detctl_proto.clean_text import clean_text


def clean(text: object) -> str:
    """One line without control characters; newlines and tabs become spaces."""
    return clean_text(str(text))


def clean_lines(text: object) -> str:
    """As `clean`, but keeps the line breaks: for captured output."""
    return "\n".join(clean(line) for line in str(text).splitlines())
