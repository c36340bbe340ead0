"""`detctl-agent record -o DIR -- COMMAND`: a folder that anybody can read with the contract alone."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from detctl_proto.v1 import agents_pb2

Recorder = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def start(tmp_path: Path, tools: Any) -> Callable[..., subprocess.Popen[str]]:
    (tmp_path / "emit.py").write_text(tools.EMITTER)
    env = {key: value for key, value in os.environ.items() if not key.startswith("DETCTL")}
    env.update(PYTHONPATH=f"{tools.REPOSITORY}/proto:{tools.REPOSITORY}/agent", OMP_NUM_THREADS="1", MY_TOKEN="tok-1")
    env["XDG_STATE_HOME"] = str(tmp_path / "user-state")

    def run(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "detctl_agent.main", "record", *arguments]
        return subprocess.Popen(
            command, cwd=tmp_path, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    return run


@pytest.fixture
def record(start: Callable[..., subprocess.Popen[str]]) -> Recorder:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        process = start(*arguments)
        out, err = process.communicate(timeout=120)
        assert "Traceback" not in err
        return subprocess.CompletedProcess([], process.returncode, out, err)

    return run


def spooled(folder: Path) -> list[agents_pb2.IngestRequest]:
    """Reads the log as run_folder.py tells it, with nothing of the agent's code."""
    content = (folder / "spool" / "log").read_bytes()
    assert content[:8] == b"DETCTL\x00\x01"
    position, found = 8, []
    while position < len(content):
        length, crc = struct.unpack_from("<II", content, position)
        payload = content[position + 8 : position + 8 + length]
        assert zlib.crc32(content[position : position + 4] + payload) == crc
        found.append(agents_pb2.IngestRequest.FromString(payload))
        position += 8 + length
    return found


def test_a_window_is_recorded_and_the_training_ended(tmp_path: Path, record: Recorder) -> None:
    done = record("-o", "out", "--steps", "0:3", "--", sys.executable, "emit.py", "9", "4", "hang")
    assert done.returncode == 0, done.stderr
    assert "step 0" in done.stdout
    assert "ended the training after step 2" in done.stderr
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (run["schema"], run["state"], run["end"], run["ranks"]) == ("detctl.run/v1", "ended", "window", 1)
    assert run["label"].endswith("/default/base/twin-0")
    assert (run["step_from"], run["step_to"], run["last_step"]) == (0, 3, 2)
    messages = spooled(tmp_path / "out")
    assert len(messages) == run["spool_records"]
    assert (tmp_path / "out" / "spool" / "log").stat().st_size == run["spool_bytes"]
    assert messages[-1].seal.complete
    assert {message.segment.run_id or message.seal.run_id for message in messages} == {run["run_id"]}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["python"]["executable"] == sys.executable
    assert "MY_TOKEN" not in manifest["variables"]
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == [
        "manifest.json", "run.json", "spool", "stderr", "stdout",
    ]  # fmt: skip


def test_a_folder_that_holds_something_is_refused(tmp_path: Path, record: Recorder) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    done = record("-o", "out", "--", sys.executable, "emit.py", "1", "1")
    assert done.returncode == 2
    assert done.stderr == "detctl-agent: out exists and is not empty: choose another folder, or remove it\n"


def test_to_the_end_with_the_exit_code(tmp_path: Path, record: Recorder) -> None:
    done = record("-o", "out", "--to-end", "--", sys.executable, "emit.py", "5", "2", "crash")
    assert done.returncode == 3
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (run["end"], run["exit_code"], run["last_step"], run["step_to"]) == ("exit", 7, 4, None)
    assert spooled(tmp_path / "out")[-1].seal.reason == "exit"


@pytest.mark.parametrize("flag", [["-I"], []])
def test_without_a_training_nothing_is_captured_and_it_is_said(record: Recorder, flag: list[str]) -> None:
    done = record("-o", "out", "--", sys.executable, *flag, "-c", "print('hello')")
    assert done.returncode == 3
    assert "hello" in done.stdout
    assert "no training was seen" in done.stderr


def test_a_missing_program(record: Recorder) -> None:
    done = record("-o", "out", "--", "nonesuch", "train.py")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "nonesuch: no such program" in done.stderr


def test_a_copy_leaves_the_folder_as_it_was(tmp_path: Path, record: Recorder) -> None:
    (tmp_path / "emit.py").write_text((tmp_path / "emit.py").read_text() + "\nopen('made-here', 'w').close()\n")
    done = record("-o", "out", "--copy", "--to-end", "--", sys.executable, "emit.py", "2", "2", "exit")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "made-here").exists()
    done = record("-o", "out2", "--to-end", "--", sys.executable, "emit.py", "2", "2", "exit")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "made-here").exists()


def test_equal_trainings_have_equal_chains(tmp_path: Path, record: Recorder) -> None:
    chains = []
    for name in ("a", "b"):
        assert record("-o", name, "--steps", "0:3", "--", sys.executable, "emit.py", "3", "3").returncode == 0
        seal = spooled(tmp_path / name)[-1].seal
        chains.append({(stream.stage, stream.phase): stream.chain for stream in seal.streams})
    assert chains[0] == chains[1]
    assert len(chains[0]) >= 6


def test_an_interrupt_ends_the_training(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]], tools: Any
) -> None:
    process = start("-o", "out", "--to-end", "--", sys.executable, "emit.py", "3", "2", "hang")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 2"):
            break
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    pids = tools.pids_of_run(f"{run['run_id']}.1")
    assert pids
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not [pid for pid in pids if tools.alive(pid)]
    assert json.loads((tmp_path / "out" / "run.json").read_text())["end"] == "cancelled"


TRAINING = """
import os, torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel as DDP
if "RANK" in os.environ:
    dist.init_process_group("gloo")
torch.manual_seed(0)
model = torch.nn.Linear(4, 2)
if "RANK" in os.environ:
    model = DDP(model)
    torch.manual_seed(dist.get_rank())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(50):
    loss = model(torch.randn(8, 4)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@pytest.mark.slow
def test_torchrun_with_three_ranks(tmp_path: Path, record: Recorder) -> None:
    pytest.importorskip("torch")
    (tmp_path / "train.py").write_text(TRAINING)
    done = record(
        "-o", "out", "--steps", "0:4", "--", sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "3",
        "--master-port", "{port}", "train.py",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seals = [message.seal for message in spooled(tmp_path / "out") if message.WhichOneof("kind") == "seal"]
    assert [seal.rank for seal in sorted(seals, key=lambda seal: seal.rank)] == [0, 1, 2]
    assert all(seal.complete and seal.reason == "window" for seal in seals), [seal.detail_json[:500] for seal in seals]
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (run["ranks"], run["end"]) == (3, "window")
