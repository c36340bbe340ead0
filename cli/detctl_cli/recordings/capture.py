"""Runs `detctl-agent record` as a child process and reads the outcome from its folder. Ctrl-C is passed to the child."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detctl_proto.levels import DEFAULT_LEVEL
from detctl_proto.recordings.run_documents import RUN_BYTES_MAX

from detctl_cli.errors import CliError, TerminatedError
from detctl_cli.exits import Exit
from detctl_cli.local.children import STOP_S, start_following
from detctl_cli.output.clean import clean
from detctl_cli.recordings.folder import read_document

AGENT = "detctl_agent.main"


@dataclass(frozen=True)
class CaptureOptions:
    """The options of the command line."""

    steps: str | None = None
    to_end: bool = False
    set_: tuple[str, ...] = ()
    level: str = DEFAULT_LEVEL
    copy: bool = False
    machine: str | None = None
    timeout_s: int | None = None
    budget_share: float = 0.0
    attach: Path | None = None  # another container, which has this folder too, starts the training
    cwd: Path | None = None  # the working folder; None: ours
    environ: Mapping[str, str] | None = None  # the training's variables; None: ours
    quiet: bool = False  # no progress

    def arguments(self) -> list[str]:
        """Returns the arguments of the agent's record command."""
        arguments = ["--level", self.level]
        arguments += ["--steps", self.steps] if self.steps else []
        arguments += ["--to-end"] if self.to_end else []
        arguments += ["--copy"] if self.copy else []
        arguments += ["--machine", self.machine] if self.machine else []
        arguments += ["--timeout", str(self.timeout_s)] if self.timeout_s else []
        arguments += ["--budget", repr(self.budget_share)] if self.budget_share else []
        arguments += ["--quiet"] if self.quiet else []
        if self.attach:
            arguments += ["--attach", str(self.attach)]
            arguments += [f"--env={name}={value}" for name, value in self.variables().items()]
        changes = [text for text in self.set_ if not text.startswith("env:")]
        return arguments + [word for text in changes for word in ("--set", text)]

    def variables(self) -> dict[str, str]:
        """Returns the variables that --set env:NAME=V adds to ours. The training gets both."""
        pairs = (text.removeprefix("env:").partition("=") for text in self.set_ if text.startswith("env:"))
        return {name: value for name, _, value in pairs}


@dataclass(frozen=True)
class Captured:
    """The outcome. because: the problem, empty if the training was recorded; run: run.json; reported: the recorder printed the problem."""

    exit_code: Exit
    because: str = ""
    run: dict[str, Any] = field(default_factory=dict)
    reported: bool = True


def capture(folder: Path, command: Sequence[str], options: CaptureOptions, *, stdout: int | None = None) -> Captured:
    """Runs the training and waits for it. It writes to our streams, its stdout to `stdout` if given. Raises CliError."""
    arguments = ["record", "-o", str(folder), *options.arguments(), *(["--", *command] if command else [])]
    ours = os.environ if options.environ is None else options.environ
    environ = dict(ours) if options.attach else {**ours, **options.variables()}
    child, lifeline = start_following(AGENT, arguments, environ=environ, stdout=stdout, cwd=options.cwd)
    try:
        code = child.wait()
    except (KeyboardInterrupt, TerminatedError) as interruption:
        if isinstance(interruption, TerminatedError) or not _from_terminal():
            child.terminate()
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        raise
    finally:
        os.close(lifeline)
    return judge(code, _run_json(folder))


def _from_terminal() -> bool:
    """Returns whether Ctrl-C came from our terminal, which then sent it to the child too."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def judge(code: int, run: dict[str, Any]) -> Captured:
    """Returns the outcome for the recorder's exit code and run.json (empty if missing). It is never 0 if nothing was recorded."""
    if code < 0:
        why = f"the recorder was ended by the signal {signal.Signals(-code).name}"
        return Captured(Exit.TROUBLE, why, run, reported=False)
    message = clean(run.get("message") or "")
    if not run or run.get("state") != "ended":
        why = message or (
            "nothing was recorded" if not run else f"the recording is incomplete (state {clean(run.get('state'))})"
        )
        return Captured(Exit.TROUBLE, why, run, reported=code != 0)
    if code == Exit.IDENTICAL:
        if run.get("ranks") and run.get("records"):
            return Captured(Exit.IDENTICAL, "", run)
        return Captured(Exit.UNVERIFIED, message or "no training step was observed", run, reported=False)
    if code == Exit.INTERRUPTED:
        return Captured(Exit.INTERRUPTED, "interrupted", run)
    if code == Exit.UNVERIFIED:
        if not run.get("ranks"):
            why = "no training step was observed; the command must train with torch, in a Python without -I or -S"
        else:
            why = f"the training ended early (reason: {clean(run.get('end'))}, exit code {clean(run.get('exit_code'))})"
        return Captured(Exit.UNVERIFIED, message or why, run)
    return Captured(Exit.TROUBLE, message or f"the recorder ended with exit code {code}", run)


def _run_json(folder: Path) -> dict[str, Any]:
    try:
        return read_document(folder / "run.json", RUN_BYTES_MAX) or {}
    except CliError:
        return {}
