"""`detctl compare CKPT CKPT` on files as they are saved for real, through the command line as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from detctl_checkpoints.compare import compare as compared
from detctl_checkpoints.content import CheckpointError
from detctl_checkpoints.open_checkpoint import open_checkpoint

ROOT = Path(__file__).parents[3]
MAKE = """
import os, sys, torch
from torch import nn
import torch.distributed as dist, torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 4))
def sharded(rank, size):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="0", USE_LIBUV="0")
    dist.init_process_group("gloo", init_method="file://" + os.path.abspath("rendezvous"), rank=rank, world_size=size)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor
    mesh = init_device_mesh("cpu", (size,))
    state = {name: distribute_tensor(t, mesh, [Shard(0)]) if t.dim() == 2 else t for name, t in model().state_dict().items()}
    dcp.save({"model": state}, checkpoint_id="two_ranks")
    dist.destroy_process_group()
class Named:
    pass
if __name__ == "__main__":
    m = model(); o = torch.optim.AdamW(m.parameters())
    m(torch.randn(4, 8)).sum().backward(); o.step()
    held = {"model": m.state_dict(), "optimizer": o.state_dict(), "step": 3}
    torch.save(held, "a.pt"); torch.save(held, "b.pt")
    with torch.no_grad():
        m[2].weight.view(torch.int32)[1, 2] ^= 1
    torch.save({**held, "model": m.state_dict(), "step": 4}, "c.pt")
    fresh = model().state_dict()
    torch.save({"model": fresh}, "fresh.pt"); save_file(fresh, "fresh.safetensors")
    dcp.save({"model": fresh}, checkpoint_id="one_rank", no_dist=True)
    torch.multiprocessing.spawn(sharded, args=(2,), nprocs=2)
    torch.save({"x": Named()}, "named.pt")
    class Evil:
        def __reduce__(self):
            return os.system, ("touch owned",)
    torch.save({"x": Evil()}, "evil.pt")
    open("cut.pt", "wb").write(open("a.pt", "rb").read()[:2000])
    open("cut.safetensors", "wb").write(open("fresh.safetensors", "rb").read()[:-8])
    open("lfs.pt", "w").write("version https://git-lfs.github.com/spec/v1\\noid sha256:0\\nsize 1\\n")
    open("text.pt", "w").write("not a checkpoint\\n" * 9); open("empty.pt", "w").close()
    os.mkdir("nothing")
    import shutil
    shutil.copytree("one_rank", "evil_index")
    with open("evil_index/.metadata", "wb") as stream:  # os.system, by way of a module that an index does name
        stream.write(b"\\x80\\x04ctorch.distributed.checkpoint.filesystem\\nos.system\\n(S'touch owned'\\ntR.")
    torch.save({"layer%d.weight" % n: torch.full((3,), n) for n in range(3000)}, "many.pt")
    torch.save({"layer%d.weight" % n: torch.full((3,), n + 1) for n in range(3000)}, "many_others.pt")
    nested = {"model": {"blocks": [fresh, fresh]}, "list": [1, {"x": 2.5}], "optimizer": o.state_dict()}
    torch.save(nested, "nested.pt"); dcp.save(nested, checkpoint_id="nested_dcp", no_dist=True)
    torch.save({"module._orig_mod." + name: t for name, t in fresh.items()}, "wrapped.pt")
    import transformers
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=64, n_positions=16, n_embd=32, n_layer=2, n_head=2)
    hub = transformers.GPT2LMHeadModel(config)
    hub.save_pretrained("hub", max_shard_size="40KB"); hub.save_pretrained("hub_whole")
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    (folder / "make.py").write_text(MAKE)
    done = subprocess.run([sys.executable, "make.py"], cwd=folder, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return folder


def compare(saved: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    sources = os.pathsep.join(str(ROOT / name) for name in ("proto", "agent", "coordinator", "cli"))
    environment = {**os.environ, "PYTHONPATH": sources, "DETCTL_COORDINATOR": ""}
    command = [sys.executable, "-m", "detctl_cli.main", "compare", "--quiet", "--python", sys.executable, *arguments]
    return subprocess.run(command, cwd=saved, env=environment, capture_output=True, text=True, timeout=120)


def document(saved: Path, a: str, b: str) -> dict[str, Any]:
    """What the command's child makes of two checkpoints, in this process: an import of torch for each pair takes seconds."""
    found = compared(*(open_checkpoint(str(saved / path)) for path in (a, b)))
    assert found["schema"] == "detctl.checkpoints/v1"
    return found


def test_equal_and_one_bit_apart(saved: Path) -> None:
    same = compare(saved, "a.pt", "b.pt")
    assert same.returncode == 0 and same.stdout.startswith("IDENTICAL") and same.stderr == ""
    other = compare(saved, "a.pt", "c.pt")
    assert other.returncode == 1
    assert "model.2.weight   1 of 64 elements from [1, 2] on" in other.stdout and "1 ulp\n" in other.stdout
    assert "model      9 tensors, 1 differ" in other.stdout, other.stdout
    assert "step: 3 against 4" in other.stdout
    (row,) = json.loads(compare(saved, "--json", "a.pt", "c.pt").stdout)["differing"]
    assert (row["name"], row["differing"], row["max_ulp"]) == ("model.2.weight", 1, 1)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("fresh.pt", "fresh.safetensors"),
        ("fresh.pt", "one_rank"),
        ("one_rank", "two_ranks"),
        ("hub", "hub_whole"),
        ("nested.pt", "nested_dcp"),
        ("fresh.pt", "wrapped.pt"),
    ],
)
def test_the_same_weights_in_other_formats_are_identical(saved: Path, a: str, b: str) -> None:
    found = document(saved, a, b)
    assert found["outcome"] == "identical", found
    assert found["compared"]["tensors"] >= 9


