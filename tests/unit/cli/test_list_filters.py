"""--since, --until and --outcome of `detctl audits` and `detctl runs`, also with a coordinator that does not know them."""

from __future__ import annotations

import time
from datetime import datetime

import pytest
from detctl_cli.output.times import moment_of
from detctl_proto.v1 import audits_pb2

DAY_S = 86_400


@pytest.mark.parametrize(
    ("text", "whole_day", "expected"),
    [
        ("2d", False, 1_000_000_000 - 2 * DAY_S),
        ("2026-11-01", False, datetime(2026, 11, 1).timestamp()),
        ("2026-11-01", True, datetime(2026, 11, 2).timestamp()),
        ("2026-11-01T14:30", True, datetime(2026, 11, 1, 14, 30).timestamp()),
        ("2026-11-01 14:30+00:00", False, 1793543400.0),
    ],
)
def test_a_moment_is_an_age_or_a_date(text, whole_day, expected):
    assert moment_of(text, 1_000_000_000, whole_day=whole_day) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "0d", "2026-13-01"])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="is not a time"):
        moment_of(text, 0.0)


def audits_of_three_days():
    return [
        audits_pb2.AuditInfo(audit_id=f"a{age}", outcome=outcome, created_unix_s=time.time() - age * DAY_S - 60)
        for age, outcome in ((0, "identical"), (1, "different"), (2, "different"))
    ]


def test_the_request_is_typed_and_rows_that_an_older_coordinator_sends_are_filtered_here(cli, served):
    unreadable = audits_pb2.AuditInfo(audit_id="a9", state="unreadable", outcome="unreadable")
    served.fake.audits = [unreadable, *audits_of_three_days()]
    ran = cli("audits", "--since", "36h", "--outcome", "different", "--json", "--coordinator", served.address)
    assert [audit["id"] for audit in ran.json["audits"]] == ["a9", "a1"]
    request = served.fake.request("ListAudits")
    assert request.outcome == "different"
    assert request.since_unix_s == pytest.approx(time.time() - 1.5 * DAY_S, abs=60)
    assert request.until_unix_s == 0
    assert "only the newest 2 are listed" in ran.err


def test_an_empty_list_with_a_filter_does_not_read_as_there_are_none(cli, served):
    ran = cli("audits", "--until", "2001-01-01", "--coordinator", served.address)
    assert (ran.code, ran.out.strip(), ran.err) == (0, "no audits match", "")


@pytest.mark.parametrize("arguments", [("--since", "soon"), ("--outcome", "good")])
def test_wrong_values_are_usage_errors(cli, served, arguments):
    ran = cli("audits", *arguments, "--coordinator", served.address)
    assert ran.code == 2
    assert not served.fake.requests
