"""Intervention values: at level op, contents of what the operations of a stage take and give, by the digests of their records."""

from __future__ import annotations

import base64
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from collector import collect

SCRIPT = """
import torch
torch.manual_seed(0)
weight = torch.nn.Parameter(torch.linspace(-1, 1, 600).view(20, 30))
optimizer = torch.optim.SGD([weight], lr=0.1)
table = torch.ones(600_000)
for step in range(2):
    loss = (weight.square() * table[:600].view(20, 30)).sum() + 0 * (table * 2).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def test_values_of_an_update(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    run = collect(
        [sys.executable, "train.py"], cwd=tmp_path, level="op", interventions={"values": "loss+forward+update"}
    )
    assert run.returncode == 0, run.stderr
    (reported,) = [row for row in run.main.seal_row("interventions") if row["name"] == "values"]
    assert reported["acted"], reported
    parts: dict[str, dict[int, bytes]] = defaultdict(dict)
    about: dict[str, dict[str, object]] = {}
    for record in run.main.records:
        if record.site.startswith("kept/value/"):
            name, _, number = record.site.removeprefix("kept/value/").partition("#")
            parts[name][int(number)] = base64.b64decode((record.evidence or {})["content"])
            about[name] = {key: (record.evidence or {})[key] for key in ("dtype", "shape", "every")}
    values = {name: b"".join(some[n] for n in sorted(some)) for name, some in parts.items()}

    (first, *_) = [r for r in run.main.records if r.stage == "update" and ":aten." in r.site and r.step == 0]
    evidence = first.evidence or {}
    before, after = (np.frombuffer(values[name], "<f4") for name in (evidence["was"], first.digest.hex()[:16]))
    start = np.linspace(-1, 1, 600, dtype=np.float32)
    assert np.allclose(before, start, atol=1e-6) and np.allclose(after, start * 0.8, atol=1e-6)
    assert about[evidence["was"]] == {"dtype": "float32", "shape": [20, 30], "every": 1}
    assert evidence["was"] in evidence["in"]

    (large,) = [name for name, one in about.items() if one["shape"] == [600_000] and values[name][:4] == b"\0\0\0@"]
    assert about[large]["every"] == 10 and len(values[large]) == 4 * 60_000


def test_nothing_is_kept_at_level_module(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    run = collect([sys.executable, "train.py"], cwd=tmp_path, interventions={"values": "update"})
    assert not [record for record in run.main.records if record.site.startswith("kept/")]
    (reported,) = [row for row in run.main.seal_row("interventions") if row["name"] == "values"]
    assert not reported["acted"]
