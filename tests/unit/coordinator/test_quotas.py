"""Quotas: what one caller has is counted for that caller, and the sentence says the limit, the number and what to do."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import pytest
from detctl_coordinator.domain.audit import AuditRequest
from detctl_coordinator.domain.identity import LOCAL, Caller, Role
from detctl_coordinator.domain.run import Arm, RunSpec, RunState
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.main import main
from detctl_coordinator.observability.logs import KEYS_MAX, LIMITED_LINES, LIMITED_S, LineLimiter
from detctl_coordinator.quotas.penalties import PENALTY_S, Penalties
from detctl_coordinator.quotas.quotas import LOCAL_TIMES, Quota, Quotas
from detctl_coordinator.scheduling import audit_lifecycle as lifecycle
from detctl_coordinator.server.settings import Settings

SUE, MACHINE = Caller("sue", Role.SUBMITTER), Caller("sue", Role.MACHINE)
QUOTA = Quota(max_open_audits=2, max_planned_runs=5, max_streams=1, max_watch_calls=1, max_calls=1)
AUDITS, AGENTS = "/detctl.v1.Audits/", "/detctl.v1.Agents/"


def audit(number, owner, runs=2):
    specs = [RunSpec(f"{number}.{i}", str(number), "r", Arm("gpu1"), i) for i in range(runs)]
    return lifecycle.plan(str(number), AuditRequest("r", ("gpu1",)), specs, 0.0, owner)


@pytest.mark.parametrize(
    ("methods", "says"),
    [
        (
            (AUDITS + "ListRuns", AUDITS + "Show"),
            "sue has 1 open calls on this coordinator; the limit is 1 (--max-calls)",
        ),
        ((AGENTS + "Ingest", AGENTS + "Control"), "1 open streams on this coordinator; the limit is 1 (--max-streams)"),
        ((AUDITS + "WatchAudit",) * 2, "1 open watch calls on this coordinator; the limit is 1 (--max-watch-calls)"),
    ],
)
def test_calls_under_way(methods, says):
    quotas = Quotas(QUOTA)
    with quotas.call(SUE, methods[0]):
        with pytest.raises(RefusedCallError) as caught, quotas.call(SUE, methods[1]):
            pass
        assert (
            caught.value.code is Code.RESOURCE_EXHAUSTED
            and says in caught.value.text
            and "end one first" in caught.value.text
        )
        with quotas.call(MACHINE, methods[1]):
            pass  # of the same name, and somebody else
    with quotas.call(SUE, methods[1]):
        pass


def test_a_call_that_fails_is_over():
    quotas = Quotas(QUOTA)
    for _ in range(3):
        with pytest.raises(ValueError), quotas.call(SUE, AUDITS + "Show"):
            raise ValueError


def test_kinds_of_calls_are_counted_apart():
    with ExitStack() as stack:
        for method in (AUDITS + "Show", AUDITS + "WatchAudit", AGENTS + "Ingest"):
            stack.enter_context(Quotas(QUOTA).call(SUE, method))


def test_the_coordinators_own_user_has_more():
    quotas = Quotas(QUOTA)
    with ExitStack() as stack:
        for _ in range(LOCAL_TIMES):
            stack.enter_context(quotas.call(LOCAL, AUDITS + "WatchAudit"))
        with pytest.raises(
            RefusedCallError, match=f"{LOCAL_TIMES} times --max-watch-calls for the coordinator's own user"
        ):
            stack.enter_context(quotas.call(LOCAL, AUDITS + "WatchAudit"))


def test_open_audits_and_their_runs():
    quotas, mine = Quotas(QUOTA), SUE.name
    quotas.check_audits(SUE, [audit(1, mine)], 3)
    quotas.check_audits(SUE, [audit(n, "") for n in range(9)] + [audit(n, "machine sue") for n in range(10, 19)], 5)
    with pytest.raises(
        RefusedCallError, match=r"sue has 2 unfinished audits; the limit is 2 \(--max-open-audits\): wait"
    ):
        quotas.check_audits(SUE, [audit(1, mine, 1), audit(2, mine, 1)], 1)
    with pytest.raises(RefusedCallError, match=r"sue has 2 unfinished runs and requests 4 more; the limit is 5"):
        quotas.check_audits(SUE, [audit(1, mine)], 4)
    old = audit(1, mine)
    over = replace(old, runs={name: replace(run, state=RunState.SEALED) for name, run in old.runs.items()})
    quotas.check_audits(SUE, [over], 4)
    quotas.check_audits(LOCAL, [audit(n, "") for n in range(2 * LOCAL_TIMES - 1)], 1)


def test_settings_and_flags(capsys):
    assert Settings(max_open_audits=7).quota == replace(Settings().quota, max_open_audits=7)
    assert main(["--max-open-audits", "0"]) == 2
    assert "--max-open-audits" in capsys.readouterr().err


def test_lines_of_one_kind_are_left_out():
    now = [0.0]
    limiter = LineLimiter(lambda: now[0])
    given = [limiter.suffix("a") for _ in range(3 * LIMITED_LINES)]
    assert given[: LIMITED_LINES - 1] == [""] * (LIMITED_LINES - 1) and "are dropped" in given[LIMITED_LINES - 1]
    assert given[LIMITED_LINES:] == [None] * 2 * LIMITED_LINES
    assert limiter.suffix("b") == ""
    now[0] = LIMITED_S
    assert limiter.suffix("a") == f" ({2 * LIMITED_LINES} similar lines were dropped)"
    for number in range(2 * KEYS_MAX):
        limiter.suffix(number)
    assert len(limiter._seen) == KEYS_MAX


async def test_a_penalty_is_sat_out_by_its_caller_alone():
    now, slept = [10.0], []

    async def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    penalties = Penalties(lambda: now[0], sleep)
    penalties.add("a")
    penalties.add("a")
    await penalties.wait("b")
    assert slept == []
    await penalties.wait("a")
    assert sum(slept) == 2 * PENALTY_S
    await penalties.wait("a")
    assert sum(slept) == 2 * PENALTY_S and not penalties._until
