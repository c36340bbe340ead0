"""What WatchAudit sends of runs that agents work on."""

from __future__ import annotations

from dataclasses import replace

from detctl_coordinator.domain.audit import AuditRequest
from detctl_coordinator.domain.machine import Machine, Working
from detctl_coordinator.domain.run import Arm, RunSpec, RunState
from detctl_coordinator.scheduling import audit_lifecycle as lifecycle
from detctl_coordinator.scheduling.progress import working_on
from detctl_coordinator.storage.documents import machine_from_json, machine_to_json
from detctl_coordinator.wire.audits import progress_to_proto
from detctl_coordinator.wire.control import working_from_heartbeat
from detctl_proto.v1 import agents_pb2
from detctl_proto.v1 import audits_pb2 as pb

TRAINING = agents_pb2.RUN_ACTIVITY_TRAINING


def test_what_an_agent_reports_reaches_who_watches():
    sent = agents_pb2.Heartbeat(
        runs=[
            agents_pb2.RunProgress(
                run_id="a.000", attempt=1, step=11, records=70, activity=TRAINING, steps_done=12, elapsed_s=45,
                last_output="loss 0.3 password=hunter2\x1b[2J" + "x" * 1000,
            )
        ]
    )  # fmt: skip
    working = working_from_heartbeat(sent)
    machine = machine_from_json(machine_to_json(Machine("gpu1", working=working)))
    assert machine.working == working
    specs = [
        RunSpec("a.000", "a", "digits", Arm("gpu1"), 0),
        RunSpec("a.001", "a", "digits", Arm("gpu1"), 1, purpose="experiment", step_to=8),
    ]
    audit = replace(lifecycle.plan("a", AuditRequest("digits", ("gpu1",)), specs, 1.0), trying="equal settings")
    running = {run_id: replace(run, state=RunState.RUNNING, attempt=1) for run_id, run in audit.runs.items()}
    audit = replace(audit, runs=running)
    message = progress_to_proto(audit, 0.0, working_on(audit, {"gpu1": machine}))
    first, second = message.runs
    assert (first.activity, first.steps_done, first.step_to, first.elapsed_s) == (TRAINING, 12, 32, 45)
    assert first.last_output.startswith("loss 0.3 password=[redacted]") and len(first.last_output) <= 200
    assert first.purpose == pb.RUN_PURPOSE_TWIN
    assert (second.activity, second.step_to, second.purpose) == (0, 8, pb.RUN_PURPOSE_EXPERIMENT)
    assert (message.experiments_done, message.experiments_known, message.trying) == (0, 1, "equal settings")
    early = progress_to_proto(replace(audit, stop_after_step=20), 0.0, {})
    assert [run.step_to for run in early.runs] == [21, 8]


def test_another_attempt_and_another_machine_are_not_what_is_watched():
    audit = lifecycle.plan(
        "a", AuditRequest("digits", ("gpu1",)), [RunSpec("a.000", "a", "digits", Arm("gpu1"), 0)], 1.0
    )
    earlier = Machine("gpu1", working=(Working("a.000", 7, activity=TRAINING),))
    other = Machine("gpu2", working=(Working("a.000", 0, activity=TRAINING),))
    assert working_on(audit, {"gpu1": earlier, "gpu2": other}) == {}


def test_a_replica_of_an_earlier_version_can_read_the_machine():
    document = machine_to_json(Machine("gpu1", working=(Working("a.000", 1, 11, 70, TRAINING, 12, 45, "loss"),)))
    assert document["working"] == [["a.000", 1, 11, 70]]
