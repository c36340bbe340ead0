"""The Python of warm.py, by which most tests of the probe start, against one of its own for each script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from collector import Process, collect, script, without_probe

pytest.importorskip("torch")

TEXT = """
import os, random, sys
import numpy as np
import torch
from torch.utils.data import DataLoader
torch.manual_seed(random.Random(3).randrange(9))
class Numbers:
    def __init__(self): self.names = os.listdir("numbers")
    def __len__(self): return len(self.names)
    def __getitem__(self, at): return torch.tensor([float(open("numbers/" + self.names[at]).read())]) + float(np.random.rand())
np.random.seed(0)
model = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
optimizer = torch.optim.Adam(model.parameters())
for x in DataLoader(Numbers(), batch_size=3, shuffle=True, num_workers=WORKERS):
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()
torch.save(model.state_dict(), "weights.pt")
print(sum(p.double().sum().item() for p in model.parameters()).hex(), sys.argv, __name__, np.random.RandomState().get_state()[0])
"""


def reported(process: Process) -> dict[str, Any]:
    """The report of a run, without times and process numbers."""
    assert process.seal is not None
    rows: dict[str, Any] = {name: process.seal[name] for name in ("observers", "interventions", "reason")}
    rows["unobserved"] = sorted(process.seal["unobserved"], key=str)  # in the order of imports
    notes = [(note["kind"], note["text"], note.get("file"), note.get("line")) for note in process.notes]
    return {**rows, "notes": notes, "role": process.role, "steps": process.steps}


@pytest.mark.parametrize(
    "interventions", [{}, {"seed": "5", "listing": "sorted", "threads": "1", "identity": "frozen"}]
)
@pytest.mark.parametrize("workers", [0, 2])
def test_both_record_and_report_the_same(tmp_path: Path, interventions: dict[str, str], workers: int) -> None:
    (tmp_path / "numbers").mkdir()
    for number in range(9):
        (tmp_path / "numbers" / str(number)).write_text(str(number))
    command = script(tmp_path, TEXT.replace("WORKERS", str(workers)))
    cold, warm = (
        collect(command, cwd=tmp_path, interventions=interventions, start_warm=start_warm)
        for start_warm in (False, True)
    )
    assert (warm.returncode, warm.stdout, warm.stderr) == (cold.returncode, cold.stdout, cold.stderr)
    assert warm.main.compared() == cold.main.compared() and len(cold.main.steps) == 3
    assert reported(warm.main) == reported(cold.main)


@pytest.mark.parametrize(
    "end", ["sys.exit(3)", "sys.exit('no')", "raise KeyError('gone')", "os.kill(os.getpid(), 9)", "os._exit(4)"]
)
def test_both_end_alike(tmp_path: Path, end: str) -> None:
    text = f"import atexit, os, sys, threading\natexit.register(print, 'at exit')\nthreading.Timer(0.1, print, ['late']).start()\n{end}"
    command = script(tmp_path, text)
    cold, warm = (without_probe(command, cwd=tmp_path, start_warm=start_warm) for start_warm in (False, True))
    assert (warm.returncode, warm.stdout) == (cold.returncode, cold.stdout)
    assert warm.stderr.splitlines()[-1:] == cold.stderr.splitlines()[-1:]
