"""Lists of audits and runs by time and outcome, and whether older rows were left out."""

from __future__ import annotations

import time

from detctl_proto.v1 import audits_pb2 as pb


async def test_lists_are_filtered_by_time_and_outcome_and_report_that_older_rows_exist(audits):
    imports = [
        await audits.ImportRun(pb.ImportRequest(label=f"vm/default/base/twin-{n}", run_json="{}")) for n in range(3)
    ]
    now = time.time()
    everything = await audits.ListRuns(pb.ListRequest())
    assert {info.status.run_id for info in everything.runs} == {run.run_id for run in imports}
    assert not everything.more
    newest = await audits.ListRuns(pb.ListRequest(limit=2))
    assert (len(newest.runs), newest.more) == (2, True)
    assert not (await audits.ListRuns(pb.ListRequest(limit=3))).more
    earlier, later = pb.ListRequest(until_unix_s=now - 3600), pb.ListRequest(since_unix_s=now - 3600)
    assert not (await audits.ListRuns(earlier)).runs
    assert len((await audits.ListRuns(later)).runs) == 3

    request = pb.AuditRequest(recipe="bert", machines=["gpu1"], twins=2, join_only=True)
    planned = [(await audits.StartAudit(request)).audit_id for _ in range(2)]
    listed = await audits.ListAudits(pb.ListRequest(limit=1))
    assert [info.audit_id for info in listed.audits] == planned[1:]
    assert listed.more
    assert not (await audits.ListAudits(pb.ListRequest(limit=2))).more
    assert not (await audits.ListAudits(pb.ListRequest(outcome="identical"))).audits
    assert not (await audits.ListAudits(pb.ListRequest(until_unix_s=now - 3600))).audits
    assert len((await audits.ListAudits(pb.ListRequest(since_unix_s=now - 3600))).audits) == 2
