"""`--metrics HOST:PORT`: what Prometheus reads, of an audit that ran and of calls that were refused."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from pathlib import Path

import grpc
import pytest
from coordinator_processes import coordinator, environment
from detctl_proto.v1 import audits_pb2 as pb
from detctl_proto.v1 import audits_pb2_grpc
from fake_agent import OPTIONS, FakeAgent, finish, serving

from tests.e2e.house import free_port


def read(address: str) -> dict[str, float]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{address}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


async def test_figures_of_an_audit(folder: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with coordinator(folder, "--heartbeat", "0.2", "--metrics", address) as process:
        agents = [FakeAgent(name, process.address) for name in ("gpu1", "gpu2")]
        for agent in agents:
            agent.hold.set()
        async with serving(*agents), grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
            stub = audits_pb2_grpc.AuditsStub(channel)
            plan = await stub.StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1", "gpu2"], twins=1))
            assert (await finish(stub, plan.audit_id)).verdict_json
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.Show(pb.ShowRequest(id="nobody"))
            found = read(address)
        assert found["detctl_store_up"] == 1 and found["detctl_active_audits"] == 0
        assert found['detctl_machine_up{machine="gpu1"}'] == found['detctl_machine_up{machine="gpu2"}'] == 1
        assert found["detctl_segments_total"] >= 2 and found["detctl_fingerprints_total"] > 0
        assert found['detctl_refused_calls_total{code="NOT_FOUND",method="Show"}'] == 1
        taken = subprocess.run(
            [sys.executable, "-m", "detctl_coordinator.main", "--listen", f"unix:{folder}/d.sock", "--store",
             f"sqlite:{folder}/d.sqlite", "--metrics", address],
            capture_output=True, text=True, timeout=60, env=environment(),
        )  # fmt: skip
        assert taken.returncode == 2 and "Address already in use" in taken.stderr and taken.stderr.count("\n") == 1
        assert process.stop() == 0
    wrong = subprocess.run(
        [sys.executable, "-m", "detctl_coordinator.main", "--listen", f"unix:{folder}/d.sock", "--store",
         f"sqlite:{folder}/d.sqlite", "--metrics", "nonsense"],
        capture_output=True, text=True, timeout=60, env=environment(),
    )  # fmt: skip
    assert wrong.returncode == 2 and "--metrics nonsense: expected HOST:PORT" in wrong.stderr


def test_a_health_socket_that_cannot_be_made_is_one_line(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "detctl_coordinator.main", "--listen", f"unix:{folder}/d.sock", "--store",
         f"sqlite:{folder}/d.sqlite", "--health-socket", f"{folder}/no/such/h.sock"],
        capture_output=True, text=True, timeout=60, env=environment(),
    )  # fmt: skip
    assert done.returncode == 2 and "--health-socket" in done.stderr and done.stderr.count("\n") == 1, done.stderr
