"""`--html` with the real commands: an audit, recordings, and checkpoints."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

CLOCK = """
import time
import torch
torch.manual_seed(time.time_ns() % 2**31)  # </script><script>alert(1)</script>
model = torch.nn.Linear(4, 1)
for step in range(4):
    loss = model(torch.ones(2, 4)).square().mean()
    model.zero_grad()
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad
"""
SAVE = """
import sys
import torch
torch.save({"weight": torch.ones(3) * float(sys.argv[2]), "epoch": 3}, sys.argv[1])
"""


def test_the_page_of_an_audit_shows_the_code_with_its_fix_and_the_losses(deployment):
    (deployment.folder / "clock.py").write_text(CLOCK)
    done = deployment.run("audit", "--twins", "2", "--html", "page.html", "--json", "--", "python", "clock.py")
    assert done.returncode == 1, done.stderr
    verdict = json.loads(done.stdout)
    assert [len(curve) for curve in verdict["losses"].values()] == [4, 4]
    assert len(verdict["sources"]["{cwd}/clock.py"]) == 1
    assert [run["versions"]["torch"] for run in verdict["runs"]]
    text = (deployment.folder / "page.html").read_text()
    removed = re.search(r'<tr class="removed"><td>4</td><td>-</td><td>([^\n]*)</td></tr>', text)
    added = re.search(r'<tr class="added"><td></td><td>\+</td><td>([^\n]*)</td></tr>', text)
    assert removed and "time.time_ns() % 2**31" in removed[1] and added and "torch.manual_seed(0)" in added[1]
    assert "&lt;script&gt;alert(1)" in text and "<script>alert" not in text
    assert "may have changed" not in text and "has changed" not in text, "the digest is the recorded one"
    for shown in ("python clock.py", "detctl audit --twins 2", "digest of update", verdict["runs"][0]["source_digest"]):
        assert shown in text, shown


def test_recordings_and_checkpoints_have_pages(deployment):
    for name in ("one", "two"):
        ran = deployment.run("record", "-o", name, "--steps", "0:4", "--", "python", "train.py", "--seed")
        assert ran.returncode == 0, ran.stderr
    assert deployment.run("compare", "one", "two", "--html", "runs.html").returncode == 0
    text = (deployment.folder / "runs.html").read_text()
    started = json.loads((deployment.folder / "one/run.json").read_text())["started_unix_s"]
    assert "IDENTICAL" in text and "compare one two" in text and "digest of update" in text
    assert started and re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC", text)

    for name, value in (("a.pt", "1"), ("b.pt", "2")):
        subprocess.run([sys.executable, "-c", SAVE, name, value], cwd=deployment.folder, check=True)
    done = deployment.run("compare", "a.pt", "b.pt", "--html", "checkpoints.html", "--python", sys.executable)
    assert done.returncode == 1, done.stderr
    text = (deployment.folder / "checkpoints.html").read_text()
    assert "weight" in text and "3 of 3 elements" in text and len(re.findall(r"\b[0-9a-f]{64}\b", text)) == 2
