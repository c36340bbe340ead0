"""Small inputs that must not cost much: refused before they are read, parsed or inflated, with one line and no traceback."""

from __future__ import annotations

import asyncio
import itertools
import zlib
from pathlib import Path

import grpc
import pytest
from coordinator_processes import CoordinatorProcess, coordinator
from detctl_proto.v1 import admin_pb2, admin_pb2_grpc, agents_pb2, agents_pb2_grpc, audits_pb2_grpc, records_pb2
from detctl_proto.v1 import audits_pb2 as pb
from fake_agent import OPTIONS
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

INVALID_ARGUMENT, UNAUTHENTICATED, RESOURCE_EXHAUSTED = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
MALFORMED = b"\xff\xff\xff"
NEARLY_NOTHING = b"\x12\x00" * (2 << 19)  # two mebibytes: a million empty names
PLAN = "/detctl.v1.Audits/PlanAudit"
WATCH = "/detctl.v1.Audits/WatchAudit"
INGEST = "/detctl.v1.Agents/Ingest"
CONTROL = "/detctl.v1.Agents/Control"
CONTENT = "/detctl.v1.Agents/Content"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
HEALTH = "/grpc.health.v1.Health/Check"
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"
JOIN_ONLY = pb.AuditRequest(recipe="mine", machines=["gpu1"], twins=1, join_only=True)
BOMB = zlib.compress(b"\x0a\x00" * (8 << 20), 9)  # eight million empty names in 16 KiB


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


async def status_of(channel: grpc.aio.Channel, method: str, message: bytes, **how) -> grpc.StatusCode:
    """How a call ends whose one message is these bytes; on the wire a stream of one looks the same."""
    try:
        async for _ in channel.unary_stream(method)(message, timeout=30, **how):
            pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def token_of(process: CoordinatorProcess, channel: grpc.aio.Channel, name: str) -> list[tuple[str, str]]:
    """A new submitter's."""
    request = admin_pb2.TokenRequest(role="submitter", name=name)
    made = await admin_pb2_grpc.AdminStub(channel).CreateToken(request, metadata=bearer(process.token))
    return bearer(made.token)


def segment(run_id: str, number: int, columns: bytes, records: int = 65_536) -> agents_pb2.IngestRequest:
    made = records_pb2.Segment(
        run_id=run_id, attempt=1, number=number, scheme="n6.v1", level="module", record_count=records, columns=columns,
        crc32=zlib.crc32(columns),
    )  # fmt: skip
    return agents_pb2.IngestRequest(segment=made)


async def test_nobody_is_parsed_before_it_is_known_who_calls(folder: Path) -> None:
    """The issue's samples: three malformed bytes, and 4 MiB, without a token."""
    with coordinator(folder, listen="127.0.0.1:0") as process:
        async with grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
            for method in (PLAN, WATCH, INGEST, CONTROL, CONTENT, REFLECTION):
                for message in (MALFORMED, NEARLY_NOTHING):
                    assert await status_of(channel, method, message) is UNAUTHENTICATED, method
                    assert await status_of(channel, method, message, metadata=bearer("wrong")) is UNAUTHENTICATED, (
                        method
                    )
            # More than any message may have: who reads it finds that first.
            for method in (PLAN, WATCH, INGEST, CONTROL):
                assert await status_of(channel, method, bytes(5 << 20)) is UNAUTHENTICATED, method
        log = process.log.read_text()
        assert "Traceback" not in log and "code=INTERNAL" not in log


@pytest.mark.parametrize("listen", ["127.0.0.1:0", None])
async def test_malformed_bytes_are_one_line(folder: Path, listen: str | None) -> None:
    health = folder / "h.sock"
    with coordinator(folder, "--health-socket", str(health), listen=listen) as process:
        metadata = bearer(process.token) if listen else []
        async with grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
            for method in (PLAN, WATCH, INGEST, CONTROL, CONTENT, REFLECTION, HEALTH, HEALTH_WATCH):
                assert await status_of(channel, method, MALFORMED, metadata=metadata) is INVALID_ARGUMENT, method
            lines = len(process.log.read_text().splitlines())
            for _ in range(50):
                assert await status_of(channel, PLAN, MALFORMED, metadata=metadata) is INVALID_ARGUMENT
            text = process.log.read_text()
            assert "Traceback" not in text and "cannot be parsed" in text
            assert 0 < len(text.splitlines()) - lines <= 10  # and not one a call
            await audits_pb2_grpc.AuditsStub(channel).ListMachines(pb.ListRequest(), metadata=metadata)
            listed = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
                iter([reflection_pb2.ServerReflectionRequest(list_services="")]), metadata=metadata
            )
            names = [service.name async for reply in listed for service in reply.list_services_response.service]
            assert "detctl.v1.Audits" in names
        async with grpc.aio.insecure_channel(f"unix:{health}", options=OPTIONS) as channel:
            assert await status_of(channel, HEALTH, MALFORMED) is INVALID_ARGUMENT
            assert await status_of(channel, HEALTH_WATCH, MALFORMED) is INVALID_ARGUMENT
        assert "Traceback" not in process.log.read_text()


async def test_a_message_that_would_become_a_million_objects(folder: Path) -> None:
    with coordinator(folder, listen="127.0.0.1:0") as process:
        async with grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
            metadata = await token_of(process, channel, "sue")
            closed = b"\x0a\x80\x80\x40" + b"\x62\x00" * (1 << 19)  # a segment of half a million closed steps
            assert await status_of(channel, INGEST, closed, metadata=metadata) is RESOURCE_EXHAUSTED
            # A call that names one thing needs no mebibyte.
            assert await status_of(channel, WATCH, NEARLY_NOTHING, metadata=metadata) is RESOURCE_EXHAUSTED
            assert await status_of(channel, HEALTH, NEARLY_NOTHING) is RESOURCE_EXHAUSTED
            # Others are answered meanwhile, and so is who sent it, with the next small message.
            await audits_pb2_grpc.AuditsStub(channel).ListMachines(pb.ListRequest(), metadata=metadata)
        assert "Traceback" not in process.log.read_text()


