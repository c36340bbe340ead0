"""What a person sees of a command that takes long: lines in a pipe, a table on a terminal, never more than its width."""

from __future__ import annotations

import io
import re
import threading

import pytest
from detctl_cli.progress.progress import Progress
from detctl_cli.progress.table import audit_lines, stage_line
from detctl_cli.progress.view import Paces, heartbeat, news, shown_runs, view_of
from detctl_proto.v1 import agents_pb2 as agents
from detctl_proto.v1 import audits_pb2 as pb
from rich.cells import cell_len
from rich.console import Console, Group

TRAINING, STARTING = agents.RUN_ACTIVITY_TRAINING, agents.RUN_ACTIVITY_STARTING


def run(number: int, state: str = "running", **fields) -> pb.RunStatus:
    return pb.RunStatus(
        run_id=f"a1.{number:03d}", label=f"gpu1/default/base/twin-{number}", machine="gpu1", state=state,
        **{"step_to": 32, "attempt": 1, "purpose": pb.RUN_PURPOSE_TWIN, **fields},
    )  # fmt: skip


def audit(*runs: pb.RunStatus, **fields) -> pb.AuditProgress:
    return pb.AuditProgress(**{"audit_id": "a1", "state": "running", "runs": runs, **fields})


def views(*messages: pb.AuditProgress):
    paces = Paces()
    return [view_of(message, paces, 10.0 * number) for number, message in enumerate(messages)]


def test_a_pipe_gets_a_line_for_each_change():
    first, second, third, last = views(
        audit(run(0, activity=STARTING), run(1, "waiting")),
        audit(run(0, activity=STARTING, elapsed_s=3), run(1, "waiting")),
        audit(run(0, activity=TRAINING, steps_done=1, elapsed_s=6), run(1, "waiting")),
        audit(run(0, "sealed", step=31), run(1, "failed", message="boom\x1b[2J"), state="comparing"),
    )
    assert news(None, first) == ["audit a1 has 2 runs on 1 machine", "gpu1/default/base/twin-0 is starting Python"]
    assert news(first, second) == []
    assert news(second, third) == ["gpu1/default/base/twin-0 is training: step 1 of 32"]
    assert news(third, last) == [
        "gpu1/default/base/twin-0 is done after 32 steps, 6 s",
        "gpu1/default/base/twin-1 failed: boom[2J",
        "all runs have ended; comparing them",
    ]
    assert news(last, last) == []


def test_the_heartbeat_names_what_runs_and_how_many_are_done():
    (view,) = views(audit(run(0, "sealed"), run(1, activity=TRAINING, steps_done=12), run(2, "waiting")))
    assert heartbeat(view) == "gpu1/default/base/twin-1 at step 12 of 32; 1 of 3 runs done"
    (waiting,) = views(audit(run(0, "waiting"), run(1, "assigned")))
    assert heartbeat(waiting) == "2 runs waiting; 0 of 2 runs done"


def test_an_experiment_has_its_number_and_its_question():
    tried = run(7, activity=STARTING, purpose=pb.RUN_PURPOSE_EXPERIMENT)
    before, now = views(
        audit(run(0, "sealed")),
        audit(run(0, "sealed"), tried, experiments_done=2, experiments_known=8, trying="is it the listing order?"),
    )
    assert now.doing == "experiment 3 of 8: is it the listing order?"
    assert now.doing in news(before, now) and heartbeat(now).startswith(now.doing)


def test_the_remaining_time_follows_from_the_pace_since_the_first_look():
    first, second = views(
        audit(run(0, activity=TRAINING, steps_done=2)), audit(run(0, activity=TRAINING, steps_done=12))
    )
    assert first.runs[0].remaining_s is None
    assert second.runs[0].remaining_s == pytest.approx(20.0)
    (endless,) = views(audit(run(0, activity=TRAINING, steps_done=2, step_to=0)))
    assert (endless.runs[0].doing, endless.runs[0].total) == ("step 2", 0)


def test_many_runs_are_summarised():
    states = ["sealed"] * 40 + ["running"] * 4 + ["waiting"] * 56
    before, now = views(
        audit(*(run(number, "waiting") for number in range(100))),
        audit(*(run(number, state, activity=TRAINING, steps_done=3) for number, state in enumerate(states))),
    )
    assert news(before, now) == ["40 of 100 runs done"]
    assert heartbeat(now).endswith("2 more are running; 40 of 100 runs done")
    shown, rest = shown_runs(now, 20)
    assert [one.state for one in shown[:4]] == ["running"] * 4 and len(shown) == 19
    assert rest == "and 81 more: 41 waiting, 40 done"


