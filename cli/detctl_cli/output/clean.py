"""Removes control characters from names: they come from other machines and must not control the terminal (docs/security.md 7)."""

from __future__ import annotations

import unicodedata

# Cc: C0 and C1 with ESC; Cf: bidirectional overrides and zero-width; Cs: lone surrogates, which no terminal can print.
_STRIPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def clean(text: object) -> str:
    """One line without control characters; newlines and tabs become spaces."""
    return "".join(
        " " if char in "\n\t\r\u2028\u2029" else char
        for char in str(text)
        if char in "\n\t\r\u2028\u2029" or unicodedata.category(char) not in _STRIPPED
    )


def clean_lines(text: object) -> str:
    """As `clean`, and keeps the line breaks: for captured output."""
    return "\n".join(clean(line) for line in str(text).splitlines())
