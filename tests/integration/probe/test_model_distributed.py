"""torchrun and mp.spawn with gloo: each rank has a sequence of its own, gradients are seen reduced, names lose DDP's wrapper."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from model_twins import LAYERS, PARAMETERS, compared, train, training

BODY = """
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel as DDP

def work():
    rank, size = dist.get_rank(), dist.get_world_size()
    model = DDP(net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    torch.manual_seed(100 + rank)
    for index, (x, y) in enumerate(batches(3 * size)):
        if index % size == rank:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    weights(model.module)
    dist.destroy_process_group()
"""

SPAWN = """
def start(rank, size):
    os.environ.update(MASTER_ADDR="127.0.0.1")
    dist.init_process_group("gloo", init_method="file://" + os.path.abspath("meeting"), rank=rank, world_size=size)
    work()

if __name__ == "__main__":
    torch.multiprocessing.spawn(start, args=(2,), nprocs=2)
"""


def test_torchrun_with_three_ranks(tmp_path: Path) -> None:
    body = BODY + "\nif __name__ == '__main__':\n    dist.init_process_group('gloo')\n    work()\n"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3", "train.py"]
    run = train(tmp_path, body, command=command)
    _check(run, 3)


@pytest.mark.soak
def test_spawned_ranks(tmp_path: Path) -> None:
    run = train(tmp_path, BODY + SPAWN)
    _check(run, 2)


def _check(run: object, ranks: int) -> None:
    processes = training(run)  # type: ignore[arg-type]
    assert [process.seal["rank"] for process in processes if process.seal] == list(range(ranks))
    for process in processes:
        assert len(process.steps) == 3
        assert process.sites("init", 0) == PARAMETERS
        for step in range(3):
            assert process.sites("forward", step) == LAYERS
            assert process.sites("backward", step) == PARAMETERS
        assert process.seal is not None
        assert any(row["stage"] == "collective" for row in process.seal["unobserved"])
    reduced = [[row for row in compared(process) if row[0] in ("backward", "update")] for process in processes]
    assert all(rows == reduced[0] for rows in reduced), "what DDP reduced is the same on every rank"
    losses = {tuple(record.digest for record in process.of("loss")) for process in processes}
    assert len(losses) == ranks, "each rank has its own batches"
