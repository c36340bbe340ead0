"""Every page, decision and section that code, tests and docs cite exists in this repository."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SUFFIXES = {"", ".c", ".html", ".j2", ".md", ".proto", ".py", ".pyi", ".service", ".sh", ".toml", ".yaml", ".yml"}
# Fuzz seeds are inputs, and this file has broken citations in its own tests.
PASSED = ("tests/fuzz/seeds/", "tests/unit/test_citations.py")
# Pages that the first sessions worked from, and the folder that they lay in. None of them is in this repository.
GONE = re.compile(
    r"\brulings\b|\bruling,? \d|\b(?:design|anchors|reliability)\.md\b|(?<![\w/$}.])(?:\.\./)*shared/", re.IGNORECASE
)
# A page in prose; a name in quotes is a file that the code opens, and a link is looked at as such.
PAGE = re.compile(r"(?<![\w/.$}\"'-])(?:[\w-]+/)*[\w-]+\.md\b")
DOCUMENT = re.compile(r"(?<![\w/])docs/[\w./-]*\w")
DECISION = re.compile(r"(?<![\w/])docs/adr/(\d+)")
NUMBERED = re.compile(r"\b(?:ADR|decision) (\d+)")
SECTIONS = re.compile(r"\bsecurity\.md\)?,? (?:rows? |sections? )?(\d+(?:(?:, | and | to )\d+)*)")
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(?:#[^)]*)?\)")
HEADING = re.compile(r"^## (\d+)\. ", re.MULTILINE)


def numbers_in(text: str) -> Iterator[int]:
    """Yields the numbers of `3`, `3, 4` and `3 to 5, 8`."""
    for span in re.split(r", | and ", text):
        first, _, last = span.partition(" to ")
        yield from range(int(first), int(last or first) + 1)


def tracked() -> list[str]:
    """Returns the names of the text files that git tracks or would track; skips the test where there is no git."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT, capture_output=True, check=True, text=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"git does not list the files here: {error}")
    names = [name for name in listed.split("\0") if name and not name.startswith(PASSED)]
    return [name for name in names if Path(name).suffix in SUFFIXES and (ROOT / name).is_file()]


def texts() -> Iterator[tuple[str, str]]:
    for name in tracked():
        try:
            yield name, (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def prose(text: str) -> str:
    """Joins the lines of comments and paragraphs, so that a citation may continue on the next line."""
    return re.sub(r"\s*\n[ \t]*(?://|#+ |\* )?[ \t]*", " ", text)


def decisions() -> set[int]:
    return {int(page.name[:4]) for page in (DOCS / "adr").glob("[0-9]*.md")}


def broken(name: str, text: str) -> list[str]:
    """Returns the citations in one file that lead nowhere, but for sections of docs/security.md."""
    found = [f"{match.group()!r} is not in this repository" for match in GONE.finditer(text)]
    folders = [ROOT, (ROOT / name).parent] if name.endswith(".md") else [DOCS if name == "mkdocs.yml" else ROOT]
    pages = PAGE.findall(re.sub(r"\[[^]]*\]\([^)]*\)", "", text) if name.endswith(".md") else text)
    found += [page for page in pages if not any((folder / page).is_file() for folder in folders)]
    found += [page for page in DOCUMENT.findall(text) if not DECISION.fullmatch(page) and not (ROOT / page).exists()]
    found += [f"decision {number}" for number in DECISION.findall(text) if int(number) not in decisions()]
    found += [f"decision {number}" for number in NUMBERED.findall(text) if int(number) not in decisions()]
    if name.endswith(".md"):
        found += [link for link in LINK.findall(text) if not os.path.lexists((ROOT / name).parent / link)]
    return found


def test_every_page_and_decision_that_is_cited_exists() -> None:
    assert {name: found for name, text in texts() if (found := broken(name, prose(text)))} == {}


def test_every_section_of_security_that_is_cited_exists() -> None:
    sections = {int(number) for number in HEADING.findall((DOCS / "security.md").read_text(encoding="utf-8"))}
    cited = {
        (name, number)
        for name, text in texts()
        for numbers in SECTIONS.findall(prose(text))
        for number in numbers_in(numbers)
    }
    assert len(cited) > 10
    assert sorted(citation for citation in cited if citation[1] not in sections) == []


def test_the_index_of_decisions_lists_each_of_them() -> None:
    index = (DOCS / "adr" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[(\d+)\]\(([\w-]+\.md)\) \| (.+) \|$", index, re.MULTILINE)
    pages = sorted((DOCS / "adr").glob("[0-9]*.md"))
    titles = [re.match(r"# (\d+)\. (.+)\n", page.read_text(encoding="utf-8")) for page in pages]
    assert listed == [
        (title.group(1), page.name, title.group(2)) for title, page in zip(titles, pages, strict=True) if title
    ]
    assert [int(number) for number, _, _ in listed] == list(range(1, len(pages) + 1))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "a step ends here (rulings, 2)"),
        ("a.py", "see design.md 4"),
        ("a.py", "(shared/security.md 3)"),
        ("a.py", "of row 3 (security.md 3)"),
        ("a.py", "see docs/nowhere.md"),
        ("a.py", "see docs/adr/9999"),
        ("docs/a.md", "see ADR 9999"),
        ("docs/a.md", "see [there](nowhere.md)"),
    ],
)
def test_a_citation_that_leads_nowhere_is_found(name: str, text: str) -> None:
    assert broken(name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "docs/adr/0009, docs/causes.md and docs/verdict.schema.json"),
        ("docs/a.md", "see [here](security.md) and [there](https://example.org/a)"),
        ("a.sh", "prepare $shared/memory; mount /shared/run1"),
    ],
)
def test_a_citation_that_resolves_is_accepted(name: str, text: str) -> None:
    assert broken(name, text) == []


def test_sections_are_read_as_people_write_them() -> None:
    text = "docs/security.md 3 to 5, 8 and docs/security.md 7; [security.md](security.md) 1 and 2"
    assert [list(numbers_in(found)) for found in SECTIONS.findall(text)] == [[3, 4, 5, 8], [7], [1, 2]]
