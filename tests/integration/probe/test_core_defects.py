"""What once went wrong, each in a real process: false notes, wrong callers, swallowed signals, phases, hidden steps."""

from __future__ import annotations

from pathlib import Path

import pytest
from collector import collect, script
from model_twins import PARAMETERS, train

pytest.importorskip("torch")


def test_notes_name_what_no_seed_reaches_and_nothing_else(tmp_path: Path) -> None:
    text = """
import time
import numpy as np, torch
a = np.random.RandomState(3).rand()
b = np.random.default_rng(3).random()
started = time.time_ns(); time.time()
c = np.random.RandomState()
torch.manual_seed(5)
seed = torch._dynamo.disable(torch.manual_seed); seed(6)
torch.manual_seed(time.time_ns() % 2**32)
"""
    run = collect(script(tmp_path, text), cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    notes = [(note["kind"], note["text"], note["line"]) for note in run.main.notes]
    assert notes == [
        ("unseeded-rng", "numpy.random.RandomState without a seed takes one from the system", 7),
        ("identity", "the seed of torch.manual_seed looks like the clock", 10),
    ]
    seeds = [r.evidence for r in run.main.of("rng") if r.site == "seed/torch.manual_seed" and r.evidence]
    assert [(row["file"], row["line"]) for row in seeds] == [("{cwd}/train.py", line) for line in (8, 9, 10)]


def test_an_exception_of_a_signal_handler_goes_through_the_probe(tmp_path: Path) -> None:
    text = """
import os, signal, torch
def died(*_):
    raise RuntimeError("DataLoader worker is killed")
signal.signal(signal.SIGUSR1, died)
class Trap(dict):
    def items(self):  # the probe reads this mapping: the signal arrives in the middle of its work
        os.kill(os.getpid(), signal.SIGUSR1)
        return super().items()
    def keys(self):
        os.kill(os.getpid(), signal.SIGUSR1)
        return super().keys()
class Model(torch.nn.Module):
    def forward(self, x):
        return Trap(x=x)
try:
    Model()(torch.ones(1))
except RuntimeError as error:
    print(error)
from detctl_probe.recording.recorder import recorder
class Stage(str):
    asked = False
    def __hash__(self):  # the first time in the middle of what the recorder guards, then by the meter
        if not Stage.asked:
            Stage.asked = True
            os.kill(os.getpid(), signal.SIGUSR1)
        return super().__hash__()
from detctl_probe.digest.fingerprint import Fingerprint
try:
    recorder().record(Stage("forward"), "abc", Fingerprint(bytes(16), "float32"))
except RuntimeError as error:
    print(error)
"""
    run = collect(script(tmp_path, text), cwd=tmp_path)
    assert run.stdout.splitlines() == ["DataLoader worker is killed"] * 2, run.stderr
    assert run.main.notes_of("observer-failed") == []


def test_batches_of_training_and_evaluation_keep_apart(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
model = net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loaders = [torch.utils.data.DataLoader(list(batches(2)), batch_size=None) for _ in range(3)]
def evaluate(loader):
    model.eval()
    for x, y in loader:
        with torch.no_grad():
            model(x)
with torch.no_grad():  # Lightning's sanity check: before any model was called
    for x, y in loaders[2]:
        model.eval()(x)
for epoch in range(2):
    model.train()
    for x, y in loaders[0]:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    evaluate(loaders[1])
weights(model)
""",
    )
    by_loader: dict[object, list[str]] = {}
    for record in run.main.of("batch"):
        by_loader.setdefault(record.site.partition("@")[2], []).append(record.phase)
    assert by_loader == {"": ["train"] * 8, "eval-loader1": ["eval"] * 4, "eval-loader2": ["eval"] * 8}


def test_saved_values_are_reported_by_content(tmp_path: Path) -> None:
    text = """
import datetime, pathlib, sys, time, uuid, torch
model = torch.nn.Linear(2, 2); optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
torch.save({"set": {"a", "b", "c"}, "when": pathlib.Path("x").absolute(), "n": 3, "here": str(pathlib.Path.cwd()),
            "object": object(), "weight": torch.ones(2)}, "model.pt")
place = pathlib.Path("outputs", str(time.time())); place.mkdir(parents=True)
for saved in ("best", "epoch=3", datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S"), time.time_ns(), uuid.uuid4()):
    torch.save([torch.ones(1)], place / ("%s.pt" % saved))
"""
    found = []
    for name in ("a", "b"):
        place = tmp_path / name
        place.mkdir()
        run = collect(script(place, text), cwd=place, env={"PYTHONHASHSEED": str(len(found))})
        assert run.returncode == 0, run.stderr
        found.append([(r.site, r.dtype, r.digest) for r in run.main.of("artifact")])
    assert found[0] == found[1]
    assert [dtype for _, dtype, _ in found[0]] == ["py:list", "py:str", "py:int", "py:str", "py:str", *["float32"] * 6]
    names = [site.partition(":")[0] for site, _, _ in found[0]]
    assert names == ["model.pt"] * 6 + ["best.pt", "epoch=3.pt", "#_#.pt", "#.pt", "#.pt"]


def test_a_step_that_is_compiled_whole_ends_steps_and_is_reported(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
class Own(torch.optim.Optimizer):
    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.1})
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad, alpha=-group["lr"])
model, other = net(), net()
own, second = Own(model.parameters()), torch.optim.SGD(other.parameters(), lr=0.1)
hidden = torch.compile(lambda: own.step(), backend="aot_eager", fullgraph=True)
bound = torch.compile(second.step, backend="aot_eager")
def train_step(x, y):
    second.zero_grad()
    nn.functional.cross_entropy(other(x), y).backward()
    second.step()
whole = torch.compile(train_step, backend="aot_eager")
for x, y in batches(3):
    nn.functional.cross_entropy(model(x), y).backward()
    hidden()
    own.zero_grad()
for x, y in batches(2):
    second.zero_grad()
    nn.functional.cross_entropy(other(x), y).backward()
    bound()
for x, y in batches(2):
    whole(x, y)
weights(model, other)
""",
    )
    main = run.main
    assert main.steps == [(step, False) for step in range(7)]
    assert main.seal is not None
    assert "gradients inside a compiled step" in [row["what"] for row in main.seal["unobserved"]]
    for step in range(7):
        assert len([site for site in main.sites("update", step) if site.endswith(("weight", "bias"))]) == 4
    # zero_grad threw the first hidden step's gradients away before anybody knew of it.
    assert main.sites("backward", 0) == []
    assert [len(main.sites("backward", step)) for step in range(1, 7)] == [4] * 6
    assert [len(main.of("loss", step)) for step in range(7)] == [1] * 7
    # An update is what the step left, never what it began with.
    trained = [[r.digest for r in main.of("init") if r.site.startswith("root1")]]
    trained += [[r.digest for r in main.of("update", step) if r.site in PARAMETERS] for step in range(3)]
    assert len({tuple(digests) for digests in trained}) == 4
