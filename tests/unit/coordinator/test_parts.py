"""Small parts: leases, addresses, tokens, logs, speed, machine documents, errors."""

from __future__ import annotations

import json
import logging
import os

import pytest
from detctl_coordinator.auth import token_file
from detctl_coordinator.domain.lifecycle_events import Stop
from detctl_coordinator.domain.machine import Machine, Recipe, Working
from detctl_coordinator.domain.run import Arm, RunOutcome, RunRecord, RunSpec, RunState
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.errors.translator import translate
from detctl_coordinator.scheduling.audit_lifecycle import stops_for_orphaned_runs
from detctl_coordinator.scheduling.connections import OUTBOX_MAX, Connection
from detctl_coordinator.scheduling.leases import Leases
from detctl_coordinator.scheduling.progress import Speed
from detctl_coordinator.scheduling.verdicts import no_data
from detctl_coordinator.server import listen
from detctl_coordinator.server.settings import age_s
from detctl_coordinator.storage.documents import machine_from_json, machine_to_json
from detctl_coordinator.storage.store import ConflictError, StoreError
from detctl_proto.log_lines import LineFormatter


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def tick(clock: Clock, leases: Leases, machine: Machine, seconds: int) -> None:
    """Time goes by while the same document is looked at every second."""
    for _ in range(seconds):
        clock.now += 1
        leases.observe([machine])


def test_a_lease_ends_when_the_beat_stops_changing_whatever_the_wall_clock_says():
    clock = Clock()
    leases = Leases(20.0, clock)
    early, late = (Machine("gpu1", beat=beat, last_seen_unix_s=seen) for beat, seen in (("x", 5.0), ("y", -3600.0)))
    leases.observe([early])
    tick(clock, leases, early, 19)
    assert leases.alive(early)
    leases.observe([late])  # a clock that was set back an hour is still a sign of life
    tick(clock, leases, late, 19)
    assert leases.alive(late) and not leases.expired("gpu1")
    tick(clock, leases, late, 2)
    assert not leases.alive(late) and leases.expired("gpu1")


def test_waiting_for_a_machine_begins_when_an_audit_wants_it():
    clock = Clock()
    leases = Leases(20.0, clock)
    machine = Machine("gpu1", beat="x", connected=False)
    leases.observe([machine])
    tick(clock, leases, machine, 1000)
    assert leases.missed_s("a", "gpu1") == 0
    tick(clock, leases, machine, 60)
    assert leases.missed_s("a", "gpu1") == 60
    leases.observe([Machine("gpu1", beat="y")])
    assert leases.missed_s("a", "gpu1") == 0


def test_machine_document_survives_json():
    machine = Machine(
        "gpu1",
        "b1",
        "0.1",
        {"digits": Recipe("digits", "aa", {"data": "/d"}, ("data",), {"lr": "x"}, "c0", ("python", "t.py"), 60)},
        {"default": {"cpu": "default"}},
        {"machine": {"cores": 2}},
        2,
        (Working("a.000", 1, 5, 70),),
        True,
        "beat",
        12.5,
    )
    assert machine_from_json(json.loads(json.dumps(machine_to_json(machine)))) == machine


def run(state: RunState, attempt: int, outcome: RunOutcome | None = None) -> RunRecord:
    return RunRecord(RunSpec("a.000", "a", "digits", Arm("gpu1"), 0), state, attempt, outcome=outcome)


@pytest.mark.parametrize(
    ("known", "stopped"),
    [
        (None, True),
        (run(RunState.RUNNING, 2), True),
        (run(RunState.RUNNING, 1), False),
        (run(RunState.WAITING, 1), True),
        (run(RunState.CANCELLED, 1), True),
        (run(RunState.FAILED, 1), True),
        (run(RunState.SEALED, 1, RunOutcome("window")), False),
        (run(RunState.RUNNING, 1, RunOutcome("window")), False),
    ],
)
def test_an_agent_is_told_to_stop_what_nobody_wants(known, stopped):
    found = stops_for_orphaned_runs([("a.000", 1)], {} if known is None else {"a.000": known})
    assert [(stop.run_id, stop.after_step) for stop in found] == ([("a.000", None)] if stopped else [])


@pytest.mark.parametrize(
    "text", ["127.0.0.1:0", "localhost:7450", "[::1]:7450", "unix:/run/d.sock", "unix:///run/d.sock"]
)
def test_addresses_that_stay_on_this_host(text):
    assert listen.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0:1",
        "10.0.0.1:1",
        "[::]:1",
        "example.org:1",
        "127.0.0.1",
        ":1",
        "unix:rel",
        "x:99999",
        "unix:/" + "x" * 108,
    ],
)
def test_addresses_that_do_not(text):
    with pytest.raises(listen.ListenError):
        listen.parse(text)


def test_token_is_made_once(tmp_path):
    path = tmp_path / "state" / "token"
    made = token_file.read_or_make(path)
    assert token_file.read_or_make(path) == made and len(made) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["token"]


