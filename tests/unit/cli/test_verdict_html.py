"""The page of a verdict: whole, self-contained, and safe whatever names it shows."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from detctl_cli.errors import CliError, UsageError
from detctl_cli.reporters.page.charts import differences_of, summary_of
from detctl_cli.reporters.page.facts import Written, run_facts
from detctl_cli.reporters.verdict_html import check_writable, page, write_page

NEEDS_CHARTS = "needs vl-convert-python (the extra html)"
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
    "unverified_because": [], "benign": [], "notes": ["a note"], "requested_by": "ada",
    "runs": [
        {"label": "gpu1/default/base/twin-0", "run_id": "r1", "created_unix_s": 1.8e9, "wall_s": 75.0, "machine": "gpu1", "host": "node7",
         "command": ["python", "train.py", HOSTILE], "commit": "abc123", "source_digest": "feed", "versions": {"torch": "2.9"}},
        {"label": "gpu2/default/base/twin-0", "run_id": "r2", "created_unix_s": 1.8e9, "wall_s": 3.0, "machine": "gpu2", "host": HOSTILE,
         "command": ["python", "train.py", HOSTILE], "commit": "abc123", "source_digest": "feed", "versions": {"torch": "2.9"}},
    ],
}  # fmt: skip
LOSSES = {
    "gpu1/default/base/twin-0": [[step, 1.0 / (step + 1)] for step in range(8)],
    HOSTILE: [[step, 1.0 / (step + 1) + (0.1 if step > 3 else 0)] for step in range(8)],
}
CHECKPOINTS = {
    "schema": "detctl.checkpoints/v1", "outcome": "different", "scheme": "n6.v1",
    "a": {"path": HOSTILE, "format": "torch.save", "leaves": 2, "sha256": "aa11", "changed_unix_s": 1.8e9},
    "b": {"path": "b.pt", "format": "torch.save", "leaves": 2}, "compared": {"tensors": 2, "values": 1},
    "sections": [{"section": "model", "tensors": 2, "differing": 1, "values": 1, "other_values": 1}],
    "differing": [{"name": HOSTILE, "section": "model", "kind": "content", "dtype": "float32", "shape": [2], "elements": 2, "differing": 1,
                   "first": [0], "relative": 0.1, "max_abs": 0.2, "max_ulp": 3, "non_finite": 0, "digests": ["d1", "d2"]}],
    "values": [{"name": HOSTILE, "section": "model", "a": HOSTILE, "b": "2"}], "only_a": [HOSTILE], "only_b": [],
    "unread": [{"name": HOSTILE, "why": HOSTILE}], "notes": [HOSTILE],
}  # fmt: skip


class Attributes(HTMLParser):
    """Whatever a browser would fetch, and the scripts that it would run."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str | None] = []
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self._runs = False

    def handle_data(self, data: str) -> None:
        if self._runs:
            self.scripts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._runs = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "script" and ("type", "application/json") not in attrs:
            self._runs = True
            self.scripts.append("")
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
    cells = re.findall(r'<rect [^>]*rx="1"[^>]*>', text)
    assert len(cells) == 4 and all(float(width) >= 1 for width in re.findall(r'<rect x[^>]*width="([\d.]+)"', text))


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


def test_the_page_says_when_where_by_whom_and_with_which_command_also_if_all_is_identical() -> None:
    written = Written(
        1.8e9, "ada", "laptop", "/home/ada/digits", "detctl audit --html x.html -- python train.py", "1.2"
    )
    text = page({**VERDICT, "outcome": "identical", "causes": []}, None, written)
    for shown in ("2027-01-15 08:00:00 UTC", "1 min 15 s", "ada on laptop", "detctl audit --html x.html", "node7",
                  "abc123", "feed", "torch 2.9"):  # fmt: skip
        assert shown in text, shown
    names = {"gpu1/default/base/twin-0": "gpu1", "gpu2/default/base/twin-0": "gpu2"}
    facts = dict(run_facts(VERDICT, names))
    assert facts["commit"] == [("", "abc123")] and [run for run, _ in facts["duration"]] == ["gpu1", "gpu2"]


