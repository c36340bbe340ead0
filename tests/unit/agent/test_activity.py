"""What an agent reports of a run for people who watch: what it is doing, and the last line of its output."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from detctl_agent.client import messages
from detctl_agent.commands.recording_progress import format_progress
from detctl_agent.jobs.job import JobProgress
from detctl_agent.recording.ranks import Ranks
from detctl_agent.runs.activity import Activity, has_loaded_torch
from detctl_agent.runs.outcome import Progress
from detctl_agent.state.output import TAIL_BYTES, OutputCapture
from detctl_probe.transport import frames
from detctl_proto.limits import OUTPUT_LINE_CHARS_MAX
from detctl_proto.v1 import agents_pb2


class Output:
    """A captured stream that the test writes to."""

    def __init__(self, folder: Path) -> None:
        reader, self._writer = os.pipe()
        self.capture = OutputCapture(reader, folder / "stdout", 1 << 20)

    def last_line_after(self, text: str) -> str:
        os.write(self._writer, text.encode())
        assert self.capture.read()
        return self.capture.last_line()

    def close(self) -> None:
        os.close(self._writer)
        self.capture.close()


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    made = Output(tmp_path)
    yield made
    made.close()


def test_the_last_complete_line_without_colours_and_control_characters(output: Output) -> None:
    assert output.last_line_after("one\ntwo\nthr") == "two"
    assert output.last_line_after("ee\r") == "three"  # a progress bar
    assert output.last_line_after("\x1b[31mfour\x1b[0m\t5\x07\n\n  \n") == "four 5"
    assert output.last_line_after("x" * 1000 + "\n") == "x" * OUTPUT_LINE_CHARS_MAX


def test_a_credential_is_never_in_it(output: Output) -> None:
    assert "hunter2" not in output.last_line_after("login password: hunter2\n")
    token = "hf_abcdefghijklmnopqrstuvwx0123"
    assert output.last_line_after(token[:8]) == "login password: [redacted]"  # half a token waits for its other half
    assert output.last_line_after(token[8:] + "\n") == "[redacted]"


def test_a_line_whose_beginning_is_no_longer_known_is_left_out(output: Output) -> None:
    assert output.last_line_after("password=" + "y" * (TAIL_BYTES + 10) + "\n") == ""
    assert output.last_line_after("next\n") == "next"


def test_a_process_without_torch_is_seen_as_such() -> None:
    assert not has_loaded_torch(1 << 30)


def test_the_probes_report_of_the_import_is_no_data() -> None:
    ranks = Ranks("r", 1, "module", lambda: 0.0)
    process = ranks.connect()
    assert ranks.frame(process, frames.HELLO, frames.dump_json({"v": 1, "pid": 1})) == []
    assert not ranks.has_imported
    assert ranks.frame(process, frames.IMPORTED, b"") == []
    assert ranks.has_imported and ranks.count == 0


def test_a_heartbeat_has_all_of_it() -> None:
    first = JobProgress("r1", 1, None, 0, Activity.IMPORTING, 4)
    second = JobProgress("r2", 2, 0, 7, Activity.TRAINING, 9, "loss 1 \udc80")
    one, two = messages.heartbeat([first, second]).heartbeat.runs
    assert (one.activity, one.steps_done, one.elapsed_s) == (agents_pb2.RUN_ACTIVITY_IMPORTING, 0, 4)
    assert (two.activity, two.step, two.steps_done, two.records) == (agents_pb2.RUN_ACTIVITY_TRAINING, 0, 1, 7)
    assert two.last_output.startswith("loss 1 ")


@pytest.mark.parametrize("activity", list(Activity))
def test_every_activity_is_one_of_the_contract(activity: Activity) -> None:
    assert agents_pb2.RunActivity.Value(f"RUN_ACTIVITY_{activity.name}")


def test_a_recording_says_its_step_once_it_has_one() -> None:
    assert format_progress(Progress(), 32) == "preparing the run"
    assert format_progress(Progress(activity=Activity.IMPORTING), 32) == "importing torch"
    training = Progress(step=11, activity=Activity.TRAINING)
    assert (format_progress(training, 32), format_progress(training, None)) == ("step 12 of 32", "step 12")


def test_the_times_of_an_import_and_of_steps_are_kept() -> None:
    ranks = Ranks("r1", 1, "module", lambda: 20.0)
    process = ranks.connect()
    ranks.frame(process, frames.HELLO, b'{"v": 1}')
    ranks.frame(process, frames.IMPORTED, b'{"began_at": 10.5, "ended_at": 14.0}')
    assert (ranks.times.import_began, ranks.times.import_ended) == (10.5, 14.0)
    ranks.frame(process, frames.STEP, frames.STEP_LAYOUT.pack(0, 0))
    assert ranks.times.first_step_ended == 20.0
