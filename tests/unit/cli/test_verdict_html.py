"""The page of a verdict: whole, self-contained, and safe whatever names it shows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from detctl_cli.errors import CliError, UsageError
from detctl_cli.reporters.verdict_html import check_writable, page, write_page

HOSTILE = "</title><script>alert(1)</script><img src=http://evil.example/x>\x1b[31m"
VERDICT = {
    "schema": "detctl.verdict/v1", "audit": "a1", "recipe": HOSTILE, "outcome": "different", "origin": "environment",
    "causes": [{
        "cause": "filesystem-order", "origin": "environment", "confidence": "confirmed", "confirmed_by": "equalised", "stage": "listing",
        "step": 0, "site": HOSTILE, "kind": "permutation", "evidence": [HOSTILE, "same 3 names"], "fix": "sort it (train.py:3)",
        "carried_on_to": ["sample", "batch"], "words": "another order",
    }],
    "groups": [["gpu1/default/base/twin-0"], ["gpu2/default/base/twin-0"]],
    "machines": {"gpu1": {"runs": [], "repeats_itself": True}, "gpu2": {"runs": [], "repeats_itself": None}},
    "experiments": [{"words": "all that can be set is equal: they agree", "result": "equal", "runs": ["x", "y"]}],
    "maps": [{
        "runs": ["gpu1", "gpu2"],
        "stages": {"listing": [[0, 0, "different"]], "forward": [[0, 3, "equal"], [4, 7, "different"]], "update": [[0, 7, "one-sided"]]},
        "loss": [[step, 0.0 if step < 4 else 10.0 ** (step - 9)] for step in range(8)] + [[8, None]],
    }],
    "environment": {"variables.OMP_NUM_THREADS": {"gpu1/default/base": "1", "gpu2/default/base": "2"}},
    "cheapest_fix": {"set": {"listing": "sorted"}, "suffices": True, "words": "listing=sorted: no cost"},
    "self_test": {"passed": True, "checks": [{"name": "bare", "passed": True, "words": "the same weights"}]},
    "coverage": {"stages": ["listing", "forward"], "not_observed": ["files"], "unobserved": [], "steps": [0, 8], "level": "module"},
    "unverified_because": [], "benign": [], "notes": ["a note"],
}  # fmt: skip


class Attributes(HTMLParser):
    """Whatever a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [
            value for name, value in attrs if name in ("src", "href", "srcset", "action", "data", "xlink:href")
        ]


def test_everything_is_on_the_page_and_nothing_asks_for_anything() -> None:
    text = page(VERDICT)
    for shown in ("DIFFERENT", "filesystem-order", "sort it (train.py:3)", "listing=sorted: no cost", "the same weights", "a note",
                  "variables.OMP_NUM_THREADS", "gpu2/default/base", "they agree", "same 3 names"):  # fmt: skip
        assert shown in text, shown
    assert "<script" not in text and "<img" not in text and "\x1b" not in text, "names are text, never markup"
    fetched = Attributes()
    fetched.feed(text)
    assert fetched.links == ["data:,"], fetched.links
    assert "default-src 'none'" in text
    cells = re.findall(r"<rect [^>]*>", text)
    assert len(cells) == 4 and all(float(width) >= 1 for width in re.findall(r'<rect [^>]*width="([\d.]+)"', text))


@pytest.mark.parametrize("outcome", ["identical", "unverified", "different"])
def test_a_verdict_with_nothing_in_it_is_a_page_too(outcome: str) -> None:
    assert outcome.upper() in page({"schema": "detctl.verdict/v1", "outcome": outcome})


def test_a_file_that_cannot_be_written_is_reported_before_anything_runs(tmp_path: Path) -> None:
    for bad, expected in ((tmp_path, "is a folder"), (tmp_path / "no" / "page.html", "there is no folder")):
        with pytest.raises(UsageError, match=expected):
            check_writable(bad)
    (tmp_path / "page.html").write_text("older")
    write_page(VERDICT, tmp_path / "page.html")
    assert "DIFFERENT" in (tmp_path / "page.html").read_text() and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(CliError, match="was not written"):
        write_page(VERDICT, tmp_path / "gone" / "page.html")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium (apt-get install chromium)")
def test_a_browser_shows_it_without_a_word_of_complaint(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    write_page(VERDICT, file)
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
         f"--log-net-log={tmp_path / 'net.json'}", "--net-log-capture-mode=Everything", "--disable-background-networking",
         "--disable-component-update", "--no-first-run", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, done.stderr
    assert "polyline" in done.stdout and "filesystem-order" in done.stdout
    fetched = re.findall(r'"url":"(https?://[^"]*)"', (tmp_path / "net.json").read_text())
    assert not [url for url in fetched if "evil.example" in url], fetched
    json.dumps(fetched)
