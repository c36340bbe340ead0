"""Rules that hold for any sequence of events: duplicates, reordering, restarts, several replicas in any order."""

from __future__ import annotations

from dataclasses import replace

from detctl_coordinator.domain.audit import Audit, AuditRequest, AuditState
from detctl_coordinator.domain.lifecycle_events import (
    AgentGone,
    AgentSeen,
    Assign,
    Cancel,
    Explain,
    Instruction,
    Judged,
    MachineAbsent,
    RunAccepted,
    RunDamaged,
    RunEnded,
    RunProgress,
    RunRefused,
    RunRunning,
    RunVerified,
    StagesAnswered,
    Stop,
)
from detctl_coordinator.domain.run import Arm, RunOutcome, RunRecord, RunSpec, RunState
from detctl_coordinator.scheduling import audit_lifecycle as lifecycle
from hypothesis import given, settings
from hypothesis import strategies as st

MACHINES = ("gpu1", "gpu2")
SEEDS = 600


def new_audit(twins: int = 2) -> Audit:
    specs = [
        RunSpec(run_id=f"a.{i:03d}", audit_id="a", recipe="digits", arm=Arm(machine), twin=twin)
        for i, (twin, machine) in enumerate((t, m) for t in range(twins) for m in MACHINES)
    ]
    return lifecycle.plan("a", AuditRequest("digits", MACHINES, twins=twins), specs, 1.0)


def wanted_of(audit: Audit, machine: str) -> list[Instruction]:
    return [instruction for name, instruction in lifecycle.instructions(audit) if name == machine]


RUNS = st.sampled_from([f"a.{i:03d}" for i in range(7)])  # two of them zoom, one unknown
ATTEMPTS = st.integers(0, 4)
MACHINE = st.sampled_from(MACHINES)
OUTCOMES = st.builds(
    RunOutcome, end=st.sampled_from(["exit", "window", "stop", "timeout", "lost"]), exit_code=st.integers(-9, 1)
)
EVENTS = st.one_of(
    st.builds(
        AgentSeen,
        MACHINE,
        st.sampled_from(["b1", "b2", "b3"]),
        st.frozensets(st.tuples(RUNS, ATTEMPTS), max_size=3),
        st.integers(1, 3),
        st.integers(0, 2),
    ),
    st.builds(AgentGone, MACHINE),
    st.builds(MachineAbsent, MACHINE, st.just(60.0)),
    st.builds(RunAccepted, RUNS, ATTEMPTS),
    st.builds(RunRunning, RUNS, ATTEMPTS, st.just({"python": {"version": "3.11"}})),
    st.builds(RunProgress, RUNS, ATTEMPTS, st.integers(0, 40), st.integers(0, 10**6)),
    st.builds(RunEnded, RUNS, ATTEMPTS, OUTCOMES),
    st.builds(RunRefused, RUNS, ATTEMPTS, st.just("no")),
    st.builds(RunDamaged, RUNS, ATTEMPTS, st.just("crc")),
    st.builds(RunVerified, RUNS, ATTEMPTS, st.sampled_from(["", "segment 3 is missing"])),
    st.builds(StagesAnswered, st.integers(0, 30)),
)
ZOOM = tuple(
    RunSpec(f"a.{4 + i:03d}", "a", "digits", Arm(machine), 0, level="op", step_from=3, step_to=4, purpose="zoom")
    for i, machine in enumerate(MACHINES)
)
RARE = st.one_of(st.just(Cancel()), st.just(Judged("{}")), st.just(Judged("{}", ZOOM)))
# A cancellation ends everything: rare, so that long histories are tried too.
HISTORIES = st.lists(st.one_of(*[EVENTS] * 12, RARE), max_size=60)


