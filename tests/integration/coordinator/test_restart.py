"""SIGKILL of the coordinator in mid-audit: a new one on the same store finishes it, and nothing acknowledged is missing."""

from __future__ import annotations

import json

import grpc
from coordinator_processes import CoordinatorProcess, coordinator
from detctl_proto.v1 import audits_pb2 as pb
from detctl_proto.v1 import audits_pb2_grpc
from fake_agent import OPTIONS, FakeAgent, finish, other, serving

FLAGS = ("--heartbeat", "0.2", "--lease", "3", "--machine-timeout", "30")


def stub_of(channel):
    return audits_pb2_grpc.AuditsStub(channel)


async def test_killed_between_assignment_and_end(folder):
    process = CoordinatorProcess(folder, *FLAGS)
    one = FakeAgent("gpu1", process.start())
    two = FakeAgent("gpu2", process.address, script=other)
    try:
        async with serving(one, two):
            async with grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
                request = pb.AuditRequest(recipe="digits", machines=["gpu1", "gpu2"], twins=2, step_to=4)
                plan = await stub_of(channel).StartAudit(request)
            await one.assigned.get()
            await two.assigned.get()
            process.kill()
            one.hold.set()  # the trainings end while nobody listens
            two.hold.set()
            process.start()
            async with grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
                last = await finish(stub_of(channel), plan.audit_id)
    finally:
        process.stop()
    assert last.state == "done"
    assert [(run.state, run.attempt) for run in last.runs] == [("sealed", 1)] * 4
    assert json.loads(last.verdict_json)["outcome"] == "different"


async def test_killed_while_segments_arrive(folder):
    """Whatever was acknowledged before is there after; what was not is sent again and counts once."""
    process = CoordinatorProcess(folder, *FLAGS)
    agent = FakeAgent("gpu1", process.start(), sends_before_hold=True)
    try:
        async with serving(agent):
            async with grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
                plan = await stub_of(channel).StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1"], twins=2))
            await agent.sent.wait()
            process.kill()
            process.start()
            agent.hold.set()  # sends everything once more, then reports the end
            async with grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
                last = await finish(stub_of(channel), plan.audit_id)
                shown = await stub_of(channel).Show(pb.ShowRequest(id=plan.runs[0].run_id))
    finally:
        process.stop()
    assert {(run.state, run.attempt) for run in last.runs} == {("sealed", 1)}
    run = json.loads(shown.json)
    assert run["outcome"]["output_tail"] == "loss 0.5\n"
    assert run["seals"]["0"]["streams"]["update/train"]["steps"] == 4


async def test_sigterm_ends_with_0_and_leaves_no_socket(folder):
    process = CoordinatorProcess(folder)
    process.start()
    assert (folder / "c.sock").stat().st_mode & 0o777 == 0o600
    assert process.stop() == 0
    assert not (folder / "c.sock").exists()


async def test_sigterm_with_an_agent_and_a_watcher_connected(folder):
    process = CoordinatorProcess(folder, *FLAGS)
    agent = FakeAgent("gpu1", process.start())
    async with serving(agent), grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
        plan = await stub_of(channel).StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1"], twins=1))
        watch = stub_of(channel).WatchAudit(pb.AuditRef(audit_id=plan.audit_id))
        await watch.read()
        assert process.stop() == 0


async def test_two_replicas_of_one_store_share_the_work(folder, redis_url):
    """The agents hang on one replica, the user asks the other one."""
    first = CoordinatorProcess(folder, *FLAGS, store=redis_url)
    second = CoordinatorProcess(folder, *FLAGS, store=redis_url, listen=f"unix:{folder}/d.sock")
    agent = FakeAgent("gpu1", first.start())
    agent.hold.set()
    second.start()
    try:
        async with serving(agent), grpc.aio.insecure_channel(second.address, options=OPTIONS) as channel:
            request = pb.AuditRequest(recipe="digits", machines=["gpu1"], twins=2, step_to=4)
            plan = await stub_of(channel).StartAudit(request)
            last = await finish(stub_of(channel), plan.audit_id)
    finally:
        first.stop()
        second.stop()
    assert json.loads(last.verdict_json)["outcome"] == "identical"


async def test_an_agent_that_was_silent_for_a_lease_is_fenced_off(folder):
    """SIGSTOP of an agent, or a cut line: it comes back under the same boot, its old attempt is stopped and a new one runs."""
    flags = ("--heartbeat", "0.2", "--lease", "1", "--machine-timeout", "60")
    with coordinator(folder, *flags) as process:
        agent = FakeAgent("gpu1", process.address)
        async with grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
            async with serving(agent):
                plan = await stub_of(channel).StartAudit(
                    pb.AuditRequest(recipe="digits", machines=["gpu1"], twins=1, step_to=4)
                )
                old = await agent.assigned.get()
            async for progress in stub_of(channel).WatchAudit(pb.AuditRef(audit_id=plan.audit_id)):
                if progress.runs[0].state == "waiting":
                    break
            async with serving(agent):
                stop = await agent.stopped.get()
                new = await agent.assigned.get()
                assert (stop.run_id, stop.attempt, stop.now) == (old.run_id, 1, True)
                assert (new.run_id, new.attempt) == (old.run_id, 2)
                agent.hold.set()
                last = await finish(stub_of(channel), plan.audit_id)
    assert (last.runs[0].state, last.runs[0].attempt) == ("sealed", 2)
