"""From the runs of an audit to its verdict. Pure, given readers."""

from __future__ import annotations

from detctl_coordinator.attribution.case import Case, JudgeRequest
from detctl_coordinator.attribution.verdict.report import build_verdict
from detctl_coordinator.domain.verdict import Verdict


def judge(request: JudgeRequest) -> Verdict:
    """The verdict on the runs of a request. Never raises for what runs contain: damage is a reason in the verdict."""
    return build_verdict(Case(request))
