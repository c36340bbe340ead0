"""Joined runs over any history of joins, takeovers and ends: a run keeps its holder, and only who may takes it over."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from detctl_coordinator.domain.audit import Audit, AuditRequest
from detctl_coordinator.domain.identity import LOCAL, Caller, Role
from detctl_coordinator.domain.lifecycle_events import Cancel, RunEnded, RunJoined
from detctl_coordinator.domain.run import Arm, RunOutcome, RunSpec, RunState
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.planning.joins import run_to_join
from detctl_coordinator.planning.run_holders import Sender, may_manage, new_secret, refusal_reason
from detctl_coordinator.scheduling import audit_lifecycle as lifecycle
from hypothesis import given, settings
from hypothesis import strategies as st

OWNER, SUE, MALLORY = (Caller(name, Role.SUBMITTER) for name in ("owner", "sue", "mallory"))
CALLERS = (OWNER, SUE, MALLORY, LOCAL, Caller("root", Role.ADMIN))


def new_audit() -> Audit:
    specs = [RunSpec(f"a.{number:03d}", "a", "toy", Arm("gpu1"), number) for number in range(2)]
    request = AuditRequest("toy", ("gpu1",), join_only=True, requested_by="somebody", joiners=("sue", "mallory", "bob"))
    return lifecycle.plan("a", request, specs, 0.0, "owner")


@dataclass(frozen=True)
class Joining:
    """What JoinAudit makes of a call."""

    caller: Caller
    boot_id: str
    again: bool

    def of(self, audit: Audit, digest: str) -> RunJoined | None:
        try:
            run = run_to_join(audit, "gpu1", "", self.boot_id, self.caller, again=self.again)
        except RefusedCallError:
            return None
        return self.event(run.spec.run_id, audit, digest)

    def event(self, run_id: str, audit: Audit, digest: str) -> RunJoined:
        manages = may_manage(audit, self.caller)
        return RunJoined(run_id, self.boot_id, self.again, self.caller.name, digest, manages)


JOINS = st.builds(Joining, st.sampled_from(CALLERS), st.sampled_from(["x", "y"]), st.booleans())
RUNS = st.sampled_from(["a.000", "a.001", "unknown"])
ENDS = st.builds(RunEnded, RUNS, st.integers(0, 4), st.builds(RunOutcome, end=st.sampled_from(["exit", "lost"])))
# A join at a run that was free when it was looked for, and may be somebody's by now.
LATE = st.tuples(JOINS, RUNS)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(JOINS, JOINS, LATE, ENDS, st.just(Cancel())), max_size=30))
def test_any_history(history: list[object]) -> None:
    audit = new_audit()
    for number, step in enumerate(history):
        caller: Caller | None = None
        event: object = step
        if isinstance(step, Joining):
            event, caller = step.of(audit, f"digest-{number}"), step.caller
        elif isinstance(step, tuple):
            event, caller = step[0].event(step[1], audit, f"digest-{number}"), step[0].caller
        if event is None:
            continue
        after = lifecycle.apply(audit, event)  # type: ignore[arg-type]
        for run_id, old in audit.runs.items():
            new = after.runs[run_id]
            assert new.closed_through >= old.closed_through, "what is closed stays closed"
            if new.attempt > old.attempt:
                assert old.closed_through == old.attempt or new.closed_through >= old.attempt
                assert caller is not None and new.holder == caller.name
            held = old.state is RunState.RUNNING and old.outcome is None
            if held and caller is not None and new != old:
                assert caller.name == old.holder or may_manage(audit, caller), "nobody else changes a run that is held"
            if new.secret_digest != old.secret_digest and new.secret_digest:
                assert caller is not None and new.holder == caller.name
        assert lifecycle.apply(after, event) == after  # type: ignore[arg-type]
        audit = after


def test_a_run_is_found_again_by_the_caller_who_has_it_alone() -> None:
    audit = new_audit()
    for number, caller in enumerate((SUE, MALLORY)):
        event = Joining(caller, "x", again=False).of(audit, f"digest-{number}")
        assert event is not None
        audit = lifecycle.apply(audit, event)
    assert [run.holder for run in audit.runs.values()] == ["sue", "mallory"], "one name of a start, two callers"
    assert run_to_join(audit, "gpu1", "", "x", SUE, again=False).spec.run_id == "a.000"
    with pytest.raises(RefusedCallError) as caught:
        run_to_join(audit, "gpu1", "", "x", Caller("bob", Role.SUBMITTER), again=True)
    assert caught.value.code is Code.PERMISSION_DENIED and "belong to mallory, sue" in str(caught.value)
    for caller in (OWNER, LOCAL):
        assert run_to_join(audit, "gpu1", "", "z", caller, again=True).spec.run_id == "a.000"


def test_a_run_is_joined_by_whom_the_audit_names() -> None:
    audit = new_audit()
    with pytest.raises(RefusedCallError, match="--joiners eve to allow it") as caught:
        run_to_join(audit, "gpu1", "", "x", Caller("eve", Role.SUBMITTER), again=False)
    assert caught.value.code is Code.PERMISSION_DENIED
    for caller in (*CALLERS, Caller("bob", Role.SUBMITTER)):
        assert run_to_join(audit, "gpu1", "", "x", caller, again=False).spec.run_id == "a.000"


def test_the_secret_is_asked_for_and_its_digest_opens_nothing() -> None:
    secret, digest = new_secret()
    event = RunJoined("a.000", "x", holder="sue", secret_digest=digest)
    run = lifecycle.apply(new_audit(), event).runs["a.000"]
    assert refusal_reason(run, Sender(SUE), secret, by_users=True) == ""
    for sender, shown, says in (
        (Sender(SUE), "", "upgrade detctl"),
        (Sender(SUE), digest, "another holder now"),
        (Sender(SUE), secret[:-1], "another holder now"),
        (Sender(MALLORY), secret, "belongs to sue, not to mallory"),
        (Sender(LOCAL), secret, "belongs to sue, not to local"),
        (Sender(Caller("gpu1", Role.MACHINE), "gpu1"), secret, "not to gpu1"),
    ):
        assert says in refusal_reason(run, sender, shown, by_users=True)
    assert "no holder now" in refusal_reason(
        new_audit().runs["a.000"], Sender(Caller("", Role.SUBMITTER)), "", by_users=True
    )


def test_an_audit_of_before_owners_were_kept_is_managed_by_who_asked_for_it() -> None:
    audit = lifecycle.plan("a", AuditRequest("toy", ("gpu1",), requested_by="sue"), [], 0.0)
    assert [may_manage(audit, caller) for caller in (SUE, MALLORY, LOCAL)] == [True, False, True]
