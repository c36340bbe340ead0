"""Whether runs of an audit under way may still be stopped early."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from detctl_coordinator.domain.audit import Audit, AuditRequest, AuditState
from detctl_coordinator.domain.run import Arm, RunRecord, RunSpec, RunState
from detctl_coordinator.scheduling.live_comparison import LiveComparison


def audit(*states: RunState, machines: int = 1) -> Audit:
    runs = {}
    for number, state in enumerate(states):
        spec = RunSpec(f"r{number}", "a1", "digits", Arm(f"gpu{number % machines}"), number)
        runs[spec.run_id] = RunRecord(spec, state, attempt=int(state is not RunState.WAITING))
    return Audit("a1", AuditRequest("digits", ("gpu0",)), runs, state=AuditState.RUNNING)


def can_stop(audit: Audit) -> bool:
    store: Any = None
    return LiveComparison(store).can_stop_early(audit)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("sealed sealed running", True),
        ("sealed running running", False),
        ("sealed sealed waiting", False),
        ("sealed sealed sealed", False),
        ("sealed sealed failed", False),
        ("running running", False),
        ("sealed running", False),
    ],
)
def test_a_further_twin_may_end_early_once_two_have_ended(states: str, expected: bool) -> None:
    assert can_stop(audit(*map(RunState, states.split()))) is expected


def test_configurations_may_end_early_once_each_has_begun() -> None:
    running, waiting = RunState.RUNNING, RunState.WAITING
    assert can_stop(audit(running, running, machines=2))
    assert not can_stop(audit(running, waiting, machines=2))


def test_an_audit_to_the_end_is_never_cut_short() -> None:
    whole = audit(RunState.SEALED, RunState.SEALED, RunState.RUNNING)
    assert not can_stop(replace(whole, request=replace(whole.request, to_end=True)))
