"""`detctl completion SHELL`, in real shells, and what it completes."""

from __future__ import annotations

import os
import pty
import select
import shutil
import sqlite3
import subprocess
import sys
import time

import pytest

FISH = shutil.which("fish")


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


def test_after_two_dashes_a_program_and_then_files_are_completed(completed, environ, tmp_path):
    (tmp_path / "torchrun-of-mine").touch()
    environ["PATH"] = f"{tmp_path}:{environ['PATH']}"
    assert completed("audit", "--", "torchrun-of") == [["plain", "torchrun-of-mine"], ["file", "torchrun-of"]]
    assert completed("audit", "--", "./run") == [["file", "./run"]]
    assert completed("audit", "--twins", "2", "--", "python", "tra") == [["file", "tra"]]


def test_compare_completes_files_and_runs(completed):
    assert completed("compare", "mon") == [["file", "mon"]]
    assert completed("compare", "monday", "") == [["file", ""]]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_asks_detctl(cli, shell):
    ran = cli("completion", shell)
    assert ran.code == 0
    assert f"_DETCTL_COMPLETE={shell}_complete" in ran.out
    assert cli("completion", "csh").code == 2


@pytest.fixture
def program(cli, environ, tmp_path):
    """`detctl` on a PATH, in a folder with a script."""
    program = tmp_path / "bin" / "detctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m detctl_cli "$@"\n')
    program.chmod(0o755)
    environ["PATH"] = f"{program.parent}:{environ['PATH']}"
    (tmp_path / "training-script.py").touch()
    return program


TYPED = (
    (b"detctl cancel --js\t", "cancel --json"),
    (b"detctl audit -- python tr\t", "training-script.py"),
    (b"detctl compare tra\t", "training-script.py"),
)


@pytest.mark.parametrize(
    ("shell", "options", "first"),
    [
        ("bash", ["--norc", "--noprofile", "-i"], b"source completion\n"),
        ("zsh", ["-f", "-i"], b"source completion\n"),
    ],
)
def test_a_shell_completes_what_is_typed(cli, environ, program, tmp_path, shell, options, first):
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"there is no {shell}")
    (tmp_path / "completion").write_text(cli("completion", shell).out)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        variables = {**environ, "PS1": "$ ", "TERM": "dumb", "COLUMNS": "200", "HOME": str(tmp_path)}
        os.execve(path, [path, *options], variables)
    try:
        os.write(terminal, first)
        for typed, whole in TYPED:
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


@pytest.mark.skipif(FISH is None, reason="there is no fish")
def test_fish_completes_what_is_typed(cli, environ, program, tmp_path):
    (tmp_path / "completion").write_text(cli("completion", "fish").out)
    for typed, whole in TYPED:
        asked = f"source completion; complete -C '{typed.decode().strip()}'"
        ran = subprocess.run(
            [FISH, "--no-config", "-c", asked], env=environ, cwd=tmp_path, capture_output=True, text=True
        )
        assert whole.split()[-1] in ran.stdout, (typed, ran)
