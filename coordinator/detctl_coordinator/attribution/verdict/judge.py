"""Judges the runs of an audit. Pure: readers are passed in."""

from __future__ import annotations

from detctl_coordinator.attribution.case import Case, JudgeRequest
from detctl_coordinator.attribution.verdict.report import build_verdict
from detctl_coordinator.domain.verdict import Verdict


def judge(request: JudgeRequest) -> Verdict:
    """Returns the verdict on the runs of a request. Damaged data does not raise; it is a reason in the verdict."""
    return build_verdict(Case(request))
