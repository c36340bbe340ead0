"""A real audit on a terminal and in a pipe: the training waits for the test, so that what is shown meanwhile is known."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

import pytest

pytestmark = pytest.mark.slow

PATIENCE_S = 120.0
TRAIN = """
import os, sys
import torch
torch.manual_seed(0)
model = torch.nn.Linear(4, 2)
for step in range(6):
    loss = model(torch.ones(3, 4)).square().mean()
    model.zero_grad()
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad
    if step == 3:
        print("epoch 0 password=hunter2 loss", "x" * 300, flush=True)
        open(sys.argv[1]).read()  # until the test opens and closes it
"""


@pytest.fixture
def waiting(deployment, tmp_path):
    """A training that stops after its third step until `go` of its fifo."""
    (deployment.folder / "train.py").write_text(TRAIN)
    fifo = tmp_path / "go"
    os.mkfifo(fifo)
    deployment.environ["DETCTL_HEARTBEAT_S"] = "0.5"
    return deployment, fifo


class Shown:
    """Collects what a command writes to a descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.text = ""

    def until(self, *wanted: str) -> str:
        """Reads until everything wanted was written after now, or the end; returns that part."""
        start, deadline = len(self.text), time.monotonic() + PATIENCE_S
        while not wanted or not all(one in self.text[start:] for one in wanted):
            assert time.monotonic() < deadline, self.text
            if not select.select([self._descriptor], [], [], 1.0)[0]:
                continue
            with contextlib.suppress(OSError):  # the other end of a terminal is closed
                if data := os.read(self._descriptor, 65536):
                    self.text += data.decode("utf-8", "replace")
                    continue
            assert not wanted, self.text
            break
        return self.text[start:]


def audit(deployment, fifo, stderr, *options: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "detctl_cli", "audit", "--twins", "1", "--steps", "0:6", *options, "--",
         "python", "train.py", str(fifo)],
        cwd=deployment.folder, env={**deployment.environ, **variables}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=stderr, text=True,
    )  # fmt: skip


def test_a_pipe_gets_lines_and_a_heartbeat_and_json_is_not_disturbed(waiting):
    deployment, fifo = waiting
    reader, writer = os.pipe()
    with audit(deployment, fifo, writer, "--json") as process:
        os.close(writer)
        shown = Shown(reader)
        label = f"{os.uname().nodename.lower()}"
        shown.until("is training: step")
        beat = shown.until("at step 3 of 6; 0 of 1 run done\n", "at step 3 of 6; 0 of 1 run done\n")
        assert f"{label}" in beat
        fifo.write_text("go")
        shown.until()
        assert json.loads(process.stdout.read())["schema"] == "detctl.verdict/v1"
    os.close(reader)
    lines = shown.text.splitlines()
    assert lines[0] == "detctl: starting the coordinator and the agent of this command"
    assert all(line.startswith("detctl: ") for line in lines)
    assert "hunter2" not in shown.text and "\x1b" not in shown.text


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_a_bar_and_the_last_line_of_output(waiting, columns):
    deployment, fifo = waiting
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with audit(deployment, fifo, theirs, TERM="xterm", COLUMNS=str(columns)) as process:
        os.close(theirs)
        shown = Shown(ours)
        shown.until("starting the coordinator")
        shown.until("step 3 of 6", "epoch 0 password=[redacted] loss xxx", "…")
        fifo.write_text("go")
        shown.until()
        assert process.stdout.read().startswith(("IDENTICAL", "UNVERIFIED"))
    os.close(ours)
    assert "hunter2" not in shown.text
    assert "\x1b[?25h" in shown.text  # the cursor is back


def test_quiet_prints_only_the_verdict(waiting):
    deployment, fifo = waiting
    reader, writer = os.pipe()
    with audit(deployment, fifo, writer, "--quiet") as process:
        os.close(writer)
        descriptor = os.open(fifo, os.O_WRONLY)  # returns when the training waits
        os.close(descriptor)
        shown = Shown(reader)
        shown.until()
        assert process.stdout.read().splitlines()[0].startswith(("IDENTICAL", "UNVERIFIED"))
    os.close(reader)
    assert shown.text == ""


def test_a_recording_of_a_silent_training_has_a_heartbeat(waiting):
    deployment, fifo = waiting
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-m", "detctl_cli", "record", "-o", "r1", "--steps", "0:6", "--", "python", "train.py", str(fifo)],
        cwd=deployment.folder, env=deployment.environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writer,
    ) as process:  # fmt: skip
        os.close(writer)
        shown = Shown(reader)
        shown.until("s: step 3 of 6\n")
        fifo.write_text("go")
        shown.until()
    os.close(reader)
    assert process.returncode == 0, shown.text
    assert shown.text.startswith("detctl: preparing the recording\n")
