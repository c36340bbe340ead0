"""A training, bare and under the probe; with twins=True once more under it. What every test of the model observers begins with.

    twins = train(tmp_path, BODY)
    twins.main.sites("forward", 0)

DETCTL_TEST_LEVEL=op runs them at level op, where all must hold as well: operations are left out of what is returned.

A script gets PREAMBLE before it and prints the digest of its final weights by `weights(model)`; `train` asserts that all
prints are equal (the probe is neutral), that nothing failed, and that both probed runs, if two, made the same records.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from collector import Collected, Process, collect, script, without_probe

PREAMBLE = """
import hashlib, os, random, sys
import torch
from torch import nn

def weights(*models):
    total = hashlib.sha256()
    for model in models:
        for name, tensor in model.state_dict().items():
            data = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).tolist() if tensor.numel() else []
            total.update(name.encode() + bytes(data))
    # The generator's state too: a draw by the probe would show even where no weight depends on it.
    total.update(bytes(torch.get_rng_state().tolist()))
    # One write: lines of several ranks must not mix.
    sys.stdout.write("weights %s\\n" % total.hexdigest())
    sys.stdout.flush()

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.25), nn.Linear(16, 4))

def batches(count, size=6):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        yield torch.randn(size, 8, generator=generator), torch.randint(4, (size,), generator=generator)
"""

LAYERS = ["root1/0", "root1/1", "root1/2", "root1/3", "root1"]
PARAMETERS = ["root1/0.weight", "root1/0.bias", "root1/3.weight", "root1/3.bias"]


def train(
    folder: Path,
    body: str,
    *,
    command: Sequence[str] | None = None,
    env: dict[str, str] | None = None,
    window: list[int | None] | None = None,
    ok_to_fail: Sequence[str] = (),
    timeout_s: float = 240.0,
    level: str = os.environ.get("DETCTL_TEST_LEVEL", "module"),
    operations: bool = False,
    twins: bool = False,
    start_warm: bool = True,
) -> Collected:
    """Runs the body bare and probed (twins: twice), in folders of their own; returns the first probed run.

    start_warm: by warm.py, unless the command or a variable asks for a Python of its own.
    operations: with the records of level op that are operations. See the module's text."""

    def one(name: str) -> Any:
        place = folder / name
        place.mkdir()
        plain = script(place, PREAMBLE + body)
        argv = list(command) if command else plain
        variables = {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"), "HOME": str(place), **(env or {})}
        forked = start_warm and not command and not env
        if name == "bare":
            return without_probe(argv, cwd=place, env=variables, timeout_s=timeout_s, start_warm=forked)
        forked &= name == "a"  # the twin comes from a Python of its own: both kinds of start make the same records
        return collect(
            argv, cwd=place, env=variables, window=window, timeout_s=timeout_s, level=level, start_warm=forked
        )

    uninstrumented, *runs = map(one, ("bare", "a", "b") if twins else ("bare", "a"))
    printed = []
    for run in (uninstrumented, *runs):
        assert run.returncode == 0, run.stderr
        printed.append(_weights(run.stdout))
    assert printed[0], "the script printed no weights"
    assert all(lines == printed[0] for lines in printed), "the probe changed the training"
    for run in runs:
        for process in run.processes:
            _nothing_failed(process, ok_to_fail)
    made = [[compared(process) for process in training(run)] for run in runs]
    assert all(records == made[0] for records in made), "twins made other records"
    first: Collected = runs[0]
    if not operations:
        for process in first.processes:
            process.records = [record for record in process.records if "in" not in (record.evidence or {})]
    return first


def training(run: Collected) -> list[Process]:
    """Processes that trained, by rank."""
    found = [process for process in run.processes if process.seal is not None and process.seal["training"]]
    return sorted(found, key=lambda process: process.seal["rank"] or 0 if process.seal else 0)


def compared(process: Process) -> list[tuple[object, ...]]:
    """The records of the stages that the model observers write."""
    stages = {"init", "forward", "loss", "backward", "update", "artifact"}
    return [row for row in process.compared() if row[0] in stages]


def per_step(process: Process, stage: str) -> list[int]:
    """Number of records at each finished step."""
    return [len(process.of(stage, step)) for step, _ in process.steps]


def _weights(stdout: str) -> list[str]:
    return sorted(line for line in stdout.splitlines() if line.startswith("weights"))


def _nothing_failed(process: Process, ok_to_fail: Sequence[str]) -> None:
    failed = [
        note for note in process.notes_of("observer-failed") if not any(word in note["text"] for word in ok_to_fail)
    ]
    assert not failed, failed
    assert process.seal is not None, os.linesep.join(map(str, process.notes))
