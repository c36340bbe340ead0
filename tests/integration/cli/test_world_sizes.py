"""One training on 1, 2 and 4 ranks under gloo, sharded by FSDP2: recordings whose weights are the same, added up over the ranks."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow

# Integers in floats, and powers of two to divide by: every sum is exact, whatever the order.
SCRIPT = """
import os, sys, torch, torch.distributed as dist, torch.multiprocessing as processes
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

def train(rank, size):
    dist.init_process_group("gloo", init_method="file://" + os.path.abspath("meeting%d" % os.getppid()), rank=rank, world_size=size)
    mesh = init_device_mesh("cpu", (size,))
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Linear(6, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((parameter * 8).round())
    for layer in model:
        fully_shard(layer, mesh=mesh)
    optimizer = torch.optim.SGD(fully_shard(model, mesh=mesh).parameters(), lr=1.0, momentum=0.5)
    for step in range(2):
        batch = torch.arange(16.0).view(4, 4) + step
        mine = batch[rank * 4 // size : (rank + 1) * 4 // size]
        loss = model(mine).sum() * size
        if step == 1 and "--fault" in sys.argv and rank == 1:
            loss = loss * 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    dist.destroy_process_group()

if __name__ == "__main__":
    size = int(sys.argv[1])
    # All ranks come of one import of torch.
    processes.start_processes(train, (size,), size, start_method="fork")
"""


def test_shards_add_up_to_the_weights_of_one_rank(deployment):
    pytest.importorskip("torch.distributed.fsdp", reason="fully_shard came with torch 2.6")
    (deployment.folder / "train.py").write_text(SCRIPT)
    for name, ranks, more in (("one", 1, ()), ("two", 2, ()), ("four", 4, ()), ("faulty", 2, ("--fault",))):
        ran = deployment.run("record", "-o", name, "--to-end", "--", "python", "train.py", str(ranks), *more)
        assert ran.returncode == 0, ran.stderr

    for other in ("two", "four"):
        same = deployment.run("compare", "one", other, "--json")
        verdict = json.loads(same.stdout)
        assert same.returncode == 3, "equal weights, but not all stages were compared"
        assert verdict["outcome"] == "unverified" and verdict["first_divergence"] is None, verdict["unverified_because"]
        assert verdict["coverage"]["comparable_up_to"] == "update"
        assert any("init, update were compared" in line for line in verdict["unverified_because"]), verdict

    faulty = json.loads(deployment.run("compare", "one", "faulty", "--json").stdout)
    assert faulty["outcome"] == "different"
    assert (faulty["first_divergence"]["stage"], faulty["first_divergence"]["step"]) == ("update", 1)

    named = json.loads(deployment.run("compare", "two", "faulty", "--json").stdout)
    (cause,) = named["causes"]
    assert (cause["stage"], cause["step"]) == ("loss", 1) and "collective" in cause["carried_on_to"]
    assert any("first on rank 1 of 2" in line for line in cause["evidence"]), cause
