"""A store that goes away: nothing is acknowledged, agents send again, and the audit ends as if nothing had been."""

from __future__ import annotations

import json

import grpc
from coordinator_processes import RedisProcess, coordinator
from detctl_proto.v1 import audits_pb2 as pb
from detctl_proto.v1 import audits_pb2_grpc
from fake_agent import OPTIONS, FakeAgent, finish, serving


async def test_redis_killed_in_mid_audit(folder):
    store = RedisProcess(folder)
    store.start()
    flags = ("--heartbeat", "0.2", "--lease", "60", "--machine-timeout", "120")
    with coordinator(folder, *flags, store=store.url) as process:
        agent = FakeAgent("gpu1", process.address)
        async with serving(agent), grpc.aio.insecure_channel(process.address, options=OPTIONS) as channel:
            stub = audits_pb2_grpc.AuditsStub(channel)
            plan = await stub.StartAudit(pb.AuditRequest(recipe="digits", machines=["gpu1"], twins=2, step_to=4))
            await agent.assigned.get()
            store.kill()
            agent.hold.set()  # the run ends, and sends into a coordinator without a store
            await agent.refused_once.wait()
            store.start()
            last = await finish(stub, plan.audit_id)
    store.stop()
    assert [(run.state, run.attempt) for run in last.runs] == [("sealed", 1)] * 2
    assert json.loads(last.verdict_json)["outcome"] == "identical"
