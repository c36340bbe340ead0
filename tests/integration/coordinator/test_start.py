"""Starting: tokens, addresses, stores; each trouble is one line and exit code 2, with no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import grpc
import pytest
from coordinator_processes import CoordinatorProcess, coordinator, environment
from detctl_proto.v1 import audits_pb2 as pb
from detctl_proto.v1 import audits_pb2_grpc
from fake_agent import OPTIONS
from grpc_health.v1 import health_pb2, health_pb2_grpc


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "detctl_coordinator.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**environment(), **variables})


async def test_tcp_needs_the_token_that_it_made_itself(folder):
    with coordinator(folder, listen="127.0.0.1:0") as process:
        assert (folder / "token").stat().st_mode & 0o777 == 0o600
        async with grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
            stub = audits_pb2_grpc.AuditsStub(channel)
            for given in ({}, {"metadata": [("authorization", "Bearer wrong")]}):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.ListMachines(pb.ListRequest(), **given)
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.WatchAudit(pb.AuditRef(audit_id="a"), **given).read()
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            await stub.ListMachines(pb.ListRequest(), metadata=[("authorization", f"Bearer {process.token}")])
            health = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service="detctl.v1.Audits")
            )
            assert health.status == health_pb2.HealthCheckResponse.SERVING
        assert process.token not in process.log.read_text()
        busy = run(
            "--listen", process.address, "--store", f"sqlite:{folder}/other", "--token-file", str(folder / "token")
        )
        assert busy.returncode == 2 and "Address already in use" in one_line(busy)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--listen", "0.0.0.0:7450"], "other interfaces than loopback need TLS"),
        (["--listen", "192.0.2.1:7450"], "other interfaces than loopback need TLS"),
        (["--listen", "nonsense"], "expected HOST:PORT"),
        (["--listen", "unix:/no/such/folder/c.sock"], "does not exist"),
        (["--store", "mongodb://x"], "unknown store address"),
        (["--store", "redis://127.0.0.1:1/0"], "127.0.0.1:1"),
        (["--max-age", "soon"], "--max-age"),
        (["--machine-timeout", "-1"], "--machine-timeout"),
        (["check", "--store", "redis://127.0.0.1:1/0"], "127.0.0.1:1"),
    ],
)
def test_trouble_is_one_line(folder, arguments, says):
    defaults = ["--token-file", str(folder / "token")]
    if "--store" not in arguments:
        defaults += ["--store", f"sqlite:{folder}/store"]
    if "--listen" not in arguments:
        defaults += ["--listen", f"unix:{folder}/c.sock"]
    done = run(*arguments, *defaults)
    assert done.returncode == 2 and says in one_line(done)


def test_token_that_others_can_read_is_refused(folder):
    (folder / "token").write_text("a" * 40)
    (folder / "token").chmod(0o644)
    done = run("--listen", "127.0.0.1:0", "--store", f"sqlite:{folder}/s", "--token-file", str(folder / "token"))
    assert done.returncode == 2 and "chmod 600" in one_line(done)


def test_check_says_ok(folder):
    done = run("check", DETCTL_COORDINATOR_STORE=f"sqlite:{folder}/store")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


def test_socket_of_a_dead_coordinator_is_taken_over(folder):
    process = CoordinatorProcess(folder)
    process.start()
    process.kill()
    assert (folder / "c.sock").is_socket()
    process.start()
    assert process.stop() == 0


def test_socket_of_a_living_coordinator_is_not(folder):
    with coordinator(folder) as process:
        done = run("--listen", process.listen, "--store", f"sqlite:{folder}/other")
    assert done.returncode == 2 and "another coordinator listens there" in one_line(done)


def test_ends_with_its_parent(folder):
    """A CLI that was killed leaves no coordinator behind: the pipe's end closes when the grandchild is gone."""
    reader, writer = os.pipe()
    script = "import subprocess, sys; subprocess.Popen(sys.argv[1:], pass_fds=[int(sys.argv[-1])]); sys.stdin.read()"
    arguments = ["--listen", f"unix:{folder}/c.sock", "--store", f"sqlite:{folder}/s", "--exit-with-parent"]
    command = [sys.executable, "-m", "detctl_coordinator.main", *arguments, "--ready-fd", str(writer)]
    parent = subprocess.Popen(
        [sys.executable, "-c", script, *command], stdin=subprocess.PIPE, pass_fds=[writer], env=environment()
    )
    os.close(writer)
    with os.fdopen(reader) as ready:
        assert ready.readline().startswith("unix:")
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(60)
        line.connect(f"{folder}/c.sock")
        parent.kill()
        parent.wait()
        while line.recv(4096):  # until the coordinator has closed its side
            pass


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_version_and_help(folder):
    assert run("--version").stdout.startswith("detctl-coordinator ")
    text = run("--help").stdout
    assert "Example: detctl-coordinator --listen" in text and "DETCTL_COORDINATOR_MAX_AGE" in text
    panels = ["Listening", "Store", "Agents", "Limits of each caller", "Operation"]
    assert [panel for panel in panels if f" {panel} " in text] == panels


def test_a_wrong_option_is_one_line(folder):
    for arguments in (["--stoer", "x"], ["chek"], ["--lease", "soon"]):
        done = run(*arguments)
        assert done.returncode == 2 and "see detctl-coordinator --help" in one_line(done)
