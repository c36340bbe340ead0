"""Real trainings of a few steps: the same records whatever the workers, and the same weights with and without the probe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from collector import Process, collect, script, without_probe

pytest.importorskip("torch")

TRAIN = """
import random
import numpy
import torch
from torch.utils.data import DataLoader, Dataset

class Digits(Dataset):
    def __init__(self, noisy):
        self.noisy = noisy
    def __len__(self):
        return 20
    def __getitem__(self, index):
        x = torch.full((8,), index / 20)
        if self.noisy:
            x = x + torch.rand(8)
        return x, index % 2, "/nowhere/%d" % index

def seeded(worker):
    random.seed(worker)
    numpy.random.seed(worker)

def main():
    workers, method, noisy, seed = CASE
    torch.manual_seed(seed)
    keywords = dict(multiprocessing_context=method, worker_init_fn=seeded) if workers else {}
    loader = DataLoader(Digits(noisy), 4, shuffle=True, num_workers=workers, **keywords)
    model = torch.nn.Linear(8, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(2):
        for x, y, _ in loader:
            loss = torch.nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print([p.detach().double().sum().item().hex() for p in model.parameters()])

if __name__ == "__main__":
    main()
"""


def train(
    folder: Path,
    workers: int,
    method: str = "fork",
    kind: str = "plain",
    seed: int = 0,
    *,
    uninstrumented: bool = False,
    **more: Any,
) -> Process:
    """One watched training; bare: its weights are those of one without the probe."""
    command = script(folder, TRAIN.replace("CASE", repr((workers, method, kind == "noisy", seed))))
    run = collect(command, cwd=folder, start_warm=True, **more)
    assert run.returncode == 0, run.stderr
    if uninstrumented:
        assert run.stdout == without_probe(command, cwd=folder, start_warm=True).stdout
    assert not run.main.notes_of("observer-failed")
    return run.main


def compared(process: Process, *stages: str) -> list[tuple[Any, ...]]:
    return [record for record in process.compared() if record[0] in stages]


def first_difference(left: list[tuple[Any, ...]], right: list[tuple[Any, ...]]) -> int:
    """The step of the first records that differ."""
    assert len(left) == len(right)
    return next(a[2] for a, b in zip(left, right, strict=True) if a != b)


@pytest.mark.slow
def test_workers_and_start_methods_make_no_difference_where_nothing_is_random(tmp_path: Path) -> None:
    alone = compared(
        train(tmp_path, 0, uninstrumented=True), "order", "sample", "batch", "forward", "loss", "backward", "update"
    )
    assert alone
    for workers, method in ((3, "fork"), (2, "spawn")):
        process = train(tmp_path, workers, method, uninstrumented=method == "fork")
        assert compared(process, "order", "sample", "batch", "forward", "loss", "backward", "update") == alone
        assert {r.evidence["workers"] for r in process.of("order")} == {workers}
        started = {r.site for r in process.of("rng") if r.site.startswith("worker")}
        assert {f"worker{n}/torch{when}" for n in range(workers) for when in ("", "/start")} <= started


@pytest.mark.slow
def test_random_samples_differ_from_the_first_batch_between_none_and_some_workers(tmp_path: Path) -> None:
    alone, one = train(tmp_path, 0, kind="noisy"), train(tmp_path, 1, kind="noisy")
    epoch = range(5)  # later ones draw another order: the main generator has moved
    assert [r for r in compared(alone, "order") if r[2] in epoch] == [
        r for r in compared(one, "order") if r[2] in epoch
    ]
    assert first_difference(compared(alone, "batch"), compared(one, "batch")) == 0
    draws = next(r.evidence for r in alone.of("sample", 0) if r.site == "__getitem__/0")
    assert draws["draws"] == ["torch"]


@pytest.mark.slow
def test_random_samples_differ_at_batch_min_between_two_numbers_of_workers(tmp_path: Path) -> None:
    two, three = train(tmp_path, 2, kind="noisy"), train(tmp_path, 3, kind="noisy")
    assert compared(two, "order") == compared(three, "order")
    assert first_difference(compared(two, "batch"), compared(three, "batch")) == 2


@pytest.mark.slow
def test_another_seed_permutes_the_order(tmp_path: Path) -> None:
    one, other = train(tmp_path, 0).of("order"), train(tmp_path, 0, seed=1).of("order")
    left = [row for record in one[:5] for row in record.rows or ()]
    right = [row for record in other[:5] for row in record.rows or ()]
    assert left != right
    assert sorted(left) == sorted(right)


@pytest.mark.slow
@pytest.mark.parametrize(("requested", "forced"), [(2, "0"), (0, "2"), (2, "2")])
def test_the_intervention_forces_workers_and_reads_back(tmp_path: Path, requested: int, forced: str) -> None:
    process = train(tmp_path, requested, "spawn" if forced == "0" else "fork", interventions={"workers": forced})
    assert {record.evidence["workers"] for record in process.of("order")} == {int(forced)}
    assert process.seal is not None
    reported = {row["name"]: row for row in process.seal["interventions"]}["workers"]
    changed = f"1 loader: {requested} → {forced}"
    assert reported["acted"] is True
    assert reported["detail"] == (changed if requested != int(forced) else changed + "; nothing to change")


@pytest.mark.slow
def test_no_loader_means_that_the_intervention_did_nothing(tmp_path: Path) -> None:
    run = collect(script(tmp_path, "import torch"), cwd=tmp_path, interventions={"workers": "0"})
    assert run.main.seal is not None
    reported = {row["name"]: row for row in run.main.seal["interventions"]}["workers"]
    assert (reported["acted"], reported["detail"]) == (False, "no DataLoader was built: nothing to change")


def test_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    run = collect(script(tmp_path, "import torch; print('goes on')"), cwd=tmp_path, interventions={"workers": "many"})
    assert run.stdout == "goes on\n"
    assert "workers=many is not a number" in run.stderr
