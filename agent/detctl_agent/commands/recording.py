"""The recording of one training that a user starts in this environment, without any service."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detctl_proto.names import machine_name
from detctl_proto.redaction import redact_text, redact_words

from detctl_agent import manifest
from detctl_agent.catalog.admission import INTERVENTIONS
from detctl_agent.catalog.windows import parse_share, parse_steps
from detctl_agent.errors import AgentError
from detctl_agent.launcher.placeholders import fill, free_port, names_in
from detctl_agent.launcher.variables import taken_over
from detctl_agent.manifest.variables import RunVariables
from detctl_agent.recording.costs import cost_words
from detctl_agent.recording.recording_key import recording_key
from detctl_agent.runs import arguments
from detctl_agent.runs.interpreter import interpreter_of
from detctl_agent.runs.preparation import add_probe, own_paths, private_variables
from detctl_agent.runs.runner import LaunchPlan, Outcome, Runner, note_end
from detctl_agent.sidecar.attached import Attached
from detctl_agent.source import source
from detctl_agent.state.run_folder import RunFolder, RunJson
from detctl_agent.state.sockets import RuntimeFolder

# What to start, run.json, the source that was copied, and what is recorded of the training's variables.
Prepared = tuple[LaunchPlan, RunJson, source.Source | None, RunVariables]
EXIT_UNVERIFIED, EXIT_TROUBLE, EXIT_INTERRUPTED = 3, 2, 130


class Recording:
    """One training of this process's own user, in this environment and folder, from its start to the last word about it."""

    def __init__(
        self, *, output: Path, level: str, budget: str | None, steps: str | None, to_end: bool, in_copy: bool, paths: tuple[str, ...],
        interventions: tuple[str, ...], machine: str | None, timeout_s: float | None, command: tuple[str, ...],
    ) -> None:  # fmt: skip
        if steps and to_end:
            raise AgentError("--steps and --to-end exclude each other: choose one")
        self._start, self._end = (0, None) if to_end else parse_steps(steps or "0:32")
        self._budget = parse_share(budget) if budget else 0.0
        self._level, self._in_copy, self._timeout_s, self._command = level, in_copy, timeout_s, list(command)
        self._interventions = dict(pair(text, "--set") for text in interventions)
        for name in self._interventions:
            if name not in INTERVENTIONS:
                raise AgentError(f"--set {name}: no intervention of that name (valid: {', '.join(INTERVENTIONS)})")
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
        self._folder.create()
        self._folder.make_private()
        runtime = self._runtime()
        try:
            plan, record, before, shown = self._prepare(runtime)
            runner = Runner(plan, self._folder, runtime, on_started=lambda: self._running(record), show=(1, 2))
        except BaseException:
            runtime.remove()
            raise
        interrupted: list[int] = []

        def interrupt(number: int, _: object) -> None:
            interrupted.append(number)
            runner.end("cancelled", "interrupted", grace_s=5.0 if len(interrupted) == 1 else 0.0)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, interrupt)
        outcome = runner.run()
        self._finish(record, outcome, before, shown)
        return self._say(outcome, bool(interrupted))

    def _runtime(self) -> RuntimeFolder:
        return RuntimeFolder(self._folder.tmp)

    def _prepare(self, runtime: RuntimeFolder) -> Prepared:
        folder, cwd = self._folder, Path.cwd()
        env = taken_over(os.environ)
        values = {"out": str(folder.out), "tmp": str(runtime.tmp), "seed": "0"}
        if "port" in names_in(self._command):
            values["port"] = str(free_port(str(cwd)))
        argv = [fill(word, values) for word in self._command]
        if shutil.which(argv[0], path=env["PATH"]) is None:
            raise AgentError(f"{argv[0]}: no such program; give the command behind `--`, as you type it in a shell")
        found: source.Source | None = None
        work = cwd
        if self._in_copy:
            found = source.scan(cwd)
            work = folder.work
            source.copy(found, work)
            argv = arguments.into_copy(argv, found.folder, work, source.DEFAULT_BYTES_MAX)
            private_variables(env, folder, runtime, home=False)
        else:
            try:
                found = source.scan(cwd)
            except AgentError:
                found = None  # a large folder is no trouble where nothing is copied; its digest is then not known
        places = {**arguments.named_folders(argv, work), **self._paths}
        add_probe(env, folder, self._probe_settings(runtime, places, work))
        record = self._record(argv)
        interpreter = interpreter_of(argv[0], env["PATH"])
        shown = RunVariables.of(env, own_paths(folder, runtime), self._key)
        folder.write_manifest(
            manifest.run_manifest(
                self._machine,
                interpreter=interpreter,
                variables=env,
                shown=shown,
                places=places,
                recipe=self._recipe(record, places, found),
                environment={"name": "default", "python": interpreter, "emulate": {}},
            )
        )
        folder.write_run(record)
        umask = os.umask(0o077)
        os.umask(umask)
        plan = self._plan(record, argv, work, env, umask=0o077 if self._in_copy else umask)
        return plan, record, found if self._in_copy else None, shown

    def _probe_settings(self, runtime: RuntimeFolder, places: Mapping[str, str], work: Path) -> dict[str, Any]:
        own = {"tmp": runtime.tmp, "cache": self._folder.caches, "out": self._folder.out}
        return {
            "socket": str(runtime.socket),
            "level": self._level,
            "window": [self._start, self._end],
            "paths": {**{name: str(path) for name, path in own.items()}, **places, "cwd": str(work)},
            "interventions": self._interventions,
            "budget": self._budget or None,
            "argv_paths": True,
        }

    def _record(self, argv: Sequence[str]) -> RunJson:
        script = argv[-1] if len(argv) == 1 else next((w for w in argv[1:] if not w.startswith("-")), argv[0])
        return RunJson(
            run_id=os.urandom(8).hex(),
            label=f"{self._machine}/default/{_variation(self._interventions)}/twin-0",
            machine=self._machine,
            variation=_variation(self._interventions),
            recipe=Path(script).name,
            command=redact_words(self._command, self._key),
            interventions=self._interventions,
            level=self._level,
            step_from=self._start,
            step_to=self._end,
            budget_share=self._budget,
            started_unix_s=time.time(),
        )

    def _recipe(self, record: RunJson, places: Mapping[str, str], found: source.Source | None) -> dict[str, Any]:
        return {
            "name": record.recipe,
            "command": self._command,
            "parameters": {},
            "paths": list(places),
            "source_digest": found.digest if found else "",
            "git_commit": found.git_commit if found else "",
            "in_place": not self._in_copy,
            "timeout_s": self._timeout_s or 0,
        }

    def _plan(
        self, record: RunJson, argv: Sequence[str], work: Path, env: Mapping[str, str], *, umask: int,
        attached: Attached | None = None,
    ) -> LaunchPlan:  # fmt: skip
        return LaunchPlan(
            run_id=record.run_id,
            attempt=record.attempt,
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

    def _running(self, record: RunJson) -> None:
        record.state = "running"
        self._folder.write_run(record)

    def _finish(self, record: RunJson, outcome: Outcome, before: source.Source | None, shown: RunVariables) -> None:
        note_end(record, outcome)
        facts = manifest.with_told(self._folder.read_manifest(), outcome.torch, shown, outcome.read)
        if before and (wrote := source.changes(before)):
            record.message = "; ".join(part for part in (record.message, wrote) if part)
        self._folder.clean_private()
        self._folder.write_manifest(facts)
        self._folder.write_run(record)

    def _say(self, outcome: Outcome, interrupted: bool) -> int:
        where = self._folder.root
        steps = "" if outcome.last_step is None else f" to step {outcome.last_step}"
        if outcome.end == "window":
            tell(f"ended the training after step {outcome.last_step}, the last of the window; --to-end lets it finish")
        if outcome.message:
            tell(outcome.message)
        if words := cost_words(outcome.cost):
            tell(words)
        tell(f"{where}: {outcome.records} fingerprints of {outcome.ranks} rank(s){steps}, {outcome.wall_s:.1f} s")
        if interrupted:
            return EXIT_INTERRUPTED
        if outcome.end in ("disk-full", "lost") or outcome.exit_code == 127:
            return EXIT_TROUBLE
        if outcome.end == "exit" and outcome.exit_code != 0:
            tell(f"the training ended with exit code {outcome.exit_code}")
            return EXIT_UNVERIFIED
        return EXIT_UNVERIFIED if outcome.ranks == 0 or outcome.end in ("timeout", "output-limit") else 0


def _variation(interventions: dict[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(interventions.items())) or "base"


def pair(text: str, option: str) -> tuple[str, str]:
    """NAME=VALUE of an option; `probe:` before a name may be left out. Raises AgentError."""
    name, separator, value = text.partition("=")
    if not separator or not name or not value:
        raise AgentError(f"{option} {text}: write NAME=VALUE")
    return name.removeprefix("probe:"), value


def tell(text: str) -> None:
    """The command's own words, on stderr."""
    print(f"detctl: {redact_text(text)}", file=sys.stderr, flush=True)  # noqa: T201 - this command's way to speak to its user
