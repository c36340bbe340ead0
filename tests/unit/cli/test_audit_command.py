"""`detctl audit RECIPE` against a scripted coordinator."""

from __future__ import annotations

import grpc
from detctl_proto.v1 import audits_pb2


def test_flags_become_the_request(cli, served):
    ran = cli(
        "audit", "digits", "--machines", "gpu1,gpu2,gpu1", "--twins", "4", "--steps", "2:9", "--environments", "a,b",
        "--set", "listing=sorted", "--vary", "workers=0,2", "--level", "step", DETCTL_COORDINATOR=served.address,
    )  # fmt: skip
    assert ran.code == 1
    request = served.fake.request("StartAudit")
    assert list(request.machines) == ["gpu1", "gpu2"]
    assert (request.twins, request.step_from, request.step_to, request.to_end, request.level) == (
        4,
        2,
        9,
        False,
        "step",
    )
    assert list(request.environments) == ["a", "b"]
    assert [(v.name, list(v.values)) for v in request.set] == [("listing", ["sorted"])]
    assert [(v.name, list(v.values)) for v in request.vary] == [("workers", ["0", "2"])]


def test_to_end_with_a_first_step(cli, served):
    cli("audit", "digits", "--machines", "g", "--steps", "5:", "--coordinator", served.address)
    request = served.fake.request("StartAudit")
    assert (request.step_from, request.step_to, request.to_end) == (5, 0, True)


def test_the_verdict_is_on_stdout_and_progress_on_stderr(cli, served):
    run = audits_pb2.RunStatus(
        run_id="r1", label="gpu1/default/base/twin-0", machine="gpu1", state="failed", message="boom\x1b[2J"
    )
    running = audits_pb2.AuditProgress(audit_id="a1", state="running", runs=[run])
    served.fake.watch = [[running, running, served.fake.last()]]
    ran = cli("audit", "digits", "--machines", "gpu1", "--coordinator", served.address)
    assert ran.out.startswith("DIFFERENT   origin: environment   cause: filesystem-order (indicated)\n")
    assert "train.py:31" in ran.out
    assert ran.err.count("gpu1/default/base/twin-0 failed: boom") == 1
    assert "\x1b" not in ran.out + ran.err


def test_dry_run_prints_the_plan_and_starts_nothing(cli, served):
    ran = cli("audit", "digits", "--machines", "gpu1,gpu2", "--dry-run", "--coordinator", served.address)
    assert ran.code == 0
    assert "2 runs of digits on gpu1, gpu2; nothing was started" in ran.out
    assert "not connected" in ran.out
    assert [name for name, _ in served.fake.requests] == ["PlanAudit"]


def test_dry_run_as_json(cli, served):
    ran = cli("audit", "digits", "--machines", "gpu1", "--dry-run", "--json", "--coordinator", served.address)
    assert ran.json["schema"] == "detctl.plan/v1"
    assert ran.json["runs"] == [{"label": "gpu1/default/base/twin-0", "machine": "gpu1"}]


def test_detach_prints_the_id_alone(cli, served):
    ran = cli("audit", "digits", "--machines", "gpu1", "--detach", "--coordinator", served.address)
    assert (ran.code, ran.out) == (0, "a1\n")
    assert "detctl audit --attach a1" in ran.err


def test_attach_waits_for_the_verdict(cli, served):
    ran = cli("audit", "--attach", "a1", "--coordinator", served.address)
    assert ran.code == 1
    assert [name for name, _ in served.fake.requests] == ["WatchAudit"]


def test_a_coordinator_that_restarts_is_waited_for(start_cli, served):
    served.fake.watch = [None]
    process = start_cli("audit", "digits", "--machines", "gpu1", "--coordinator", served.address)
    assert served.fake.watching.wait(60)
    served.stop()
    served.start()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert err.count("does not answer; trying again") == 1
    assert "the coordinator answers again" in err
    assert out.startswith("DIFFERENT")


def test_a_coordinator_that_stays_away_is_given_up(start_cli, served):
    served.fake.watch = [None]
    process = start_cli("audit", "digits", "--machines", "gpu1", "--wait", "0.2", "--coordinator", served.address)
    assert served.fake.watching.wait(60)
    served.stop()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "detctl audit --attach a1" in err


def test_an_audit_that_the_store_has_lost_is_unverified(start_cli, served):
    served.fake.watch = [None]
    process = start_cli("audit", "digits", "--machines", "gpu1", "--coordinator", served.address)
    assert served.fake.watching.wait(60)
    served.stop()
    served.fake.fail["WatchAudit"] = (grpc.StatusCode.NOT_FOUND, "no audit 'a1' is known here; see detctl audits")
    served.start()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "has lost audit a1: its store was emptied, deleted or replaced; start the audit again" in err


def test_a_store_that_is_away_for_a_while_is_named(start_cli, served):
    away = (grpc.StatusCode.UNAVAILABLE, "the coordinator's store does not answer: connection refused")
    served.fake.watch = [None]
    process = start_cli("audit", "digits", "--machines", "gpu1", "--wait", "0.3", "--coordinator", served.address)
    assert served.fake.watching.wait(60)
    served.fake.fail["WatchAudit"] = away
    served.fake.release.set()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "store does not answer: connection refused; trying again" in err
    assert err.endswith("connection refused; when it answers again, run detctl audit --attach a1\n"), err


def test_a_cancelled_audit_is_unverified(cli, served):
    served.fake.watch = [[audits_pb2.AuditProgress(audit_id="a1", state="cancelled", message="cancelled by its user")]]
    ran = cli("audit", "digits", "--machines", "gpu1", "--coordinator", served.address)
    assert ran.code == 3
    assert "cancelled by its user" in ran.err


def test_the_message_of_the_coordinator_reaches_the_user(cli, served):
    served.fake.fail["StartAudit"] = (grpc.StatusCode.NOT_FOUND, "no machine 'gpu9' is known here; did you mean gpu1?")
    ran = cli("audit", "digits", "--machines", "gpu9", "--coordinator", served.address)
    assert (ran.code, ran.err) == (2, "detctl: no machine 'gpu9' is known here; did you mean gpu1?\n")


def test_a_store_that_is_gone_is_not_an_unreachable_coordinator(cli, served):
    served.fake.fail["StartAudit"] = (
        grpc.StatusCode.UNAVAILABLE,
        "the coordinator's store does not answer: connection refused",
    )
    ran = cli("audit", "digits", "--machines", "gpu1", "--coordinator", served.address)
    assert ran.code == 2
    assert "store does not answer" in ran.err


def test_a_verdict_of_another_kind_is_no_success(cli, served):
    served.fake.watch = [[audits_pb2.AuditProgress(audit_id="a1", state="done", verdict_json="{}")]]
    assert cli("audit", "digits", "--machines", "gpu1", "--coordinator", served.address).code == 2
