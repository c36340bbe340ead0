"""Docs and packages keep to the vocabulary of docs/words.md (tests/support/vocabulary.py finds the old one)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.vocabulary import TEXT, files, findings

ROOT = Path(__file__).resolve().parents[2]
WORDS = ROOT / "docs" / "words.md"
PACKAGES = (
    *sorted(str(init.parent.relative_to(ROOT)) for init in ROOT.glob("*/detctl_*/__init__.py")),
    *("benchmarks", "examples"),
)
# Pages, folders of pages and packages that are being rewritten. Nothing is: add one only for the time of a large change.
PENDING: frozenset[str] = frozenset()


def pages() -> list[Path]:
    """Our prose; docs/words.md quotes the old vocabulary."""
    found = [
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    ]
    return sorted([*(page for page in found if page != WORDS), ROOT / "tests" / "README.md"])


def places(names: Iterable[str]) -> list[Any]:
    """The names as parameters of a test; those in PENDING may fail."""
    pending = [name for name in names if any(name == part or name.startswith(part + "/") for part in PENDING)]
    mark = pytest.mark.xfail(reason="being rewritten", strict=False)
    return [pytest.param(name, marks=[mark] if name in pending else []) for name in names]


def names_of_pages() -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages()]


def old_words(text: str) -> list[str]:
    """Returns what a page still writes in the old vocabulary, with its line; names in backticks are interfaces."""
    text = re.sub(r"`[^`\n]*`", "``", text)
    return [
        f"line {text[: match.start()].count(chr(10)) + 1}: {match.group()!r} → {instead}"
        for pattern, instead in TEXT
        for match in re.finditer(pattern, text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("name", places([*names_of_pages(), *PACKAGES]))
def test_a_place_keeps_to_the_vocabulary(name: str) -> None:
    place = ROOT / name
    if place.suffix == ".md":
        assert old_words(place.read_text(encoding="utf-8")) == []
    else:
        assert [str(finding) for path in files(place) for finding in findings(path)] == []
        other = [path for path in place.rglob("*") if path.suffix in {".c", ".j2", ".proto", ".toml", ".yaml"}]
        assert {path.name: found for path in other if (found := old_words(path.read_text(encoding="utf-8")))} == {}


# Phrases of the old pages that are no single words of the vocabulary.
PHRASES = (
    (r"\bh[oe]ld (\w+ ){0,2}against\b", "compare with"), (r"\bdear(er|est)?\b", "expensive"), (r"\b(none )?but for\b", "except"),
    (r"\bthin(s|ned)? (what|the|stages)\b", "sample less often"), (r"\bis told\b", "is reported"), (r"\bgives? back\b", "return"),
)  # fmt: skip
LONGEST = 40  # words of a sentence; docs/words.md recommends 25


@pytest.mark.parametrize("name", places(names_of_pages()))
def test_sentences_are_short_and_plain(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert [match.group() for pattern, _ in PHRASES for match in re.finditer(pattern, text, re.IGNORECASE)] == []
    assert [sentence for sentence in sentences(text) if len(sentence.split()) > LONGEST] == []


def sentences(text: str) -> Iterator[str]:
    """Yields the sentences of paragraphs and lists; code, tables and headings have none. A code span counts as one word."""
    text = re.sub(r"(?ms)^```.*?^```$", "", text)
    text = re.sub(r"(?m)^(?:    |\||#|<).*$", "", text)
    text = re.sub(r"`[^`]*`", "code", text)
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[*-]|\d+\.) )", text):
        yield from (" ".join(part.split()) for part in re.split(r"(?<=[.:;?!])[)*\"]*\s+", paragraph) if part.strip())


def sentences_to_avoid() -> list[str]:
    """The left column of the table of sentences in docs/words.md, without the closing full stop."""
    rows = re.findall(r'^\| "(.+?)\.?" \| "', WORDS.read_text(encoding="utf-8"), re.MULTILINE)
    return [_plain(row) for row in rows]


def _plain(text: str) -> str:
    """One line, without marks of comments, quotes and markup."""
    return re.sub(r"[\s\"'#*`\\]+", " ", text).lower()


def test_the_sentences_to_avoid_are_gone() -> None:
    avoided = sentences_to_avoid()
    assert len(avoided) >= 6
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("git does not list the files here")
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if (
            path == WORDS
            or path.suffix not in {".py", ".md", ".proto", ".sh", ".toml", ".yaml", ".j2"}
            or not path.is_file()
        ):
            continue
        text = _plain(path.read_text(encoding="utf-8"))
        found += [f"{name}: {sentence}" for sentence in avoided if sentence in text]
    assert found == []


@pytest.mark.parametrize("text", ["the runs part here", "it says so", "both are no help", "a bare run"])
def test_old_words_are_found(text: str) -> None:
    assert old_words(text)


@pytest.mark.parametrize("text", ["the runs diverge here", "`completion=asked` and `say`", "it is no longer there"])
def test_standard_words_are_accepted(text: str) -> None:
    assert old_words(text) == []