def test_messages_of_an_older_coordinator_are_understood():
    old = pb.RunStatus(run_id="r", label="gpu1/default/base/twin-0", machine="gpu1", state="running", step=6)
    (view,) = views(audit(old))
    assert heartbeat(view) == "gpu1/default/base/twin-0 at step 7; 0 of 1 run done"


LONG = "epoch 3/90 ████████ 日本語 loss 0.31 " * 10
SHOWN = audit(
    run(0, "sealed", step=31),
    run(1, activity=TRAINING, steps_done=12, elapsed_s=45, last_output=LONG),
    run(2, "failed", message="exit code 1: " + "very long " * 40),
    run(3, "waiting"),
    fingerprints_per_s=1797.0,
    trying="is it the listing order? " * 10,
    experiments_known=8,
)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("plain", [False, True])
def test_no_line_of_the_table_is_wider_than_the_terminal(width, plain):
    (view,) = views(SHOWN)
    lines = audit_lines(view, width, 24, since_s=2.0, elapsed_s=75.0, plain=plain)
    assert all(cell_len(line.plain) < width for line in lines)
    console = Console(file=io.StringIO(), record=True, width=width, force_terminal=True)
    console.print(Group(*lines))
    text = console.export_text()
    rows = text.splitlines()
    assert rows[0].startswith("audit a1   1:15   2 of 4 runs done, 1 failed   1,797 fingerprints/s")
    assert len(rows) == 6  # nothing was wrapped
    (training,) = [row for row in rows if row.startswith("gpu1' ")]
    assert "step 12 of 32" in training and "0:47" in training
    assert rows[rows.index(training) + 1].strip().startswith("> epoch" if plain else "└ epoch")
    assert text.isascii() or not plain


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 50), (40, 8)])
def test_a_hundred_runs_fit_on_the_terminal(width, height):
    (view,) = views(audit(*(run(n, activity=TRAINING, steps_done=n + 1, last_output="loss 1") for n in range(100))))
    lines = audit_lines(view, width, height)
    assert len(lines) < height and all(cell_len(line.plain) < width for line in lines)
    assert lines[-1].plain.startswith("and ")


def test_a_stage_shows_how_far_it_is():
    assert re.fullmatch(r"\S comparing tensors  ━━━╌╌╌╌╌╌╌ 3 of 10  0:09", stage_line(
        "comparing tensors", 80, 9.0, done=3, of=10, timed=True
    ).plain)  # fmt: skip


class Lines(io.StringIO):
    """A pipe that counts what is written, and can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.more = threading.Condition()

    def write(self, text: str) -> int:
        with self.more:
            self.more.notify_all()
            return super().write(text)

    def wait_for(self, text: str) -> None:
        with self.more:
            assert self.more.wait_for(lambda: text in self.getvalue(), 30)


def test_a_silent_command_has_a_heartbeat(monkeypatch):
    monkeypatch.setenv("DETCTL_HEARTBEAT_S", "0.05")
    pipe = Lines()
    with Progress(pipe) as progress, progress:
        progress.stage("starting the agent")
        assert pipe.getvalue() == "detctl: starting the agent\n"  # at once
        pipe.wait_for("s: starting the agent\n")
        progress.update(audit(run(0, activity=TRAINING, steps_done=12)))
        pipe.wait_for("s: gpu1/default/base/twin-0 at step 12 of 32; 0 of 1 run done\n")
        progress.stop()
        after = pipe.getvalue()
    assert pipe.getvalue() == after


def test_what_usually_takes_no_time_gets_a_line_only_if_it_does():
    pipe = Lines()
    with Progress(pipe) as progress:
        progress.short_stage("comparing the runs")
        assert pipe.getvalue() == ""
        pipe.wait_for("detctl: comparing the runs\n")


def test_quiet_shows_only_what_is_logged():
    pipe = Lines()
    with Progress(pipe, quiet=True) as progress:
        progress.stage("starting the agent")
        progress.update(audit(run(0)))
        progress.log("the coordinator does not answer")
    assert pipe.getvalue() == "detctl: the coordinator does not answer\n"
