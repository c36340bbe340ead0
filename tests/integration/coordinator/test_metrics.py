"""`--metrics HOST:PORT`: what Prometheus reads, of an audit that ran and of calls that were refused."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import grpc
import pytest
from coordinator_processes import coordinator, environment
from detctl_coordinator.observability import metrics
from detctl_coordinator.server import metrics_server
from detctl_coordinator.server.metrics_server import CONNECTIONS_MAX
from detctl_proto.v1 import audits_pb2 as pb
from detctl_proto.v1 import audits_pb2_grpc
from fake_agent import OPTIONS, FakeAgent, finish, serving

from tests.e2e.deployment import free_port


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
            async with asyncio.timeout(10):  # the gauges follow at the engine's next poll
                while (found := read(address))["detctl_active_audits"]:
                    await asyncio.sleep(0.05)
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


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def closed_by_the_other_side(connection: socket.socket) -> bool:
    """Waits until it is; False where something is answered first."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_connections_that_say_nothing(folder: Path) -> None:
    """No thread for each, no more than a few at a time, and the scraper is answered again when they are gone."""
    address = f"127.0.0.1:{free_port()}"
    with coordinator(folder, "--metrics", address) as process, contextlib.ExitStack() as stack:
        assert read(address)["detctl_store_up"] in (0, 1)
        host, _, port = address.partition(":")
        before = threads_of(process.pid)
        silent = [stack.enter_context(socket.create_connection((host, int(port)), 30)) for _ in range(40)]
        # Beyond the limit they are closed at once; those that stay are closed when their time is over.
        assert all(closed_by_the_other_side(connection) for connection in silent[CONNECTIONS_MAX:])
        assert threads_of(process.pid) - before < 10
        assert all(closed_by_the_other_side(connection) for connection in silent[:CONNECTIONS_MAX])
        assert read(address)["detctl_store_up"] == 1


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200"),
        (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", b"200"),
        (b"HEAD / HTTP/1.1\r\n\r\n", b"200"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /other HTTP/1.1\r\n\r\n", b"404"),
        (b"\xff\xfe\r\n\r\n", b"405"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b""),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n", b""),
    ],
)
async def test_what_the_metrics_server_answers(request_: bytes, status: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "READ_S", 5.0 if status else 0.05)
    server = metrics_server.MetricsServer(metrics.REGISTRY)
    address = f"127.0.0.1:{free_port()}"
    await server.start(address)
    try:
        reader, writer = await asyncio.open_connection(*address.split(":"))
        writer.write(request_)
        try:
            answer = await reader.read()
        except ConnectionResetError:
            answer = b""
        writer.close()
        assert answer.partition(b" ")[2][:3] == status
        assert (b"detctl_store_up" in answer) == (status == b"200" and request_.startswith(b"GET"))
    finally:
        await server.close()