@pytest.mark.parametrize("content", ["", "short", "two words here and more", "x" * 300])
def test_a_file_that_holds_no_token_is_refused(tmp_path, content):
    path = tmp_path / "token"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(token_file.TokenError):
        token_file.read_or_make(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make another user's link")
def test_a_token_behind_a_link_of_another_user_is_refused(tmp_path):
    (tmp_path / "real").write_text("x" * 40)
    (tmp_path / "real").chmod(0o600)
    (tmp_path / "token").symlink_to(tmp_path / "real")
    assert token_file.read_or_make(tmp_path / "token") == "x" * 40
    os.lchown(tmp_path / "token", 1234, 1234)
    with pytest.raises(token_file.TokenError, match="another user"):
        token_file.read_or_make(tmp_path / "token")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
def test_a_group_may_read_what_root_mounts_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "token"
    path.write_text("x" * 40)
    path.chmod(0o440)
    with pytest.raises(token_file.TokenError, match="others can read it"):
        token_file.read_or_make(path)
    monkeypatch.setattr(os, "geteuid", lambda: 65532)
    assert token_file.read_or_make(path) == "x" * 40, "as Kubernetes mounts a Secret"
    os.chown(path, 65532, 65532)
    with pytest.raises(token_file.TokenError, match="others can read it"):
        token_file.read_or_make(path)
    os.chown(path, 1234, 1234)
    path.chmod(0o600)
    with pytest.raises(token_file.TokenError, match="another user"):
        token_file.read_or_make(path)


def test_log_lines_cannot_be_forged():
    record = logging.LogRecord(
        "detctl_coordinator.x", logging.INFO, "", 0, "name=%s", ("a\nroot: fine\x1b[2J\u202e",), None
    )
    line = LineFormatter().format(record)
    assert "\n" not in line and "\x1b" not in line and "\u202e" not in line


def test_private_text_stays_inside():
    leaking = translate(RuntimeError("password=hunter2"))
    assert leaking.code is Code.INTERNAL and "hunter2" not in leaking.text and "hunter2" in leaking.private
    assert translate(ConflictError("v3")).code is Code.CONCURRENT_CHANGE
    assert translate(StoreError("the disk is full")).text.endswith("the disk is full")
    assert translate(RefusedCallError(Code.INVALID_ARGUMENT, "x")).text == "x"


def test_speed_is_over_the_last_seconds():
    clock = Clock()
    speed = Speed(clock)
    assert speed.of(0) == 0.0
    for total in (100, 200, 300):
        clock.now += 1
        rate = speed.of(total)
    assert rate == 100.0
    clock.now += 1
    assert speed.of(10) == 0.0, "a run that began again does not count backwards"


@pytest.mark.parametrize(("text", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("1.5m", 90), ("1w", 604_800)])
def test_ages(text, seconds):
    assert age_s(text) == seconds


@pytest.mark.parametrize("text", ["", "0d", "30", "d", "-1d", "1y"])
def test_ages_that_are_none(text):
    with pytest.raises(ValueError):
        age_s(text)


def test_a_pause_of_our_own_is_no_silence_of_theirs():
    """SIGSTOP of the coordinator, or a store that did not answer: the agents are asked first."""
    clock = Clock()
    leases = Leases(20.0, clock)
    machine = Machine("gpu1", beat="x")
    leases.observe([machine])
    clock.now += 3600
    leases.observe([machine])
    assert leases.alive(machine) and not leases.expired("gpu1")
    for _ in range(50):
        clock.now += 0.5
        leases.observe([machine])
    assert leases.expired("gpu1")


def test_an_agent_that_does_not_read_fills_no_memory():
    clock = Clock()
    connection = Connection(Machine("gpu1"), clock)
    for attempt in range(1, 3 * OUTBOX_MAX):
        connection.push([Stop("a.000", attempt, None, "")])
    assert connection.outbox.qsize() == OUTBOX_MAX
    connection.close()
    *_, last = [connection.outbox.get_nowait() for _ in range(OUTBOX_MAX)]
    assert last is None


def test_an_instruction_is_repeated_after_a_while_and_not_before():
    clock = Clock()
    connection = Connection(Machine("gpu1"), clock)
    stop = Stop("a.000", 1, None, "")
    for _ in range(5):
        connection.push([stop])
        clock.now += 1
    assert connection.outbox.qsize() == 2
    connection.push([])
    connection.push([stop])
    assert connection.outbox.qsize() == 3, "what was not wanted in between is news again"


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (None, "no probe answered"),
        (RunOutcome("exit", 0), "no probe answered"),
        (
            RunOutcome(
                "exit", 1, output_tail="--- stderr ---\nTraceback …\nModuleNotFoundError: No module named 'torch'\n\n"
            ),
            "the program ended with exit code 1 before a training began: ModuleNotFoundError: No module named 'torch'",
        ),
        (RunOutcome("exit", -11), "the program ended with signal 11 before a training began"),
        (RunOutcome("timeout", -9, "ended after its time limit of 3 s"), "ended after its time limit of 3 s"),
    ],
)
def test_a_run_without_data_says_how_the_program_ended(outcome: RunOutcome | None, says: str):
    assert no_data(outcome).startswith(says)