def check_step(before: Audit, after: Audit) -> None:
    zooms = not before.runs_for("zoom") and bool(after.runs_for("zoom"))
    assert list(before.runs) == list(after.runs)[: len(before.runs)], "runs never go or move"
    assert zooms or len(before.runs) == len(after.runs), "runs come by a closer look alone, once"
    for run_id, old in before.runs.items():
        new = after.runs[run_id]
        assert new.spec == old.spec
        assert old.attempt <= new.attempt <= lifecycle.ATTEMPTS_MAX
        assert new.attempt - old.attempt <= 1
        assert new.closed_through >= old.closed_through, "an attempt that takes nothing new never takes anything again"
        if old.state.over:
            assert new == old, "a run ends once"
        if new.state.over and new.state is not RunState.CANCELLED:
            assert new.outcome is not None
        if old.state is RunState.WAITING and new.state in (RunState.ASSIGNED, RunState.RUNNING):
            assert new.attempt == old.attempt + 1, "a lost attempt never comes back to life"
        if new.state is RunState.WAITING:
            assert new.outcome is None and new.boot_id == ""
    order = [AuditState.RUNNING, AuditState.COMPARING, AuditState.DONE]
    if after.state is not AuditState.CANCELLED and before.state is not AuditState.CANCELLED:
        if zooms:
            assert before.state is AuditState.COMPARING and after.state is AuditState.RUNNING
        else:
            assert order.index(before.state) <= order.index(after.state) <= order.index(before.state) + 1
    if before.state in (AuditState.DONE, AuditState.CANCELLED):
        assert after == before
    if before.stop_after_step is not None:
        assert after.stop_after_step == before.stop_after_step
    assert (after.state is AuditState.RUNNING) == any(not run.state.over for run in after.runs.values())


def check_wanted(audit: Audit) -> None:
    for machine in MACHINES:
        for instruction in wanted_of(audit, machine):
            run_id = instruction.spec.run_id if isinstance(instruction, Assign) else instruction.run_id
            run = audit.runs[run_id]
            assert audit.state is AuditState.RUNNING
            assert run.spec.arm.machine == machine
            assert not run.state.over and run.outcome is None
            assert instruction.attempt == run.attempt
            assert isinstance(instruction, Stop) == (run.state is RunState.RUNNING)
    for run_id, attempt in lifecycle.to_verify(audit):
        assert not audit.runs[run_id].state.over and audit.runs[run_id].attempt == attempt


@settings(max_examples=SEEDS, deadline=None)
@given(HISTORIES)
def test_any_history(history: list[object]) -> None:
    audit = new_audit()
    for event in history:
        after = lifecycle.apply(audit, event)
        check_step(audit, after)
        check_wanted(after)
        assert lifecycle.apply(after, event) == after, "an event applied twice does what it does once"
        audit = after


@settings(max_examples=SEEDS, deadline=None)
@given(HISTORIES, st.integers(1, 3))
def test_slots_are_never_exceeded(history: list[object], slots: int) -> None:
    """With a fixed number of slots a machine never has more runs in hand."""
    audit = new_audit()
    for event in history:
        if isinstance(event, AgentSeen):
            event = replace(event, parallel_runs=slots, busy=0)
        audit = lifecycle.apply(audit, event)
        for machine in MACHINES:
            in_hand = [
                run
                for run in audit.runs.values()
                if run.spec.arm.machine == machine
                and run.state in (RunState.ASSIGNED, RunState.RUNNING)
                and run.outcome is None
            ]
            assert len(in_hand) <= slots


class FaithfulAgent:
    """An agent that does what it is told, across restarts; `seen` tells the audit of it as its heartbeat would."""

    def __init__(self, machine: str) -> None:
        self.machine, self.boot = machine, 0
        self.has: dict[tuple[str, int], str] = {}

    def restart(self) -> None:
        self.boot += 1
        self.has.clear()

    def seen(self) -> AgentSeen:
        return AgentSeen(self.machine, f"b{self.boot}", frozenset(self.has))

    def advance(self, audit: Audit) -> list[object]:
        """Takes what is wanted, moves each run it has one phase on; returns the events."""
        for instruction in wanted_of(audit, self.machine):
            if isinstance(instruction, Assign):
                self.has.setdefault((instruction.spec.run_id, instruction.attempt), "new")
        events: list[object] = []
        for (run_id, attempt), phase in list(self.has.items()):
            if phase == "new":
                events.append(RunAccepted(run_id, attempt))
                self.has[run_id, attempt] = "accepted"
            elif phase == "accepted":
                events.append(RunRunning(run_id, attempt))
                self.has[run_id, attempt] = "running"
            else:
                events.append(RunEnded(run_id, attempt, RunOutcome("window")))
                del self.has[run_id, attempt]
        return events


