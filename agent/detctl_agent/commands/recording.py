"""Records one training that a user starts in this environment, without any service."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from detctl_proto.interventions import INTERVENTIONS
from detctl_proto.security.redaction import redact_command, redact_text
from detctl_proto.syntax.names import machine_name
from detctl_proto.syntax.windows import WindowError, parse_share, requested_window

from detctl_agent import manifest
from detctl_agent.catalog.admission import Order
from detctl_agent.commands.recording_progress import RecordingProgress
from detctl_agent.errors import AgentError
from detctl_agent.launcher.placeholders import fill
from detctl_agent.launcher.variables import taken_over
from detctl_agent.recording.costs import format_cost
from detctl_agent.recording.recording_key import recording_key
from detctl_agent.runs import arguments
from detctl_agent.runs.inspection.digest_table import DigestTable
from detctl_agent.runs.inspection.inspect import with_inspection
from detctl_agent.runs.interpreter import interpreter_of
from detctl_agent.runs.launch_plan import LaunchPlan
from detctl_agent.runs.outcome import Outcome
from detctl_agent.runs.preparation import Prepared, Training, placeholder_values, prepare
from detctl_agent.runs.run_clock import RunClock
from detctl_agent.runs.run_document import note_end, run_json
from detctl_agent.runs.runner import Runner
from detctl_agent.sidecar.attached import Attached
from detctl_agent.source import source
from detctl_agent.source.ignored_files import add_ignored
from detctl_agent.source.overlay import Overlays, clear
from detctl_agent.state.run_folder import RunFolder, RunJson
from detctl_agent.state.sockets import RuntimeFolder

EXIT_UNVERIFIED, EXIT_TROUBLE, EXIT_INTERRUPTED = 3, 2, 130


class Recording:
    """One training of this user, in this environment and folder, from its start to the report about it."""

    def __init__(
        self, *, output: Path, level: str, budget: str | None, steps: str | None, to_end: bool, in_copy: bool, paths: tuple[str, ...],
        interventions: tuple[str, ...], machine: str | None, timeout_s: float | None, command: tuple[str, ...],
        quiet: bool = False,
    ) -> None:  # fmt: skip
        try:
            self._start, self._end = requested_window(steps, to_end)
            self._budget = parse_share(budget) if budget else 0.0
        except WindowError as problem:
            raise AgentError(str(problem)) from None
        self._quiet = quiet
        self._level, self._in_copy, self._timeout_s, self._command = level, in_copy, timeout_s, list(command)
        self._interventions = dict(pair(text, "--set") for text in interventions)
        for name in self._interventions:
            if name not in INTERVENTIONS:
                raise AgentError(f"--set {name}: unknown intervention (valid: {', '.join(INTERVENTIONS)})")
        self._paths = {}
        for text in paths:
            name, place = pair(text, "--path")
            if not Path(place).exists():
                raise AgentError(f"--path {name}: {place} does not exist")
            self._paths[name] = str(Path(place).absolute())
        self._machine = machine or machine_name()
        self._key = recording_key()
        self._folder = RunFolder(output.absolute())
        if self._folder.root.exists() and (not self._folder.root.is_dir() or any(self._folder.root.iterdir())):
            raise AgentError(f"{output} exists and is not empty: choose another folder, or remove it")

    def run(self) -> int:
        self._check_program()
        clock = RunClock()
        self._show("preparing the recording")
        self._folder.create()
        self._folder.make_private()
        runtime = self._runtime()
        try:
            training = self._training(runtime)
            prepared = prepare(training, self._folder, runtime, machine=self._machine, key=self._key, clock=clock)
            run = self._run_json(training.order)
            self._folder.write_manifest(prepared.manifest)
            self._folder.write_run(run)
            runner = Runner(
                prepared.plan, self._folder, runtime, on_started=lambda: self._running(run), show=(1, 2), clock=clock
            )
        except BaseException:
            runtime.remove()
            raise
        interrupted: list[int] = []

        def interrupt(number: int, _: object) -> None:
            interrupted.append(number)
            runner.end("cancelled", "interrupted", grace_s=5.0 if len(interrupted) == 1 else 0.0)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, interrupt)
        self._show(f"starting the training: {shlex.join(redact_command(self._command, self._key))}")
        try:
            with RecordingProgress(runner, self._end, notify, quiet=self._quiet):
                outcome = runner.run()
        finally:
            if prepared.plan.view:
                clear(prepared.plan.view.scratch)
        self._finish(run, prepared, outcome)
        return self._report(outcome, bool(interrupted))

    def _show(self, text: str) -> None:
        if not self._quiet:
            notify(text)

    def _check_program(self) -> None:
        """Raises AgentError if there is no such program, before anything is made or shown."""
        program = self._command[0]
        if shutil.which(program, path=taken_over(os.environ)["PATH"]) is None:
            raise AgentError(f"{program}: no such program: give the command after `--`, as you type it in a shell")

    def _runtime(self) -> RuntimeFolder:
        return RuntimeFolder(self._folder.tmp)

    def _training(self, runtime: RuntimeFolder) -> Training:
        """The training in this process's own environment, in the working folder, in a private view of it, or in a copy."""
        folder, cwd = self._folder, Path.cwd()
        env = taken_over(os.environ)
        values = placeholder_values(folder, runtime, self._command, {}, str(cwd))
        argv = [fill(word, values) for word in self._command]
        order = self._order(argv)
        found = self._source(cwd)
        view = None
        if self._in_copy and found:
            view = Overlays(folder.root).view(cwd, order.key, found.paths, repository=True)
        work = folder.work if self._in_copy and not view else cwd
        if self._in_copy and not view and found:
            source.copy(found, work)
            add_ignored(cwd, work)
            argv = arguments.into_copy(argv, found.folder, work, source.DEFAULT_BYTES_MAX)
        interpreter = interpreter_of(argv[0], env["PATH"])
        umask = os.umask(0o077)
        os.umask(umask)
        return Training(
            order=order,
            plan=replace(
                self._plan(order, argv, work, env, umask=0o077 if self._in_copy else umask),
                interpreter=interpreter,
                view=view,
                origin=cwd if work != cwd else None,
            ),
            interpreter=interpreter,
            places=self._paths,
            named_arguments=True,
            own_caches=self._in_copy,
            own_home=False,
            recipe=self._recipe(order, [*arguments.named_folders(argv, work), *self._paths], found),
            environment={"name": "default", "python": interpreter, "emulate": {}},
            origin=cwd,
            source=found if self._in_copy else None,
        )

    def _source(self, folder: Path) -> source.Source | None:
        """None if the folder is too large and nothing of it is copied: the manifest then has no digest of it."""
        try:
            return source.scan(folder, None) if self._in_copy else source.scan(folder)
        except AgentError:
            if self._in_copy:
                raise
            return None

    def _order(self, argv: Sequence[str]) -> Order:
        script = argv[-1] if len(argv) == 1 else next((w for w in argv[1:] if not w.startswith("-")), argv[0])
        return Order(
            run_id=os.urandom(8).hex(),
            attempt=1,
            recipe=Path(script).name,
            interventions=self._interventions,
            level=self._level,
            step_from=self._start,
            step_to=self._end,
            budget_share=self._budget,
        )

    def _run_json(self, order: Order) -> RunJson:
        command = redact_command(self._command, self._key)
        folder = redact_text(self._working_folder())
        return replace(run_json(self._machine, order), command=command, folder=folder, started_unix_s=time.time())

    def _working_folder(self) -> str:
        """In which `detctl zoom` repeats the command; empty if that is another container's."""
        return str(Path.cwd())

    def _recipe(self, order: Order, paths: Sequence[str], found: source.Source | None) -> dict[str, Any]:
        return {
            "name": order.recipe,
            "command": self._command,
            "parameters": {},
            "paths": list(paths),
            "source_digest": found.digest if found else "",
            "git_commit": found.git_commit if found else "",
            "in_place": not self._in_copy,
            "timeout_s": self._timeout_s or 0,
        }

    def _plan(
        self, order: Order, argv: Sequence[str], work: Path, env: Mapping[str, str], *, umask: int,
        attached: Attached | None = None,
    ) -> LaunchPlan:  # fmt: skip
        return LaunchPlan(
            run_id=order.run_id,
            attempt=order.attempt,
            argv=tuple(argv),
            cwd=work,
            env=env,
            timeout_s=self._timeout_s,
            output_bytes_max=1024**4,  # the user's own terminal and disk
            level=self._level,
            window_end=self._end,
            umask=umask,
            attached=attached,
        )

    def _running(self, run: RunJson) -> None:
        run.state = "running"
        self._folder.write_run(run)

    def _finish(self, run: RunJson, prepared: Prepared, outcome: Outcome) -> None:
        note_end(run, outcome)
        facts = manifest.with_observed(prepared.manifest, outcome.torch, prepared.shown, outcome.read)
        facts = with_inspection(facts, outcome, prepared, DigestTable(None))
        if prepared.source and (wrote := source.changes(prepared.source)):
            run.message = "; ".join(part for part in (run.message, wrote) if part)
        self._folder.clean_private()
        self._folder.write_manifest(facts)
        self._folder.write_run(run)

    def _report(self, outcome: Outcome, interrupted: bool) -> int:
        where = self._folder.root
        steps = "" if outcome.last_step is None else f" to step {outcome.last_step}"
        if outcome.end == "window":
            self._show(
                f"ended the training after step {outcome.last_step}, the last of the window; --to-end lets it finish"
            )
        if outcome.message:
            notify(outcome.message)
        if cost := format_cost(outcome.cost):
            self._show(cost)
        self._show(f"{where}: {outcome.records} fingerprints of {outcome.ranks} rank(s){steps}, {outcome.wall_s:.1f} s")
        if interrupted:
            return EXIT_INTERRUPTED
        if outcome.end in ("disk-full", "lost") or outcome.exit_code == 127:
            return EXIT_TROUBLE
        if outcome.end == "exit" and outcome.exit_code != 0:
            notify(f"the training ended with exit code {outcome.exit_code}")
            return EXIT_UNVERIFIED
        return EXIT_UNVERIFIED if outcome.ranks == 0 or outcome.end in ("timeout", "output-limit") else 0


def pair(text: str, option: str) -> tuple[str, str]:
    """The name and value of NAME=VALUE, without `probe:` before the name. Raises AgentError."""
    name, separator, value = text.partition("=")
    if not separator or not name or not value:
        raise AgentError(f"{option} {text}: write NAME=VALUE")
    return name.removeprefix("probe:"), value


def notify(text: str) -> None:
    """Prints a line of this command to stderr."""
    print(f"detctl: {redact_text(text)}", file=sys.stderr, flush=True)  # noqa: T201 - the messages of a command
