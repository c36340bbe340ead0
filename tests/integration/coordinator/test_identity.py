"""Tests identity over real TLS with certificates and tokens of the command line, each row with its status (docs/security.md 3 to 5, 8)."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
from coordinator_processes import coordinator, environment
from detctl_proto.security.credentials import read_folder
from detctl_proto.v1 import admin_pb2, admin_pb2_grpc, audits_pb2_grpc
from detctl_proto.v1 import agents_pb2 as agents
from detctl_proto.v1 import agents_pb2_grpc as agents_rpc
from detctl_proto.v1 import audits_pb2 as pb
from fake_agent import OPTIONS, other
from made_up_runs import make
from tls_site import Site, status

UNAUTHENTICATED, DENIED = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
REQUEST = pb.AuditRequest(recipe="digits", machines=["gpu1", "gpu2"], twins=1)


async def listed(site: Site, certificate: str, metadata: Any) -> grpc.StatusCode:
    async with site.channel(certificate) as channel:
        return await status(audits_pb2_grpc.AuditsStub(channel).ListMachines(pb.ListRequest(), metadata=metadata))


async def test_who_shows_nothing_or_another_s_is_not_let_in(site: Site) -> None:
    site.add("gpu1")
    site.add("bob", "viewer")
    assert await listed(site, "bob", site.token("bob")) is grpc.StatusCode.OK
    for metadata in ([], [("authorization", "Bearer wrong")], [("authorization", site.token("bob")[0][1][7:])]):
        assert await listed(site, "bob", metadata) is UNAUTHENTICATED
    altered = site.token("bob")[0][1][:-1] + "x"
    assert await listed(site, "bob", [("authorization", altered)]) is UNAUTHENTICATED
    assert await listed(site, "gpu1", site.token("bob")) is DENIED, "a token with another's certificate"
    root = (site.pki / "ca" / "ca.crt").read_bytes()
    stranger = site.folder / "stranger"
    assert site.detctl("ca", "init", "--server", "x", "--pki", str(stranger), who="").returncode == 0
    foreign = read_folder(stranger / "admin")
    for credentials in (
        grpc.ssl_channel_credentials(root),
        grpc.ssl_channel_credentials(root, foreign.key, foreign.certificate),
    ):
        async with grpc.aio.secure_channel(site.target, credentials, options=OPTIONS) as channel:
            stub = audits_pb2_grpc.AuditsStub(channel)
            refused = await status(stub.ListMachines(pb.ListRequest(), metadata=site.token("bob"), timeout=20))
            assert refused is grpc.StatusCode.UNAVAILABLE, "no certificate of ours: the handshake fails"
    plain = site.detctl("--coordinator", f"127.0.0.1:{site.target.rpartition(':')[2]}", "machines", who="")
    assert plain.returncode == 2 and "--tls" in plain.stderr and plain.stderr.count("\n") == 1


async def test_roles_have_their_limits(site: Site) -> None:
    for name, role in (("bob", "viewer"), ("sue", "submitter"), ("gpu1", "machine")):
        site.add(name, role)
    async with site.channel("bob") as channel:
        stub = audits_pb2_grpc.AuditsStub(channel)
        assert await status(stub.StartAudit(REQUEST, metadata=site.token("bob"))) is DENIED
    async with site.channel("sue") as channel:
        audits, admin = audits_pb2_grpc.AuditsStub(channel), admin_pb2_grpc.AdminStub(channel)
        token = site.token("sue")
        # NOT_FOUND: past the door, the machines are unknown
        assert await status(audits.StartAudit(REQUEST, metadata=token)) is grpc.StatusCode.NOT_FOUND
        assert await status(audits.DeleteRuns(pb.DeleteRequest(older_than_s=1), metadata=token)) is DENIED
        assert (
            await status(admin.CreateToken(admin_pb2.TokenRequest(role="admin", name="sue"), metadata=token)) is DENIED
        )
        assert await status(admin.ReadLog(admin_pb2.LogRequest(), metadata=token)) is DENIED
    async with site.channel("gpu1") as channel:
        stub = audits_pb2_grpc.AuditsStub(channel)
        assert await status(stub.ListMachines(pb.ListRequest(), metadata=site.token("gpu1"))) is DENIED


async def test_a_machine_speaks_of_its_own_runs_alone(site: Site) -> None:
    for name in ("gpu1", "gpu2"):
        site.add(name)
    site.add("sue", "submitter")
    for certificate in ("gpu1", "gpu2"):  # gpu1's token, for machine gpu2
        async with site.channel(certificate) as channel:
            metadata = [*site.token("gpu1"), ("detctl-machine", "gpu2")]
            call = agents_rpc.AgentsStub(channel).Control(metadata=metadata)
            assert await status(call.read()) is DENIED
    ours, theirs = site.agent("gpu1"), site.agent("gpu2")
    ours.hold.clear()
    tasks = [asyncio.create_task(agent.serve()) for agent in (ours, theirs)]
    try:
        await asyncio.wait_for(asyncio.gather(ours.welcomed.wait(), theirs.welcomed.wait()), 20)
        async with site.channel("sue") as channel:
            await audits_pb2_grpc.AuditsStub(channel).StartAudit(REQUEST, metadata=site.token("sue"))
        assignment = await asyncio.wait_for(ours.assigned.get(), 20)
        sample = make(assignment.run_id, assignment.attempt)
        requests = [agents.IngestRequest(segment=segment) for segment in sample.segments]
        for who, names in (("gpu2", [("detctl-machine", "gpu2")]), ("sue", [])):
            async with site.channel(who) as channel:
                call = agents_rpc.AgentsStub(channel).Ingest(iter(requests), metadata=[*site.token(who), *names])
                replies = [reply async for reply in call]
            assert all("belongs to another machine" in reply.refused for reply in replies) and len(replies) == len(
                requests
            )
        async with site.channel("sue") as channel:  # a submitter that claims to be the machine
            claim = [*site.token("sue"), ("detctl-machine", "gpu1")]
            call = agents_rpc.AgentsStub(channel).Ingest(metadata=claim)  # refused before it says anything
            assert await status(call.read()) is DENIED
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_revoked_token_ends_the_stream_that_it_opened_and_an_expired_one_opens_none(site: Site) -> None:
    site.add("gpu1")
    agent = site.agent("gpu1")
    stream = asyncio.create_task(agent.serve_once())
    await asyncio.wait_for(agent.welcomed.wait(), 20)
    (row,) = json.loads(site.detctl("token", "list", "--name", "gpu1", "--json").stdout)["tokens"]
    assert site.detctl("token", "revoke", row["id"]).returncode == 0
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(stream, 10)
    assert caught.value.code() is UNAUTHENTICATED and "revoked" in (caught.value.details() or "")
    rotated = site.detctl("token", "rotate", row["id"])
    assert rotated.returncode == 2 and "was revoked" in rotated.stderr
    made = json.loads(site.detctl("token", "create", "--role", "machine", "--name", "gpu1", "--json").stdout)
    assert (await _used(site, made["token"])) is DENIED, "a machine may not list, but it is known"
    again = json.loads(site.detctl("token", "rotate", made["id"], "--grace", "1s", "--json").stdout)
    assert (await _used(site, made["token"]), await _used(site, again["token"])) == (DENIED, DENIED)
    await asyncio.sleep(2.2)  # the grace, and the second in which what was read of the store is believed
    assert (await _used(site, made["token"]), await _used(site, again["token"])) == (UNAUTHENTICATED, DENIED)


async def _used(site: Site, text: str) -> grpc.StatusCode:
    return await listed(site, "gpu1", [("authorization", f"Bearer {text}")])


async def test_the_log_tells_who_asked_and_how_it_ended_and_nothing_holds_a_token(site: Site) -> None:
    for name in ("gpu1", "gpu2"):
        site.add(name)
    site.add("sue", "submitter")
    fakes = site.agent("gpu1"), site.agent("gpu2", script=other)
    for agent in fakes:
        agent.hold.set()
    tasks = [asyncio.create_task(agent.serve()) for agent in fakes]
    try:
        await asyncio.wait_for(asyncio.gather(*(agent.welcomed.wait() for agent in fakes)), 20)
        claimed = pb.AuditRequest(recipe="digits", machines=["gpu1", "gpu2"], twins=1, requested_by="root")
        async with site.channel("sue") as channel:
            stub = audits_pb2_grpc.AuditsStub(channel)
            audit_id = (await stub.StartAudit(claimed, metadata=site.token("sue"))).audit_id
            watch = stub.WatchAudit(pb.AuditRef(audit_id=audit_id), metadata=site.token("sue"))
            assert [one async for one in watch][-1].verdict_json
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    entries = json.loads(site.detctl("log", "--audit", audit_id, "--json").stdout)["entries"]
    told = [(one["event"], one["who"], one["machine"]) for one in reversed(entries)]
    assert told[0] == ("audit-started", "sue", "") and told[-1][:2] == ("audit-done", "sue"), told
    for machine in ("gpu1", "gpu2"):
        assert told.count(("run-assigned", "sue", machine)) == told.count(("run-ended", machine, machine)) == 1
    assert entries[-1]["detail"]["source"] == {"gpu1": "ab" * 16, "gpu2": "ab" * 16}
    assert entries[0]["detail"]["verdict_sha256"]
    shown = site.detctl("log", "--machine", "gpu1").stdout
    assert "run-ended" in shown and "gpu2" not in shown
    denied = site.detctl("log", who="sue")
    assert denied.returncode == 2 and "may not call ReadLog" in denied.stderr
    secrets = [site.token(name)[0][1][7:] for name in ("gpu1", "gpu2", "sue", "admin")]
    written = b"".join(path.read_bytes() for path in [site.process.log, *site.folder.glob("store.sqlite*")])
    cmdline = Path(f"/proc/{site.process.pid}/cmdline").read_bytes()
    assert [text for text in secrets if text.encode() in written + cmdline] == []
    with sqlite3.connect(site.folder / "store.sqlite") as store:
        for sql in ("DELETE FROM log", "UPDATE log SET document = ''"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                store.execute(sql)


async def test_a_message_of_five_mebibytes_is_refused(site: Site) -> None:
    site.add("sue", "submitter")
    async with site.channel("sue") as channel:
        big = pb.ImportRequest(label="a/default/base/twin-0", run_json=" " * 5 * 2**20)
        call = audits_pb2_grpc.AuditsStub(channel).ImportRun(big, metadata=site.token("sue"))
        assert await status(call) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await listed(site, "sue", site.token("sue")) is grpc.StatusCode.OK


async def test_a_renewed_certificate_serves_without_a_restart(site: Site) -> None:
    before = (site.pki / "server" / "tls.crt").read_bytes()
    assert await _served(site) == before
    done = site.detctl("ca", "server", "localhost", "--pki", str(site.pki))
    assert done.returncode == 0, done.stderr
    after = (site.pki / "server" / "tls.crt").read_bytes()
    assert before != after == await _served(site)
    (site.pki / "server" / "tls.key").write_text("half of")  # being replaced by hand
    assert await _served(site) == after


async def _served(site: Site) -> bytes:
    """The certificate that a handshake shows; tls.crt has the same PEM."""
    command = ["openssl", "s_client", "-connect", site.target, "-servername", "localhost", "-alpn", "h2"]
    mine = ["-cert", str(site.pki / "admin" / "tls.crt"), "-key", str(site.pki / "admin" / "tls.key")]
    done = await asyncio.to_thread(subprocess.run, command + mine, input=b"", capture_output=True, timeout=20)
    start, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----\n"
    return start + done.stdout.partition(start)[2].partition(end)[0] + end


async def test_two_replicas_know_each_other_s_tokens_and_tell_all_once(folder: Path, redis_url: str) -> None:
    site = Site(folder)
    tls = ("--tls", str(site.pki / "server"), "--token-file", str(site.pki / "server" / "token"))
    second_folder = folder / "b"
    second_folder.mkdir()
    with (
        coordinator(folder, *tls, listen="127.0.0.1:0", store=redis_url) as first,
        coordinator(second_folder, *tls, listen="127.0.0.1:0", store=redis_url) as second,
    ):
        site.process = first
        site.add("bob", "viewer")
        site.process = second
        assert await listed(site, "bob", site.token("bob")) is grpc.StatusCode.OK
        (row,) = json.loads(site.detctl("token", "list", "--json").stdout)["tokens"]
        assert site.detctl("token", "revoke", row["id"]).returncode == 0
        site.process = first
        await asyncio.sleep(1.2)
        assert await listed(site, "bob", site.token("bob")) is UNAUTHENTICATED
        first.kill()
        site.process = second
        events = [one["event"] for one in json.loads(site.detctl("log", "--json").stdout)["entries"]]
        assert events == ["token-revoked", "token-created"]


def test_bad_input_is_one_line_and_nothing_is_overwritten(site: Site) -> None:
    pki = ("--pki", str(site.pki))
    key = (site.pki / "ca" / "ca.key").read_bytes()
    site.add("gpu1")
    for words, says in (
        (("ca", "init", "--server", "x", *pki), "already contains an authority"),
        (("ca", "server", "http://x", *pki), "is not a host name"),
        (("machine", "add", "gpu1", *pki), "exists and is not empty"),
        (("machine", "add", "GPU 1", *pki), "name 'GPU 1'"),
        (("machine", "add", "gpu3", "--pki", str(site.folder / "none")), "create an authority with detctl ca init"),
        (("token", "create", "--role", "king", "--name", "x"), "'king'"),
        (("token", "create", "--role", "viewer", "--name", "x", "--valid", "soon"), "is not a duration"),
        (("token", "create", "--role", "viewer", "--name", "x", "--valid", "9999d"), "the limit is 3650 days"),
        (("token", "revoke", "nobody"), "no token has the id 'nobody'"),
        (("--tls", str(site.folder), "machines"), "tls.crt: No such file"),
    ):
        done = site.detctl(*words)
        assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1, (words, done.stderr)
    assert (site.pki / "ca" / "ca.key").read_bytes() == key and not (site.pki / "gpu3").exists()
    names = [row["name"] for row in json.loads(site.detctl("token", "list", "--json").stdout)["tokens"]]
    assert names == ["gpu1"], "no token is left of what could not be finished"
    mode = (site.pki / "gpu1" / "token").stat().st_mode & 0o777, (site.pki / "ca" / "ca.key").stat().st_mode & 0o777
    assert mode == (0o600, 0o600)
    os.chmod(site.pki / "admin" / "tls.key", 0o644)
    open_key = site.detctl("machines")
    assert open_key.returncode == 2 and "others can read it" in open_key.stderr


def test_health_over_a_socket_says_whether_the_store_answers(folder: Path, redis_url: str) -> None:
    socket = folder / "h.sock"
    ask = [sys.executable, "-m", "detctl_coordinator.main", "health", "--health-socket", str(socket)]
    with coordinator(folder, "--health-socket", str(socket), listen="127.0.0.1:0", store=redis_url) as process:
        assert socket.stat().st_mode & 0o777 == 0o600
        assert subprocess.run(ask, env=environment(), timeout=30).returncode == 0
        with redis.Redis.from_url(redis_url) as client:
            pid = client.info("server")["process_id"]
        os.kill(pid, 19)
        try:
            end = time.monotonic() + 40
            while (
                done := subprocess.run(ask, env=environment(), capture_output=True, text=True, timeout=30)
            ).returncode == 0:
                assert time.monotonic() < end
            assert "its store does not answer" in done.stderr
        finally:
            os.kill(pid, 18)
        end = time.monotonic() + 40
        while subprocess.run(ask, env=environment(), capture_output=True, timeout=30).returncode:
            assert time.monotonic() < end
        process.stop()
    gone = subprocess.run(ask, env=environment(), capture_output=True, text=True, timeout=30)
    assert gone.returncode == 2 and "no coordinator answers" in gone.stderr and not socket.exists()
