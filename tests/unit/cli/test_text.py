"""Times and assignments."""

from __future__ import annotations

import pytest
from detctl_cli.audits.option_values import assignment_of
from detctl_cli.errors import UsageError
from detctl_cli.output.failure_sentences import advice
from detctl_cli.output.times import ago, count, seconds_of


def test_ago():
    assert [ago(1e6 - age, 1e6) for age in (0, 30, 180, 7200, -5)] == ["now", "30 s ago", "3 min ago", "2 h ago", "now"]
    assert ago(0, 1000) == "never"


def test_seconds_of():
    assert [seconds_of(text) for text in ("30d", "12h", "45m", "90")] == [30 * 86400, 43200, 2700, 90]
    for bad in ("", "0d", "-1d", "3y", "d"):
        with pytest.raises(ValueError):
            seconds_of(bad)


def test_count():
    assert [count(n) for n in (0, 1797, 123456, 2_500_000)] == ["0", "1,797", "123 k", "2.5 M"]


def test_assignments():
    assert assignment_of("--set", "env:A=b=c") == ("env:A", ["b=c"])
    assert assignment_of("--vary", "workers=0, 2") == ("workers", ["0", "2"])
    for option, bad in (("--set", "=x"), ("--vary", "a=1,1"), ("--vary", "a=1,"), ("--vary", "a")):
        with pytest.raises(UsageError):
            assignment_of(option, bad)


def test_a_failure_that_names_a_withheld_variable_says_why_it_is_missing():
    assert "HF_TOKEN is not set" in advice({"kind": "exit", "tail": ["KeyError: 'HF_TOKEN'"]})
    assert "without detctl" in advice({"kind": "exit", "tail": ["KeyError: 'DATA_ROOT'"]})
