"""Tests what the coordinator accepts from an agent, and what it refuses (docs/security.md 7)."""

from __future__ import annotations

import json
import zlib

import grpc
import pytest
from detctl_proto.v1 import agents_pb2, agents_pb2_grpc, records_pb2
from detctl_proto.v1 import audits_pb2 as pb
from fake_agent import OPTIONS, FakeAgent, finish, serving
from made_up_runs import make, pack


def with_columns(segment: records_pb2.Segment, columns: bytes, records: int | None = None) -> records_pb2.Segment:
    """The segment with other columns and a checksum that fits them."""
    changed = records_pb2.Segment()
    changed.CopyFrom(segment)
    changed.columns, changed.crc32 = columns, zlib.crc32(columns)
    if records is not None:
        changed.record_count = records
    return changed


def long_name(segment: records_pb2.Segment) -> records_pb2.Segment:
    columns = records_pb2.RecordColumns.FromString(zlib.decompress(segment.columns))
    columns.names[0] = "x" * 513
    return with_columns(segment, zlib.compress(columns.SerializeToString()))


def many_names(segment: records_pb2.Segment) -> records_pb2.Segment:
    columns = records_pb2.RecordColumns.FromString(zlib.decompress(segment.columns))
    columns.names.extend(str(i) for i in range(65_536))
    return with_columns(segment, zlib.compress(columns.SerializeToString()))


def foreign_site(segment: records_pb2.Segment) -> records_pb2.Segment:
    columns = records_pb2.RecordColumns.FromString(zlib.decompress(segment.columns))
    columns.site[0] = 999
    return with_columns(segment, zlib.compress(columns.SerializeToString()))


def flipped(segment: records_pb2.Segment) -> records_pb2.Segment:
    changed = records_pb2.Segment()
    changed.CopyFrom(segment)
    changed.columns = bytes([segment.columns[0] ^ 1]) + segment.columns[1:]
    return changed


BAD = {
    "checksum": flipped,
    "count": lambda s: with_columns(s, s.columns, s.record_count + 1),
    "bomb": lambda s: with_columns(s, zlib.compress(bytes(64 << 20))),
    "no zlib": lambda s: with_columns(s, b"no zlib"),
    "bad utf-8": lambda s: with_columns(s, zlib.compress(b"\x0a\x02\xff\xfe")),
    "cut off": lambda s: with_columns(s, s.columns[:-5]),
    "long name": long_name,
    "many names": many_names,
    "foreign site": foreign_site,
}


@pytest.mark.parametrize("harm", BAD)
async def test_damaged_segment_is_refused_and_makes_the_run_unverified(service, audits, harm):
    agent = FakeAgent("gpu1", service.address)
    async with serving(agent):
        plan = await audits.StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1"], twins=1))
        assignment = await agent.assigned.get()
        sample = make(assignment.run_id, 1)
        requests = [agents_pb2.IngestRequest(segment=s) for s in (sample.segments[0], BAD[harm](sample.segments[1]))]
        replies = await agent.ingest(requests)
        last = await finish(audits, plan.audit_id)
    assert [bool(reply.refused) for reply in replies] == [False, True]
    assert [reply.number for reply in replies] == [0, 1]
    assert last.runs[0].state == "failed" and "damaged" in last.runs[0].message
    assert json.loads(last.verdict_json)["outcome"] == "unverified"


async def test_a_machine_cannot_write_into_the_run_of_another(service, audits):
    one, two = FakeAgent("gpu1", service.address), FakeAgent("gpu2", service.address)
    async with serving(one, two):
        plan = await audits.StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1", "gpu2"], twins=1, step_to=4))
        mine = await one.assigned.get()
        await two.assigned.get()
        sample = make(mine.run_id, 1, differs_from_step=0, salt="forged")
        replies = await two.ingest([agents_pb2.IngestRequest(segment=s) for s in sample.segments])
        assert all("another machine" in reply.refused for reply in replies) and len(replies) == 4
        two.say(
            run_state=agents_pb2.RunState(run_id=mine.run_id, attempt=1, phase=agents_pb2.RUN_PHASE_ENDED, end="exit")
        )
        one.hold.set()
        two.hold.set()
        last = await finish(audits, plan.audit_id)
    assert {run.state for run in last.runs} == {"sealed"}
    assert json.loads(last.verdict_json)["first_divergence"] is None


