"""The documentation: its commands run or say why not, programs accept them, generated pages are fresh, the site needs no network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.scripts import reference, regenerate
from tests.support.command_lines import our_commands, shell_blocks, why_refused

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = set(reference.pages())
# What may stand before a block of commands.
MARKER = re.compile(
    r"(?:run: [\w-]+(?:, exits \d+)?|same as: \S+\.md [\w-]+|run by (?P<test>tests/\S+\.py)\b.*|not run here: .{10,})",
    re.DOTALL,
)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@each_page
def test_each_block_of_commands_is_run_or_says_why_not(page: Path) -> None:
    if page in GENERATED:
        pytest.skip("examples of --help; another test parses them")
    text = page.read_text(encoding="utf-8")
    unmarked = []
    for block in shell_blocks(text):
        marker = MARKER.fullmatch(block.marker)
        if marker is None or (marker["test"] and not (ROOT / marker["test"]).is_file()):
            unmarked.append(f"line {block.line}: {block.body.splitlines()[0]}")
    assert unmarked == []


@each_page
def test_programs_accept_each_command_line(page: Path) -> None:
    refused = [
        f"line {line}: {' '.join(words)}: {why}"
        for line, words in our_commands(page.read_text(encoding="utf-8"))
        if (why := why_refused(words))
    ]
    assert refused == []


def test_command_lines_are_found() -> None:
    assert sum(len(list(our_commands(page.read_text(encoding="utf-8")))) for page in PAGES) > 150


@pytest.mark.parametrize(
    "text",
    [
        "    detctl audit RECIPE --machine gpu1\n",
        "```console\n$ X=1 detctl compare A B --no-such-option\n```\n",
        "see `detctl audit --level finest`",
        "see `detctl forget`",
        "see `detctl kat --json A.json B.json extra | jq` and `detctl token revoke A B C`",
        "see `detctl-agent --no-such-option`",
        "see `detctl-coordinator copy --form sqlite:a`",
    ],
)
def test_a_renamed_option_is_found(text: str) -> None:
    assert [why for _, words in our_commands(text) if (why := why_refused(words))]


@pytest.mark.parametrize(
    "text",
    [
        "    detctl audit RECIPE --machines gpu1,gpu2     trains twins\n",
        "```console\n$ srun -w gpu1 detctl record --join AUDIT --machine gpu1 -- torchrun --nproc-per-node 2 train.py\n```\n",
        "see `detctl audits | runs | machines` and `detctl audit … --explain`",
        "see `detctl-agent health --name gpu1 [--connected]` and `kubectl -n detctl create secret`",
    ],
)
def test_a_command_line_as_people_write_it_is_accepted(text: str) -> None:
    found = [(words, why_refused(words)) for _, words in our_commands(text)]
    assert found and not [why for _, why in found if why]


def test_the_generated_pages_are_fresh() -> None:
    stale = [page.name for page, text in reference.pages().items() if page.read_text(encoding="utf-8") != text]
    assert stale == [], "run: python docs/scripts/reference.py"


def test_each_key_of_a_verdict_has_a_meaning() -> None:
    page = (ROOT / "docs" / "reference" / "verdict.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (`.*)\|  \|$", page, re.MULTILINE) == [], "add it to docs/scripts/verdict_keys.py"


def test_the_quickstart_explains_lines_that_its_verdict_has() -> None:
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    shown = regenerate.block_of(ROOT / "docs" / "quickstart.md", "quickstart-audit")
    explained = re.findall(r"^\| `([a-z ]+)` \|", page, re.MULTILINE)
    assert len(explained) > 5 and [label for label in explained if f"\n  {label} " not in shown] == []


@each_page
def test_copies_of_output_are_fresh(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert regenerate.with_copies(text) == text, "run: python docs/scripts/regenerate.py"


@each_page
def test_blocks_that_run_have_commands_and_names_of_their_own(page: Path) -> None:
    blocks = [found for found in regenerate.BLOCK.finditer(page.read_text(encoding="utf-8")) if found["kind"] == "run"]
    names = [regenerate.EXITS.fullmatch(block["argument"]) for block in blocks]
    assert all(names) and len({name["name"] for name in names if name}) == len(blocks)
    assert all(regenerate.commands_in(block["body"] or "") for block in blocks)


def test_lines_of_the_readme_are_short() -> None:
    text = re.sub(r"^```.*?^```$", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith(("|", "!["))] == []


def test_the_site_builds_without_a_warning_and_asks_no_other_host(tmp_path: Path) -> None:
    """What a page loads by itself; links that somebody clicks may lead out."""
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    loads = re.compile(r"""<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//[^"' >]+""")
    found = {
        f"{page.relative_to(tmp_path)}: {match}"
        for page in tmp_path.rglob("*.html")
        for match in loads.findall(page.read_text(encoding="utf-8"))
    }
    assert found == set()
    assert [
        sheet.name for sheet in tmp_path.rglob("*.css") if re.search(r"url\(['\"]?https?:", sheet.read_text())
    ] == []
