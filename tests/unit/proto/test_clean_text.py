"""Text from elsewhere cannot control a terminal or forge a line."""

from __future__ import annotations

import unicodedata

import pytest
from detctl_proto.syntax.clean_text import clean_text, is_clean
from hypothesis import given
from hypothesis import strategies as st


@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_cleaned_text_is_one_printable_line(text: str) -> None:
    cleaned = clean_text(text)
    assert len(cleaned.splitlines()) <= 1
    assert not {unicodedata.category(char) for char in cleaned} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    cleaned.encode("utf-8")
    assert is_clean(cleaned)


@pytest.mark.parametrize("text", ["", "gpu1 – Größe 数 {data}/train", "a\u00a0b", "[31m"])
def test_ordinary_text_stays(text: str) -> None:
    assert clean_text(text) == text and is_clean(text)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\nb\tc\u2028d\x85e", "a b c d e"),
        ("a\x1b[31mb\x9b2J\x7f", "a[31mb2J"),
        ("a\u202e\u2066\u200b\ufeffb", "ab"),
        ("a\udc80\ud800b", "ab"),
    ],
)
def test_what_is_removed(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned and not is_clean(text)


def test_long_text_is_cut() -> None:
    assert clean_text("ab\x1bcd", 3) == "abc"
