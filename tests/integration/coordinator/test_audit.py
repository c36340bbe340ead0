"""An audit from start to verdict: a real coordinator process, scripted agents."""

from __future__ import annotations

import json

import grpc
import pytest
from detctl_proto.v1 import audits_pb2 as pb
from fake_agent import FakeAgent, finish, nothing, other, refuse, serving
from made_up_runs import make


async def test_audit_ends_with_a_verdict(service, audits):
    one, two = FakeAgent("gpu1", service.address), FakeAgent("gpu2", service.address, script=other)
    one.hold.set()
    two.hold.set()
    async with serving(one, two):
        plan = await audits.StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1", "gpu2"], twins=2))
        last = await finish(audits, plan.audit_id)
    assert last.state == "done"
    assert {run.state for run in last.runs} == {"sealed"}
    verdict = json.loads(last.verdict_json)
    assert verdict["schema"] == "detctl.verdict/v1"
    assert verdict["outcome"] == "different"


async def test_equal_machines_are_identical_up_to_coverage(service, audits):
    """Two sound machines never differ, and the runs are spread evenly: A B B' A'."""
    agents = [FakeAgent(name, service.address) for name in ("gpu1", "gpu2")]
    for agent in agents:
        agent.hold.set()
    async with serving(*agents):
        plan = await audits.StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1", "gpu2"], twins=2, step_to=4))
        last = await finish(audits, plan.audit_id)
        again = await audits.Compare(pb.CompareRequest(machines=["gpu1", "gpu2"]))
        stored = await audits.Compare(pb.CompareRequest(audit_id=plan.audit_id))
    verdict = json.loads(last.verdict_json)
    assert verdict["outcome"] == "identical", verdict["unverified_because"]
    assert json.loads(stored.verdict_json) == verdict
    assert json.loads(again.verdict_json)["outcome"] == "identical"
    assert [run.label.split("/")[0] + run.label[-1] for run in plan.runs] == ["gpu10", "gpu20", "gpu21", "gpu11"]


async def test_watch_tells_progress_while_runs_are_under_way(service, audits):
    agent = FakeAgent("gpu1", service.address)
    async with serving(agent):
        plan = await audits.StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1"], twins=2))
        seen = []
        async for progress in audits.WatchAudit(pb.AuditRef(audit_id=plan.audit_id)):
            seen.append(progress)
            if progress.runs[0].records and progress.runs[0].state == "running":
                agent.hold.set()
        reconnected = await finish(audits, plan.audit_id)
    assert any(p.runs[0].state == "running" and p.runs[0].step == 4 for p in seen)
    assert seen[-1].state == "done" and seen[-1].verdict_json
    assert reconnected.verdict_json == seen[-1].verdict_json


async def test_cancel_stops_what_runs(service, audits):
    agent = FakeAgent("gpu1", service.address)
    async with serving(agent):
        plan = await audits.StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1"], twins=2))
        assignment = await agent.assigned.get()
        await audits.CancelAudit(pb.AuditRef(audit_id=plan.audit_id))
        stop = await agent.stopped.get()
        last = await finish(audits, plan.audit_id)
    assert (stop.run_id, stop.attempt, stop.now) == (assignment.run_id, 1, True)
    assert last.state == "cancelled" and {run.state for run in last.runs} == {"cancelled"}


async def test_arms_that_differ_everywhere_stop_early(service, audits):
    """Live comparison: every stage differs at step 1, so the runs may end two steps later."""
    one = FakeAgent("gpu1", service.address, sends_before_hold=True)
    two = FakeAgent("gpu2", service.address, sends_before_hold=True, script=other)
    async with serving(one, two):
        await audits.StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1", "gpu2"], twins=1))
        stops = [await one.stopped.get(), await two.stopped.get()]
    assert {stop.after_step for stop in stops} == {3} and not any(stop.now for stop in stops)


async def test_run_of_another_attempt_is_stopped_and_fenced(service, audits):
    """A restarted agent (new boot) gets a new attempt; what the old one still sends is fenced."""
    first = FakeAgent("gpu1", service.address)
    async with serving(first):
        plan = await audits.StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1"], twins=1))
        old = await first.assigned.get()
    second = FakeAgent("gpu1", service.address, boot_id="boot-2")
    async with serving(second):
        new = await second.assigned.get()
        assert (new.run_id, new.attempt) == (old.run_id, 2)
        replies = await second.send(make(old.run_id, 1))
        assert all(reply.fenced for reply in replies) and len(replies) == 5
        second.hold.set()
        last = await finish(audits, plan.audit_id)
    assert last.runs[0].state == "sealed" and last.runs[0].attempt == 2


async def test_absent_machine_is_named(service, audits):
    """A machine that is known but gone makes the audit unverified, not endless."""
    agent = FakeAgent("gpu1", service.address)
    async with serving(agent):
        pass
    plan = await audits.StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1"], twins=1))
    last = await finish(audits, plan.audit_id)
    assert (
        last.runs[0].state == "failed"
        and "gpu1" in last.runs[0].message
        and "start it: detctl-agent" in last.runs[0].message
    )
    verdict = json.loads(last.verdict_json)
    assert verdict["outcome"] == "unverified" and "gpu1" in " ".join(verdict["unverified_because"])


async def test_silent_run_is_unverified(service, audits):
    """No probe in the training: nothing arrives, and that is never identical."""
    agent = FakeAgent("gpu1", service.address, script=nothing)
    agent.hold.set()
    async with serving(agent):
        plan = await audits.StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1"], twins=2))
        last = await finish(audits, plan.audit_id)
    verdict = json.loads(last.verdict_json)
    assert verdict["outcome"] == "unverified" and "no probe" in " ".join(verdict["unverified_because"])


async def test_refused_assignment_fails_the_run(service, audits):
    agent = FakeAgent("gpu1", service.address, script=refuse)
    async with serving(agent):
        plan = await audits.StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1"], twins=1))
        last = await finish(audits, plan.audit_id)
    assert last.runs[0].state == "failed" and "changed after planning" in last.runs[0].message


async def test_two_audits_share_the_slots_of_a_machine(service, audits):
    """The older audit comes first; the younger one gets the machine when a run has ended."""
    agent = FakeAgent("gpu1", service.address)
    async with serving(agent):
        older = await audits.StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1"], twins=1, step_to=4))
        first = await agent.assigned.get()
        younger = await audits.StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1"], twins=1, step_to=4))
        agent.hold.set()
        await finish(audits, older.audit_id)
        second = await agent.assigned.get()
        await finish(audits, younger.audit_id)
        log = service.log.read_text()
    assert (first.audit_id, second.audit_id) == (older.audit_id, younger.audit_id)
    ended = log.index(f"run={first.run_id} attempt=1 state=running checking")
    assert log.index(f"run={second.run_id} attempt=1 state=assigned") > ended


async def test_cancelled_audit_has_no_verdict_to_compare(service, audits):
    agent = FakeAgent("gpu1", service.address)
    async with serving(agent):
        plan = await audits.StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1"], twins=1))
        await agent.assigned.get()
        await audits.CancelAudit(pb.AuditRef(audit_id=plan.audit_id))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await audits.Compare(pb.CompareRequest(audit_id=plan.audit_id))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION and "run it again" in caught.value.details()
