"""Removes control characters from names, which come from other machines and must not control the terminal (docs/security.md 7)."""

from __future__ import annotations

from detctl_proto.syntax.clean_text import clean_text


def clean(text: object) -> str:
    """Returns one line without control characters. Newlines and tabs become spaces."""
    return clean_text(str(text))


def clean_lines(text: object) -> str:
    """Returns captured output without control characters but line breaks."""
    return "\n".join(clean(line) for line in str(text).splitlines())