async def test_a_call_without_a_message(folder: Path) -> None:
    async def nothing():
        for _ in ():
            yield b""

    with coordinator(folder) as process:
        async with grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
            with pytest.raises(grpc.aio.AioRpcError, match="the call has no message") as caught:
                await channel.stream_unary("/detctl.v1.Audits/PlanAudit")(nothing())
            assert caught.value.code() is INVALID_ARGUMENT


async def test_segments_that_expand(folder: Path) -> None:
    """24 KiB that become hundreds of megabytes, over several streams: each is refused, and the coordinator has not grown by one."""
    with coordinator(folder, listen="127.0.0.1:0") as process:
        async with grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
            metadata = await token_of(process, channel, "sue")
            before = memory_mb(process)

            async def stream(number: int) -> list[agents_pb2.IngestReply]:
                label = pb.ImportRequest(label=f"m{number}/default/base/twin-0", run_json="{}")
                held = await audits_pb2_grpc.AuditsStub(channel).ImportRun(label, metadata=metadata)
                request = segment(held.run_id, 0, BOMB)
                request.secret = held.secret
                sent = [request]
                call = agents_pb2_grpc.AgentsStub(channel).Ingest(iter(sent), metadata=metadata, timeout=60)
                return [reply async for reply in call]

            replies = list(itertools.chain(*await asyncio.gather(*(stream(number) for number in range(8)))))
            assert len(replies) == 8 and all("inflates beyond" in reply.refused for reply in replies)
            assert memory_mb(process) - before < 300


def memory_mb(process: CoordinatorProcess) -> float:
    """The largest that it has been."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


async def test_quotas_of_audits(folder: Path) -> None:
    """Join-only audits and imports count; another caller's do not; a cancelled one makes room."""
    flags = ("--max-open-audits", "2", "--max-planned-runs", "3")
    with coordinator(folder, *flags, listen="127.0.0.1:0") as process:
        async with grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
            stub = audits_pb2_grpc.AuditsStub(channel)
            sue, tom = [await token_of(process, channel, name) for name in ("sue", "tom")]
            first = await stub.StartAudit(JOIN_ONLY, metadata=sue)
            await stub.ImportRun(pb.ImportRequest(label="m/default/base/twin-0"), metadata=sue)
            for call, request in (
                (stub.StartAudit, JOIN_ONLY),
                (stub.ImportRun, pb.ImportRequest(label="m/e/base/twin-0")),
            ):
                with pytest.raises(grpc.aio.AioRpcError, match="sue has 2 unfinished audits; the limit is 2") as caught:
                    await call(request, metadata=sue)
                assert caught.value.code() is RESOURCE_EXHAUSTED and "--max-open-audits" in caught.value.details()
            await stub.StartAudit(JOIN_ONLY, metadata=tom)
            await stub.StartAudit(JOIN_ONLY, metadata=bearer(process.token))
            await stub.CancelAudit(pb.AuditRef(audit_id=first.audit_id), metadata=sue)
            many = pb.AuditRequest(recipe="mine", machines=["gpu1"], twins=3, join_only=True)
            with pytest.raises(grpc.aio.AioRpcError, match="1 unfinished runs and requests 3 more; the limit is 3"):
                await stub.StartAudit(many, metadata=sue)
            # Of many at once no more are taken than there is room for.
            asked = [stub.StartAudit(JOIN_ONLY, metadata=sue) for _ in range(6)]
            ended = await asyncio.gather(*asked, return_exceptions=True)
            assert sum(not isinstance(one, BaseException) for one in ended) == 1


async def test_quotas_of_watch_calls_and_streams(folder: Path) -> None:
    flags = ("--max-watch-calls", "2", "--max-streams", "1", "--max-calls", "3")
    with coordinator(folder, *flags, listen="127.0.0.1:0") as process:
        async with grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
            stub, agents = audits_pb2_grpc.AuditsStub(channel), agents_pb2_grpc.AgentsStub(channel)
            sue = await token_of(process, channel, "sue")
            audit = pb.AuditRef(audit_id=(await stub.StartAudit(JOIN_ONLY, metadata=sue)).audit_id)
            watches = [stub.WatchAudit(audit, metadata=sue) for _ in range(2)]
            for watch in watches:
                assert (await watch.read()).state == "running"
            with pytest.raises(
                grpc.aio.AioRpcError, match="sue has 2 open watch calls on this coordinator; the limit is 2"
            ) as caught:
                await stub.WatchAudit(audit, metadata=sue).read()
            assert caught.value.code() is RESOURCE_EXHAUSTED
            assert (await stub.WatchAudit(audit, metadata=bearer(process.token)).read()).state == "running"
            run_id = (await stub.ImportRun(pb.ImportRequest(label="m/default/base/twin-0"), metadata=sue)).run_id
            stream = agents.Ingest(metadata=sue)
            await stream.write(segment(run_id, 0, b"", 0))
            assert (await stream.read()).refused  # it is there
            second = agents.Ingest(metadata=sue)
            with pytest.raises(grpc.aio.AioRpcError, match="1 open streams on this coordinator; the limit is 1"):
                await second.read()
            await stub.CancelAudit(audit, metadata=sue)
            for watch in watches:
                assert (await watch.read()).state == "cancelled"
                assert await watch.read() is grpc.aio.EOF
            assert [progress async for progress in stub.WatchAudit(audit, metadata=sue)][-1].state == "cancelled"
