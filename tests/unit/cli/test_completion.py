"""`detctl completion SHELL`, in a real bash with a terminal, and what it completes."""

from __future__ import annotations

import os
import pty
import select
import shutil
import sqlite3
import sys
import time

import pytest

BASH = shutil.which("bash")


@pytest.fixture
def completed(cli):
    """Returns what a shell is offered for these words, the last of which is incomplete."""

    def offered(*words: str) -> list[list[str]]:
        variables = {"_DETCTL_COMPLETE": "bash_complete", "COMP_WORDS": "\n".join(["detctl", *words])}
        ran = cli(COMP_CWORD=str(len(words)), **variables)
        assert (ran.code, ran.err) == (0, "")
        return [line.split(",", 1) for line in ran.out.splitlines() if line]

    return offered


def test_commands_options_and_choices_are_completed(completed):
    assert ["plain", "cancel"] in completed("ca")
    assert completed("audits", "--outc") == [["plain", "--outcome"]]
    assert completed("audits", "--outcome", "d") == [["plain", "different"]]
    assert completed("runs", "del") == [["plain", "delete"]]
    completed("no-such-command", "")  # it must not fail


def test_ids_of_local_audits_are_completed_and_recordings_are_folders(completed, tmp_path):
    assert completed("cancel", "") == []
    (tmp_path / ".detctl").mkdir()
    with sqlite3.connect(tmp_path / ".detctl" / "store.sqlite") as store:
        store.execute("CREATE TABLE audits (audit_id, created)")
        store.execute("CREATE TABLE runs (run_id, created)")
        store.executemany("INSERT INTO audits VALUES (?, ?)", [("a1", 1.0), ("a2", 2.0), ("b3", 3.0)])
        store.execute("INSERT INTO runs VALUES ('a1.000', 1.0)")
    assert completed("cancel", "a") == [["plain", "a2"], ["plain", "a1"]]
    assert completed("audit", "--attach", "b") == [["plain", "b3"]]
    assert completed("show", "a1.") == [["plain", "a1.000"]]
    assert completed("show", "./x") == [["dir", "./x"]]


def test_after_two_dashes_files_are_completed(completed):
    assert completed("audit", "--twins", "2", "--", "python", "tra") == [["file", "tra"]]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_asks_detctl(cli, shell):
    ran = cli("completion", shell)
    assert ran.code == 0
    assert f"_DETCTL_COMPLETE={shell}_complete" in ran.out
    assert cli("completion", "csh").code == 2


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_bash_completes_what_is_typed(cli, environ, tmp_path):
    (tmp_path / "completion").write_text(cli("completion", "bash").out)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "detctl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m detctl_cli "$@"\n')
    program.chmod(0o755)
    (tmp_path / "training-script.py").touch()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        path = f"{program.parent}:{environ['PATH']}"
        variables = {**environ, "PATH": path, "PS1": "$ ", "TERM": "dumb", "COLUMNS": "200"}
        os.execve(BASH, [BASH, "--norc", "--noprofile", "-i"], variables)
    try:
        os.write(terminal, b"source completion\n")
        for typed, whole in (
            (b"detctl cancel --js\t", "cancel --json"),
            (b"detctl audit -- python tr\t", "training-script.py"),
        ):
            os.write(terminal, typed)
            seen, end = "", time.monotonic() + 60
            while whole not in seen and time.monotonic() < end:
                if select.select([terminal], [], [], 0.2)[0]:
                    seen += os.read(terminal, 4096).decode()
            assert whole in seen
            os.write(terminal, b"\x15")  # clears the line
    finally:
        os.write(terminal, b"\x15exit\n")
        os.close(terminal)
        os.waitpid(pid, 0)
