"""The coordinator with the real agent, probe and a training: one audit from end to end, with a kill in the middle."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import grpc
import pytest
from coordinator_processes import CoordinatorProcess, environment
from detctl_proto.v1 import audits_pb2 as pb
from detctl_proto.v1 import audits_pb2_grpc
from fake_agent import OPTIONS, finish

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

TRAINING = """
import sys, torch
torch.manual_seed(int(sys.argv[1]))
data = torch.utils.data.TensorDataset(torch.arange(64.).reshape(8, 8) / 64, torch.arange(8.).reshape(8, 1))
model = torch.nn.Linear(8, 1)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for _ in range(4):
    for x, y in torch.utils.data.DataLoader(data, batch_size=4, shuffle=True):
        optimizer.zero_grad()
        (model(x) - y).pow(2).mean().backward()
        optimizer.step()
"""
CATALOG = """
[recipes.tiny]
command = ["python", "train.py", "{start}"]
folder = "%s"
timeout_s = 200
[recipes.tiny.parameters]
start = 7
[environments.default]
python = "%s"
"""


def start_agent(folder, address):
    """Its log goes to agent.log."""
    command = [*(sys.executable, "-m", "detctl_agent.main"), *("--name", "gpu1"), *("--coordinator", address)]
    command += ["--no-known-answers", "--catalog", str(folder / "catalog.toml"), "--state", str(folder / "state")]
    with (folder / "agent.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment())


async def test_agent_and_coordinator_killed_in_mid_audit(folder):
    (folder / "recipe").mkdir()
    (folder / "recipe" / "train.py").write_text(TRAINING)
    (folder / "catalog.toml").write_text(CATALOG % (folder / "recipe", sys.executable))
    (folder / "catalog.toml").chmod(0o600)
    process = CoordinatorProcess(folder, "--heartbeat", "0.5")
    agent = start_agent(folder, process.start())
    try:
        plan = await started(process)
        await until_running(process, plan.audit_id)
        agent.send_signal(signal.SIGKILL)
        agent.wait()
        process.kill()
        process.start()
        agent = start_agent(folder, process.address)
        async with grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
            last = await finish(audits_pb2_grpc.AuditsStub(channel), plan.audit_id)
    finally:
        agent.terminate()
        agent.wait()
        process.stop()
    assert [(run.state, run.attempt) for run in last.runs] == [("sealed", 2), ("sealed", 1)], process.log.read_text()
    verdict = json.loads(last.verdict_json)
    assert verdict["outcome"] == "identical", verdict["unverified_because"]


async def started(process):
    """Asks until the agent is known."""
    async with grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
        stub = audits_pb2_grpc.AuditsStub(channel)
        while not (await stub.ListMachines(pb.ListRequest())).machines:
            pass
        return await stub.StartAudit(pb.AuditRequest(recipe="tiny", machines=["gpu1"], twins=2, step_to=8))


async def until_running(process, audit_id):
    """Watches until the first run has sent records."""
    async with grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
        async for progress in audits_pb2_grpc.AuditsStub(channel).WatchAudit(pb.AuditRef(audit_id=audit_id)):
            if progress.runs[0].state == "running":
                return