async def test_unknown_runs_are_fenced(service, audits):
    agent = FakeAgent("gpu1", service.address)
    async with serving(agent):
        for run_id in ("gone.000", "../../etc/passwd", "", "x" * 5000):
            replies = await agent.ingest([agents_pb2.IngestRequest(segment=make(run_id, 1).segments[0])])
            assert [reply.fenced for reply in replies] == [True]


async def test_oversized_message_is_refused(service, audits):
    agent = FakeAgent("gpu1", service.address)
    columns = records_pb2.RecordColumns(digests=bytes(5 << 20))
    big = pack("a.000", 1, 0, 0, columns, 0)
    big.columns = bytes(5 << 20)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await agent.ingest([agents_pb2.IngestRequest(segment=big)])
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_hello_under_a_foreign_or_bad_name_is_refused(service, audits):
    async with grpc.aio.insecure_channel(service.address, options=OPTIONS) as channel:
        stub = agents_pb2_grpc.AgentsStub(channel)
        for name, caller, code in (
            ("gpu1", "gpu2", grpc.StatusCode.PERMISSION_DENIED),
            ("../gpu1", "../gpu1", grpc.StatusCode.INVALID_ARGUMENT),
            ("gpu1\x1b[31m", "gpu1", grpc.StatusCode.INVALID_ARGUMENT),
        ):
            hello = agents_pb2.AgentMessage(hello=agents_pb2.Hello(machine=name, boot_id="b"))
            call = stub.Control(iter([hello]), metadata=[("detctl-machine", caller)])
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() is code
        assert not (await audits.ListMachines(pb.ListRequest())).machines


async def test_import_of_two_folders_and_their_comparison(service, audits):
    """What `detctl compare DIR_A DIR_B` does: no machine, no token, a sender without a name."""
    run_ids = []
    for salt in ("", "other"):
        imported = await audits.ImportRun(pb.ImportRequest(label="host/default/base/twin-0", run_json="{}"))
        sample = make(imported.run_id, 1, differs_from_step=2, salt=salt)
        parts = [*({"segment": segment} for segment in sample.segments), {"seal": sample.seal}]
        requests = [agents_pb2.IngestRequest(**part, secret=imported.secret) for part in parts]
        async with grpc.aio.insecure_channel(service.address, options=OPTIONS) as channel:
            replies = [r async for r in agents_pb2_grpc.AgentsStub(channel).Ingest(iter(requests))]
        assert not any(reply.refused or reply.fenced for reply in replies)
        await audits.FinishImport(
            pb.ImportFinished(run_id=imported.run_id, end="exit", ranks=1, secret=imported.secret)
        )
        run_ids.append(imported.run_id)
    reply = await audits.Compare(pb.CompareRequest(run_ids=run_ids))
    verdict = json.loads(reply.verdict_json)
    assert verdict["outcome"] == "different"
    assert (verdict["first_divergence"]["stage"], verdict["first_divergence"]["step"]) == ("batch", 2)
    assert not (await audits.ListAudits(pb.ListRequest())).audits


async def test_delete_refuses_runs_under_way_and_forgets_the_others(service, audits):
    agent = FakeAgent("gpu1", service.address)
    async with serving(agent):
        plan = await audits.StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1"], twins=1))
        await agent.assigned.get()
        run_id = plan.runs[0].run_id
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await audits.DeleteRuns(pb.DeleteRequest(run_ids=[run_id]))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        agent.hold.set()
        await finish(audits, plan.audit_id)
        assert list((await audits.DeleteRuns(pb.DeleteRequest(run_ids=[run_id]))).run_ids) == [run_id]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await audits.Show(pb.ShowRequest(id=run_id))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_compare_without_shared_runs_says_what_to_run(service, audits):
    one, two = FakeAgent("gpu1", service.address), FakeAgent("gpu2", service.address)
    async with serving(one, two):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await audits.Compare(pb.CompareRequest(machines=["gpu1", "gpu2"], recipe="digits"))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "detctl audit digits --machines gpu1,gpu2" in caught.value.details()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await audits.Compare(pb.CompareRequest(machines=["gpu1", "gpu9"]))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND and "there are: gpu1, gpu2" in caught.value.details()
