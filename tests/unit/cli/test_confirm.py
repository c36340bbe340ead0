"""An indicated verdict is followed by experiments within a time budget; whatever happens, it stands."""

from __future__ import annotations

import time

import pytest
from detctl_cli.audits.confirm import Confirmation, confirm, is_unconfirmed, runs_within
from detctl_cli.errors import CliError
from detctl_cli.exits import Exit, exit_of_verdict
from detctl_proto.v1 import audits_pb2

INDICATED = {"outcome": "different", "causes": [{"confidence": "indicated"}]}
CONFIRMED = {"outcome": "different", "explained": True, "experiments": [{}]}


class Coordinator:
    def __init__(self):
        self.requests, self.cancelled = [], False

    def runs(self, request):
        return audits_pb2.RunList(runs=[audits_pb2.RunInfo(), audits_pb2.RunInfo()])

    def explain(self, request):
        self.requests.append(request)

    def cancel(self, audit_id):
        self.cancelled = True


def confirmed(answer, within_s=60.0, elapsed_s=2.0, **options):
    coordinator, printed = Coordinator(), []

    def report(verdict, goes_on=False):
        printed.append(verdict)
        return exit_of_verdict(verdict)

    def follow(*_):
        if isinstance(answer, BaseException):
            raise answer
        return answer(coordinator) if callable(answer) else answer

    requested = Confirmation(within_s, **options)
    code = confirm(coordinator, "a1", 1.0, INDICATED, requested, elapsed_s, report, follow)
    return code, printed, coordinator


def test_the_indicated_verdict_comes_first(capsys):
    code, printed, coordinator = confirmed(CONFIRMED)
    assert code is Exit.DIFFERENT and printed == [INDICATED, CONFIRMED]
    assert coordinator.requests[0].budget_runs == 48
    assert "at most 48 runs of about 1 s within 60 s" in capsys.readouterr().err


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), CliError("unreachable", "gone")])
def test_what_ends_the_experiments_leaves_the_verdict(problem, capsys):
    code, printed, _ = confirmed(problem)
    assert code is Exit.DIFFERENT and printed == [INDICATED]
    assert "the verdict above stands; detctl explain a1 continues" in capsys.readouterr().err
    code, printed, _ = confirmed(problem, first_verdict=False)
    assert code is Exit.DIFFERENT and printed == [INDICATED], "it is printed once, at the end"


def test_without_experiments_the_verdict_is_not_printed_again(capsys):
    code, printed, _ = confirmed({**INDICATED, "explained": True, "experiments": []})
    assert code is Exit.DIFFERENT and printed == [INDICATED]
    assert "no experiment can test this difference; the verdict above stands" in capsys.readouterr().err


def test_the_time_budget_ends_the_experiments(capsys):
    def wait(coordinator):
        while not coordinator.cancelled:
            time.sleep(0.01)
        return INDICATED

    code, printed, coordinator = confirmed(wait, within_s=0.3, elapsed_s=0.2)
    assert code is Exit.DIFFERENT and printed == [INDICATED] and coordinator.cancelled
    assert "did not finish within 0 s" in capsys.readouterr().err


def test_experiments_that_do_not_fit_are_not_started(capsys):
    code, printed, coordinator = confirmed(CONFIRMED, within_s=60.0, elapsed_s=200.0)
    assert code is Exit.DIFFERENT and printed == [INDICATED] and not coordinator.requests
    assert "a run takes about 100 s and experiments may take 60 s" in capsys.readouterr().err


def test_how_many_runs_fit():
    assert runs_within(Confirmation(60.0), 10.0, 2) == 12
    assert runs_within(Confirmation(60.0, budget_runs=4), 10.0, 2) == 4
    assert runs_within(Confirmation(60.0), 0.0, 0) == 48


def test_only_different_runs_without_experiments_are_unconfirmed():
    assert is_unconfirmed(INDICATED)
    assert not is_unconfirmed(CONFIRMED)
    assert not is_unconfirmed({"outcome": "identical"})