def test_thousands_of_differences_are_counted(saved: Path) -> None:
    shown = compare(saved, "many.pt", "many_others.pt").stdout  # the child writes more than a pipe holds
    assert "the 12 largest of them" in shown and "2,988 more (--json lists them)" in shown


@pytest.mark.parametrize(
    ("path", "allowed", "expected"),
    [
        ("evil.pt", [], "loading it would run code"),
        ("named.pt", [], "--allow-class __main__.Named"),
        ("evil.pt", ["os.system"], "never allows a class that can run code"),
        ("evil_index", [], "which belongs to no index: it is not loaded"),
        ("cut.pt", [], "cut.pt: damaged or cut"),
        ("cut.safetensors", [], "lies beyond its end"),
        ("lfs.pt", [], "git lfs pull"),
        ("text.pt", [], "neither a torch.save nor a safetensors file"),
        ("empty.pt", [], "an empty file"),
    ],
)
def test_what_is_not_a_checkpoint_is_reported_and_not_run(
    saved: Path, path: str, allowed: list[str], expected: str
) -> None:
    with pytest.raises(CheckpointError) as raised:
        open_checkpoint(str(saved / path), allowed)
    assert expected in str(raised.value) and "\n" not in str(raised.value)
    assert not (saved / "owned").exists() and not Path("owned").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("evil.pt", "a.pt"), "loading it would run code"),
        (("gone.pt", "a.pt"), "there is no such file or folder"),
        (("a.pt", "nothing"), "neither a checkpoint nor a recording"),
        (("a.pt", "./a.pt"), "named twice"),
        (("a.pt", "b.pt", "c.pt"), "two at a time"),
        (("--python", "no-such-python", "a.pt", "b.pt"), "there is no such program"),
    ],
)
def test_bad_input_is_one_line(saved: Path, arguments: tuple[str, ...], expected: str) -> None:
    done = compare(saved, *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert expected in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (saved / "owned").exists()


def test_a_rank_file_that_is_missing_makes_it_unverified(saved: Path, tmp_path: Path) -> None:
    import shutil

    torn = tmp_path / "torn"
    shutil.copytree(saved / "two_ranks", torn)
    sorted(torn.glob("*.distcp"))[-1].unlink()
    found = document(saved, "one_rank", str(torn))
    assert found["outcome"] == "unverified" and found["unread"]
