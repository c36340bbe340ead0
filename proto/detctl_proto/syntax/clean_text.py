"""Text from elsewhere as one line that cannot control a terminal or forge a line of a log (docs/security.md 7). Pure."""

from __future__ import annotations

from unicodedata import category


def clean_text(text: str, characters_max: int | None = None) -> str:
    """One line of printable text, at most `characters_max` long; line breaks and tabs become spaces.

    Removes control characters, direction marks, zero-width and unassigned characters, and lone surrogates.
    """
    if not text.isprintable():
        text = "".join(map(_cleaned, text))
    return text[:characters_max]


def is_clean(text: str) -> bool:
    """Whether `clean_text` would change nothing."""
    return clean_text(text) == text


def _cleaned(character: str) -> str:
    if character.isprintable() or category(character) == "Zs":  # other blanks than U+0020 count as not printable
        return character
    return " " if character.isspace() else ""
