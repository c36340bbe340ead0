"""Ctrl-C in `detctl audit --attach` leaves the audit alone, and `detctl cancel` cancels it."""

from __future__ import annotations

import signal

import pytest
from detctl_proto.v1 import audits_pb2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_detaches_and_names_both_ways_on(start_cli, served, number, code):
    served.fake.watch = [None]
    process = start_cli("audit", "--attach", "a1", "--coordinator", served.address)
    assert served.fake.watching.wait(60)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert "CancelAudit" not in [name for name, _ in served.fake.requests]
    assert "detctl audit --attach a1" in err
    assert "detctl cancel a1" in err


def test_cancel_reports_whether_there_was_something_to_cancel(cli, served):
    where = ("--coordinator", served.address)
    served.fake.audits = [audits_pb2.AuditInfo(audit_id="a1", state="running")]
    ran = cli("cancel", "a1", *where)
    assert (ran.code, ran.out) == (0, "audit a1 was cancelled\n")
    assert served.fake.request("CancelAudit").audit_id == "a1"
    served.fake.audits = [audits_pb2.AuditInfo(audit_id="a1", state="done")]
    assert "had already ended (done)" in cli("cancel", "a1", *where).out
    assert cli("cancel", "a1", "--json", *where).json == {
        "schema": "detctl.cancelled/v1", "audit": "a1", "was": "done", "state": "done",
    }  # fmt: skip
