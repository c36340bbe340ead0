"""The first run that fails cancels the others, if the request says so."""

from __future__ import annotations

from dataclasses import replace

from detctl_coordinator.domain.audit import Audit, AuditRequest, AuditState
from detctl_coordinator.domain.lifecycle_events import AgentSeen, RunEnded, RunVerified
from detctl_coordinator.domain.run import Arm, RunFailure, RunOutcome, RunSpec, RunState
from detctl_coordinator.scheduling import audit_lifecycle as lifecycle
from detctl_coordinator.storage.documents import audit_from_json, audit_to_json

FAILED = RunOutcome("exit", 1, failure=RunFailure("missing-module", 1, module="einops", tail=("a",)))


def after_a_failure(stop: bool, outcome: RunOutcome = FAILED) -> Audit:
    request = AuditRequest("digits", ("gpu1",), twins=3, stop_on_failure=stop)
    specs = [RunSpec(f"a.{twin:03d}", "a", "digits", Arm("gpu1"), twin) for twin in range(3)]
    audit = lifecycle.plan("a", request, specs, 0.0)
    audit = lifecycle.apply(audit, AgentSeen("gpu1", "b1", frozenset(), 1, 0))
    audit = lifecycle.apply(audit, RunEnded("a.000", 1, outcome, {}))
    return lifecycle.apply(audit, RunVerified("a.000", 1, "no data", 0, 0))


def test_the_others_are_cancelled_and_the_audit_is_compared() -> None:
    audit = after_a_failure(stop=True)
    assert [run.state for run in audit.runs.values()] == [RunState.FAILED, RunState.CANCELLED, RunState.CANCELLED]
    assert (audit.state, audit.stopped_by) == (AuditState.COMPARING, "a.000")
    assert audit_from_json(audit_to_json(audit)) == audit


def test_by_default_the_others_go_on() -> None:
    audit = after_a_failure(stop=False)
    assert (audit.state, audit.stopped_by) == (AuditState.RUNNING, "")
    assert not any(run.state is RunState.CANCELLED for run in audit.runs.values())


def test_a_run_that_did_not_fail_stops_nothing() -> None:
    assert after_a_failure(stop=True, outcome=replace(FAILED, exit_code=0, failure=None)).stopped_by == ""
