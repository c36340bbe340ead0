"""The commands of the documentation run as a reader types them, and end as their pages say."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.scripts.regenerate import ROOT, Session, pages_that_run, run_page

pytestmark = pytest.mark.slow
# Pages whose experiments take minutes; make soak runs them.
LONG = {"my-loss-moved"}


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.soak] if page.stem in LONG else [], id=page.stem)
        for page in pages_that_run()
    ],
)
def test_the_commands_of_a_page_end_as_it_says(page: Path) -> None:
    """The exit code of each block, and for a verdict its first line: outcome, origin and cause."""
    text = page.read_text(encoding="utf-8")
    with Session() as session:
        for block, ran in run_page(text, session):
            shown = (block["body"] or "").splitlines()
            verdicts = [
                each.output.splitlines()[0] for each in ran if each.output.startswith(("DIFFERENT", "IDENTICAL"))
            ]
            for verdict in verdicts:
                assert verdict in shown, f"{page.relative_to(ROOT)}, {block['argument']}"