@settings(max_examples=SEEDS, deadline=None)
@given(
    st.lists(
        st.tuples(MACHINE, st.sampled_from(["advance", "restart", "gone", "seen", "replay", "drop"])), max_size=40
    ),
    st.randoms(use_true_random=False),
)
def test_every_audit_ends_once_faults_stop(faults: list[tuple[str, str]], random: object) -> None:
    """After any mix of restarts, lost leases, lost and replayed messages, faithful agents bring the audit to its end."""
    audit = new_audit()
    agents = {machine: FaithfulAgent(machine) for machine in MACHINES}
    past: list[object] = []

    def tell(*events: object) -> None:
        nonlocal audit
        for event in events:
            before, audit = audit, lifecycle.apply(audit, event)
            check_step(before, audit)
            past.append(event)

    for machine, fault in faults:
        agent = agents[machine]
        if fault == "restart":
            agent.restart()
        elif fault == "gone":
            tell(AgentGone(machine))
        elif fault == "replay" and past:
            tell(random.choice(past))  # type: ignore[attr-defined]
        elif fault == "drop":
            agent.advance(audit)  # its messages are lost; a lost ENDED is sent again in real life, here its lease ends
            tell(AgentGone(machine))
        else:
            tell(agent.seen())
            if fault == "advance":
                tell(*agent.advance(audit))
    for _ in range(200):
        if audit.state is not AuditState.RUNNING:
            break
        for agent in agents.values():
            tell(agent.seen())
            tell(*agent.advance(audit))
        # What an agent no longer has and never reported: its restart or lease would tell; here both do.
        for agent in agents.values():
            held = {run_id for run_id, _ in agent.has}
            stuck = [
                run.spec.run_id
                for run in audit.runs.values()
                if run.spec.arm.machine == agent.machine and run.state is RunState.RUNNING and run.outcome is None
            ]
            if any(run_id not in held for run_id in stuck):
                tell(AgentGone(agent.machine))
        tell(*[RunVerified(run_id, attempt) for run_id, attempt in lifecycle.to_verify(audit)])
    assert audit.state is AuditState.COMPARING
    for run in audit.runs.values():
        assert run.state is RunState.SEALED or (run.state is RunState.FAILED and run.attempt == lifecycle.ATTEMPTS_MAX)
    closer = lifecycle.apply(audit, Judged('{"outcome": "different"}', ZOOM))
    assert closer.state is AuditState.RUNNING and closer.verdict_json
    assert {i.spec.run_id for m in MACHINES for i in wanted_of(closer, m) if isinstance(i, Assign)} == set()
    closer = lifecycle.apply(closer, AgentSeen("gpu1", "b9"))
    assert [i.spec.purpose for i in wanted_of(closer, "gpu1") if isinstance(i, Assign)] == ["zoom"]
    done = lifecycle.apply(audit, Judged('{"outcome": "identical"}'))
    assert done.state is AuditState.DONE and done.verdict_json


def test_a_verdict_stands_if_only_its_experiments_are_cancelled() -> None:
    audit = lifecycle.apply(new_audit(), Cancel())
    trial = RunRecord(RunSpec("a.009", "a", "digits", Arm(MACHINES[0]), 0, purpose="experiment"))
    request = replace(audit.request, explain=True)
    running = replace(audit, request=request, state=AuditState.RUNNING, verdict_json="{}", runs={"a.009": trial})
    cancelled = lifecycle.apply(running, Cancel("enough"))
    assert cancelled.state is AuditState.DONE and cancelled.verdict_json == "{}"
    assert cancelled.runs["a.009"].state is RunState.CANCELLED
    again = lifecycle.apply(cancelled, Explain(4, False))
    assert again.state is AuditState.RUNNING and again.runs["a.009"].state is RunState.WAITING
    zoomed = replace(running, runs={"a.009": replace(trial, spec=replace(trial.spec, purpose="zoom"))})
    assert lifecycle.apply(zoomed, Cancel()).state is AuditState.CANCELLED