def test_code_on_the_page_is_text(tmp_path: Path) -> None:
    line = "names = os.listdir('</td><script>alert(1)</script>')  # <img src=x>"
    (tmp_path / "train.py").write_text(f"import os\n{line}\n")
    cause = {**VERDICT["causes"][0], "fix_at": "{cwd}/train.py:2"}  # type: ignore[index]  # the types of the document are not told
    text = page({**VERDICT, "causes": [cause]}, tmp_path)
    assert "sorted(os.listdir(" in text and "train.py:2" in text and "may have changed" in text
    found = Attributes()
    found.feed(text)
    assert "script" not in found.tags and "img" not in found.tags


def test_a_comparison_of_checkpoints_is_a_page(tmp_path: Path) -> None:
    write_page(CHECKPOINTS, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    for shown in ("DIFFERENT", "1 of 2 tensors", "aa11", "d1 d2", "1 of 2 elements from [0] on", "2027-01-15", "b.pt"):
        assert shown in text, shown
    found = Attributes()
    found.feed(text)
    assert "script" not in found.tags and "img" not in found.tags and found.links == ["data:,"]


def test_losses_are_drawn_with_scripts_that_the_policy_names_by_their_hash() -> None:
    pytest.importorskip("vl_convert", reason=NEEDS_CHARTS)
    text = page({**VERDICT, "losses": LOSSES})
    found = Attributes()
    found.feed(text)
    assert "img" not in found.tags and [link for link in found.links if link != "data:,"] == []
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert (
        policy is not None
        and "unsafe-eval" not in policy[1]
        and "default-src 'none'" in policy[1].replace("&#39;", "'")
    )
    assert len(found.scripts) == 2
    for script in found.scripts:
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy[1].replace("&#43;", "+")
    assert "alert(1)</script>" not in text and "The loss differs at 4 of the 8 steps shown, first at step 4" in text


def test_without_the_package_for_charts_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    text = page({**VERDICT, "losses": LOSSES})
    assert "detctl[html]" in text and "<script" not in text and "polyline" in text


@pytest.mark.parametrize("losses", [{"a": "text"}, {"a": [["x", 1.0], [0, "y"], [1, 1e999]]}, {"a": []}, {}])
def test_losses_of_another_form_do_no_harm(losses: dict[str, object]) -> None:
    assert "DIFFERENT" in page({**VERDICT, "losses": losses})


def test_differences_have_a_gap_where_runs_are_equal() -> None:
    losses = {"a": [(0, 1.0), (1, 2.0), (2, None)], "b": [(0, 1.0), (1, 2.5), (2, 1.0)]}
    assert differences_of(losses) == {"b": [(0, None), (1, 0.5), (2, None)]}
    assert summary_of(losses, {}) == "The loss differs at 2 of the 3 steps shown, first at step 1."
    assert "equal in all 2 runs" in summary_of({"a": [(0, 1.0)], "b": [(0, 1.0)]}, {})


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium (apt-get install chromium)")
@pytest.mark.parametrize("losses", [{}, LOSSES])
def test_a_browser_shows_it_without_a_word_of_complaint(tmp_path: Path, losses: dict[str, object]) -> None:
    if losses:
        pytest.importorskip("vl_convert", reason=NEEDS_CHARTS)
    file = tmp_path / "page.html"
    write_page({**VERDICT, "losses": losses}, file)
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
         f"--log-net-log={tmp_path / 'net.json'}", "--net-log-capture-mode=Everything", "--disable-background-networking",
         "--disable-component-update", "--no-first-run", "--virtual-time-budget=5000", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, done.stderr
    assert "filesystem-order" in done.stdout
    assert ("vega-embed" in done.stdout) if losses else ("polyline" in done.stdout), "the chart is drawn"
    fetched = re.findall(r'"url":"(https?://[^"]*)"', (tmp_path / "net.json").read_text())
    assert not [url for url in fetched if "evil.example" in url], fetched
    json.dumps(fetched)
