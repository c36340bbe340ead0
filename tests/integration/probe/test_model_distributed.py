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


COLLECTIVES = """
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
model = net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
torch.manual_seed(100 + rank)
for x, y in batches(2):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x + rank), y).backward()
    works = [dist.all_reduce(p.grad, async_op=True) for p in model.parameters()]
    for work in works:
        work.wait()
    shown = torch.full((2,), float(rank))
    dist.broadcast(shown, src=1)
    held = [torch.zeros(2) for _ in range(size)]
    dist.all_gather(held, shown + rank)
    dist.all_gather_object([None] * size, {"pid": os.getpid()})
    optimizer.step()
weights(model)
sharded = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 4))
mesh = init_device_mesh("cpu", (size,))
for layer in sharded:
    fully_shard(layer, mesh=mesh)
optimizer = torch.optim.SGD(fully_shard(sharded, mesh=mesh).parameters(), lr=0.1)
for x, y in batches(1):
    nn.functional.cross_entropy(sharded(x + rank), y).backward()
    optimizer.step()
dist.destroy_process_group()
"""


def test_collectives_show_what_goes_in_and_comes_out(tmp_path: Path) -> None:
    pytest.importorskip("torch.distributed.fsdp", reason="fully_shard came with torch 2.6")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py"]
    run = train(tmp_path, COLLECTIVES, command=command)
    first, second = training(run)
    for step in range(2):
        for process in (first, second):
            seen = [record for record in process.of("collective", step) if record.site.startswith("world/all_reduce")]
            assert [r.site.rpartition("/")[2] for r in seen] == ["in"] * 4 + ["out"] * 4, "outputs come with wait()"
            assert [r.occurrence for r in seen] == [0, 1, 2, 3] * 2
            assert all(r.evidence["file"] == "{cwd}/train.py" and r.evidence["line"] for r in seen)
        ours, theirs = (
            {(r.site, r.occurrence): r.digest for r in process.of("collective", step)} for process in (first, second)
        )
        assert all(ours["world/all_reduce/in", n] != theirs["world/all_reduce/in", n] for n in range(4))
        assert all(ours["world/all_reduce/out", n] == theirs["world/all_reduce/out", n] for n in range(4))
        reduced = [r.digest for r in first.of("backward", step)]
        assert reduced == [ours["world/all_reduce/out", n] for n in range(4)], "what was reduced is what is used"
        assert ("world/broadcast/in", 0) not in ours and ("world/broadcast/in", 0) in theirs, "rank 1 is the source"
        assert ours["world/all_gather/out[1]", 0] == theirs["world/all_gather/in", 0]
    assert "world/reduce_scatter_tensor/in" in first.sites("collective", 2), "FSDP's gradients before they are reduced"
    everything = [site for process in (first, second) for site in process.sites("collective")]
    assert not any("object" in site or "uint8" in site for site in everything)
