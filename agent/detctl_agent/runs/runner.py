"""One run from its start to its end, in one thread: shim, output, sockets and spool behind one selector.

Other threads put requests into a run (`end`, `stop_after`) and read its `progress`; nothing else is shared.
"""

from __future__ import annotations

import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from detctl_proto.recordings.side_by_side import SideBySide

from detctl_agent import logs
from detctl_agent.errors import AgentError, DiskFullError
from detctl_agent.launcher import sweep
from detctl_agent.launcher.cgroup import Cgroup, Cgroups
from detctl_agent.launcher.limits import Limits
from detctl_agent.launcher.process import Launched
from detctl_agent.launcher.usage import UsageMeter, machine_room
from detctl_agent.recording.frame_server import FrameServer
from detctl_agent.recording.ranks import Message, Ranks
from detctl_agent.runs.activity import Activity, Watch
from detctl_agent.runs.failure import Ended, Failure, failure_of
from detctl_agent.runs.launch_plan import LaunchPlan
from detctl_agent.runs.outcome import Outcome, Progress
from detctl_agent.runs.run_clock import RunClock
from detctl_agent.runs.side_by_side import is_on, side_by_side
from detctl_agent.sidecar.attached import Attached
from detctl_agent.state.output import OutputCapture
from detctl_agent.state.run_folder import RunFolder
from detctl_agent.state.sockets import RuntimeFolder
from detctl_agent.state.spool import SpoolWriter

FLUSH_S = 0.5
TICK_S = 0.25
SYNC_BYTES = 1024 * 1024
log = logs.logger("run")


class Runner:
    """See the module's text. `on_spooled` is called from the run's thread whenever more can be sent."""

    def __init__(
        self,
        plan: LaunchPlan,
        folder: RunFolder,
        runtime: RuntimeFolder,
        *,
        on_started: Callable[[], None] = lambda: None,
        on_spooled: Callable[[], None] = lambda: None,
        show: tuple[int, int] | None = None,
        cgroups: Cgroups | None = None,
        clock: RunClock | None = None,
        on_measured: Callable[[SideBySide], None] | None = None,
    ) -> None:
        """on_measured: called at the end, if it is known how many runs like this one may train at a time; None: it is not measured."""
        self._plan, self._folder, self._runtime = plan, folder, runtime
        self._on_started, self._on_spooled, self._show = on_started, on_spooled, show
        self.progress = Progress()
        self._clock = clock or RunClock()
        self._on_measured = on_measured
        self._meter: UsageMeter | None = None
        self._cgroups = cgroups
        self._cgroup: Cgroup | None = None
        self._requests: deque[Callable[[], None]] = deque()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._ranks = Ranks(plan.run_id, plan.attempt, plan.level, time.monotonic)
        self._spool: SpoolWriter | None = None
        self._selector = selectors.DefaultSelector()
        self._launched: Launched | Attached | None = None
        self._end = ""  # why the agent ended it; empty: it ended on its own
        self._message = ""
        self._exit_code: int | None = None
        self._gone = False  # the shim reported that no process is left, or is itself gone
        self._done = False
        self._pid: int | None = None  # of the training, if it is visible here
        self._watch = Watch()
        self._shown_bytes: tuple[int, ...] = (0, 0)
        self._lock = threading.Lock()
        self._finished = False

    # -- from any thread ----------------------------------------------------------------------------------------------
    def end(self, reason: str, message: str = "", grace_s: float | None = None) -> None:
        """Ends the run now, for `reason` (one of those in run_folder.py)."""
        self._request(lambda: self._end_tree(reason, message, grace_s))

    @property
    def printed_bytes(self) -> int:
        """How much the training has printed."""
        return sum(self._shown_bytes)

    def stop_after(self, step: int) -> None:
        """Ends the run after `step` on all ranks."""
        self._request(lambda: self._server.stop_after(step))

    def _request(self, what: Callable[[], None]) -> None:
        with self._lock:
            if self._finished:
                return
            self._requests.append(what)
            try:
                os.write(self._wake_write, b"x")
            except BlockingIOError:
                pass  # it wakes up anyway

    # -- the run's own thread -----------------------------------------------------------------------------------------
    def run(self) -> Outcome:
        """Runs the training; returns when none of its processes is left and everything they sent is in the spool. Raises
        AgentError if it could not be started, and nothing because of what a training does."""
        started = time.monotonic()
        try:
            return self._run(started)
        finally:
            with self._lock:
                self._finished = True
            if self._launched:
                self._launched.close()
            if self._spool:
                self._spool.close()
            if self._cgroup:
                self._cgroup.end()
            self._selector.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._runtime.remove()

    def _run(self, started: float) -> Outcome:
        plan, folder = self._plan, self._folder
        self._spool = SpoolWriter(folder.spool, plan.spool_bytes_max)
        self._server = FrameServer(self._runtime.socket, self._selector, self._ranks, self._store, account=plan.account)
        env = {**plan.env, sweep.RUN_ID_VARIABLE: plan.key}
        self._clock.launch()
        if plan.attached:
            self._launched = plan.attached
            plan.attached.start(plan.argv, plan.cwd, env, grace_s=plan.grace_s, umask=plan.umask)
        else:
            self._launched = self._launch(env)
        show = self._show or (None, None)
        outputs = (
            OutputCapture(self._launched.stdout, folder.stdout, plan.output_bytes_max, show[0]),
            OutputCapture(self._launched.stderr, folder.stderr, plan.output_bytes_max, show[1]),
        )
        self._outputs = outputs
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._wake)
        self._selector.register(self._launched.reports, selectors.EVENT_READ, self._read_reports)
        for descriptor, output in zip((self._launched.stdout, self._launched.stderr), outputs, strict=True):
            self._selector.register(descriptor, selectors.EVENT_READ, lambda d=descriptor, o=output: self._output(d, o))
        deadline = None if plan.timeout_s is None else started + plan.timeout_s
        while not self._gone:
            for key, _ in self._selector.select(TICK_S):
                key.data()
            self._server.tick()
            now = time.monotonic()
            self._store(self._ranks.flush(older_than=now - FLUSH_S))
            self._sync()
            self._observe(now)
            self._measure(now)
            if deadline is not None and now >= deadline and not self._end:
                self._end_tree("timeout", f"ended after its time limit of {plan.timeout_s:g} s")
            if not self._end and self._exit_code is None and (reason := self._ranks.over):
                self._end_tree(reason, "")
        wall_s = time.monotonic() - started
        self._clock.end()
        self.progress.activity = Activity.SENDING
        self._decide_side_by_side()
        for output in outputs:
            try:
                while output.open and output.read():
                    pass
            except AgentError as error:
                self._disk_trouble(error)
            output.close()
        self._server.drain()
        self._sync()
        return self._outcome(wall_s)

    def _launch(self, env: Mapping[str, str]) -> Launched:
        plan = self._plan
        if plan.container:  # its engine runs as the agent, and gives the container its user and limits
            return Launched(
                plan.argv, plan.cwd, env, grace_s=plan.grace_s, umask=plan.umask, after=plan.container.removal
            )
        resources = {}
        if plan.limits:
            self._cgroup = self._made_cgroup(plan.limits)
            limits = plan.limits if self._cgroup is None else Limits()
            resources = limits.resources(own_user=plan.account is not None and self._cgroup is None)
        return Launched(
            plan.view.command(plan.argv) if plan.view else plan.argv, plan.cwd, env, grace_s=plan.grace_s, umask=plan.umask,
            account=plan.account, cgroup=self._cgroup, resources=resources,
        )  # fmt: skip

    def _made_cgroup(self, limits: Limits) -> Cgroup | None:
        if self._cgroups is None:
            return None
        try:
            return self._cgroups.make(self._plan.key, limits)
        except OSError as error:
            raise AgentError(f"cannot make a cgroup for the run: {error.filename}: {error.strerror}") from error

    def _wake(self) -> None:
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass
        while self._requests:
            self._requests.popleft()()

    def _read_reports(self) -> None:
        assert self._launched is not None
        reports = self._launched.read_reports()
        if reports is None:
            self._selector.unregister(self._launched.reports)
            if not self._done:  # the shim was killed: its subreaper's children are orphans now
                self._end = self._end or "lost"
                self._message = self._message or "the process that watches the training was killed"
                if self._cgroup:
                    self._cgroup.end()
                sweep.sweep({self._plan.key})
            self._gone = True
            return
        for report in reports:
            if "started" in report:
                log.info(logs.line("training_started", run=self._plan.key, pid=report["started"]))
                if not self._plan.attached and not self._plan.container:
                    self._pid = report["started"]
                    if self._on_measured is not None:
                        self._meter = UsageMeter(self._pid, self._own_folders(), time.monotonic())
                self.progress.activity = Activity.STARTING
                self._on_started()
            elif "failed" in report:
                self._exit_code = 127
                self._message = f"cannot start the training: {report['failed']}"
            elif "exit" in report:
                container = self._plan.container
                self._exit_code = container.exit_code(report["exit"]) if container else report["exit"]
            elif "done" in report:
                self._done = True
                if report.get("left"):
                    self._message = (
                        f"{report['left']} processes do not end after SIGKILL: they hang in the kernel of this machine"
                    )
                if report["done"] and not self._end:
                    self._message = (
                        self._message or f"{report['done']} processes that the training left behind were ended"
                    )

    def _output(self, descriptor: int, output: OutputCapture) -> None:
        try:
            output.read()
        except AgentError as error:
            self._disk_trouble(error)
        if not output.open:
            self._selector.unregister(descriptor)
        if output.over_limit and not self._end:
            limit = self._plan.output_bytes_max
            self._end_tree("output-limit", f"ended: it printed more than {limit // 1024} KiB", 2.0)

    def _end_tree(self, reason: str, message: str, grace_s: float | None = None) -> None:
        assert self._launched is not None
        if not self._end:
            self._end, self._message = reason, message or self._message
            log.info(logs.line("training_ending", run=self._plan.key, reason=reason, message=message))
        if reason in ("window", "stop"):
            for output in self._outputs:
                output.hide()
        self._launched.end(self._plan.grace_s if grace_s is None else grace_s)

    # -- spool --------------------------------------------------------------------------------------------------------
    def _store(self, messages: list[Message]) -> None:
        assert self._spool is not None
        if self._end == "disk-full":
            return  # what is on disk stays complete; the run is over
        for message in messages:
            try:
                self._spool.append(message.SerializeToString())
                if self._spool.unsynced_bytes >= SYNC_BYTES:
                    self._sync()
            except AgentError as error:
                self._disk_trouble(error)
                return

    def _sync(self) -> None:
        assert self._spool is not None
        progress = self.progress
        progress.step, progress.records, progress.ranks = self._ranks.last_step, self._ranks.records, self._ranks.count
        if not self._spool.unsynced_bytes:
            return
        try:
            self._spool.sync()
        except AgentError as error:
            self._disk_trouble(error)
            return
        progress.spooled_bytes = self._spool.synced_bytes
        self._on_spooled()

    def _observe(self, now: float) -> None:
        """Updates what people see of the progress."""
        progress = self.progress
        ending = bool(self._end or self._ranks.over or self._exit_code is not None)
        progress.activity = self._watch.look(now, self._ranks, self._pid, ending=ending, before=progress.activity)
        for number, output in enumerate(self._outputs):
            if output.read_bytes != self._shown_bytes[number] and (line := output.last_line()):
                progress.last_output = line
        self._shown_bytes = tuple(output.read_bytes for output in self._outputs)

    def _own_folders(self) -> tuple[Path, ...]:
        """Folders in which this run writes alone."""
        plan = self._plan
        private = plan.view.folder if plan.view else plan.cwd if plan.origin else None
        own = (self._folder.root, self._runtime.path, *((private,) if private else ()))
        return tuple(Path(os.path.realpath(place)) for place in own)

    def _measure(self, now: float) -> None:
        """Looks at what the training uses of the machine."""
        if self._meter is not None and self._exit_code is None and not self._ranks.over:
            self._meter.look(now, training=self._ranks.last_step is not None)

    def _decide_side_by_side(self) -> None:
        """Reports how many runs like this one may train at a time. Not before its end: the next run then finds whatever this one has
        left behind, as if all runs trained one after another, and a run that fails stops the audit before others start."""
        failed = self._ranks.last_step is None or (not self._ranks.over and self._exit_code != 0)
        if failed or self._meter is None or self._on_measured is None or (usage := self._meter.usage()) is None:
            return
        usage = replace(
            usage,
            ranks=self._ranks.count + self._ranks.elsewhere,
            common_copy=self._folder.common_work is not None and self._plan.view is None,
        )
        room = machine_room()
        decision = side_by_side(usage, room, omp_dynamic=is_on(self._plan.env.get("OMP_DYNAMIC", "")))
        log.info(
            logs.line(
                "measured", run=self._plan.key, at_a_time=decision.runs, why=decision.reason, cores=decision.cores_used,
                of=decision.cores, memory_mb=decision.memory_bytes >> 20,
            )
        )  # fmt: skip
        self._on_measured(decision)

    def _disk_trouble(self, error: AgentError) -> None:
        if self._end == "disk-full":
            return
        for output in self._outputs:
            output.discard()
        self._end = ""  # stronger than another reason to end: data is missing
        self._end_tree("disk-full", str(error) if isinstance(error, DiskFullError) else f"ended: {error}", 2.0)

    def _limit_reached(self, exit_code: int) -> str:
        """One line about the limit that ended the training; empty if none did."""
        limits, cgroup = self._plan.limits, self._cgroup
        if limits is None or self._end or exit_code in (0, 127):
            return ""
        if cgroup:
            return limits.reached(cgroup.memory_kills, cgroup.processes_refused)
        if self._plan.container:
            return limits.reached_in_container(exit_code)
        return limits.reached_by_a_process(self._folder.output_tail())

    def _outcome(self, wall_s: float) -> Outcome:
        assert self._spool is not None
        exit_code = self._exit_code if self._exit_code is not None else -9
        message = self._limit_reached(exit_code) or self._message
        if not message and not self._end and self._ranks.count == 0:
            seen = "no probe reported" if not self._ranks.processes else "none of its processes did a training step"
            message = f"no training was seen: {seen} (no torch, python -I, or no backward and optimizer step)"
        if not message and (troubles := self._ranks.troubles):
            message = "; ".join(troubles)[:1000]
        if elsewhere := self._ranks.elsewhere:
            seen = f"{elsewhere} of its ranks train on other nodes and are not in this recording"
            message = f"{message}; {seen}" if message else seen
        return Outcome(
            end=self._end or "exit",
            exit_code=exit_code,
            message=message,
            ranks=self._ranks.count,
            ranks_elsewhere=elsewhere,
            records=self._ranks.records,
            last_step=self._ranks.last_step,
            wall_s=wall_s,
            spool_records=self._spool.records,
            spool_bytes=self._spool.synced_bytes,
            torch=self._ranks.facts,
            read=self._ranks.variables_read,
            cost=self._ranks.cost,
            observed=self._ranks.observed,
            failure=self._failure(exit_code),
            timings=self._clock.timings(self._ranks.times),
        )

    def _failure(self, exit_code: int) -> Failure | None:
        plan = self._plan
        return failure_of(
            Ended(
                end=self._end,
                exit_code=exit_code,
                stdout=self._folder.output_of("stdout"),
                stderr=self._folder.output_of("stderr"),
                killed_for_memory=bool(self._cgroup and self._cgroup.memory_kills),
                seen=self._ranks.count > 0,
                complete=bool(self._ranks.over),
                cwd=plan.cwd,
                origin=plan.origin,
                interpreter=plan.interpreter,
            )
        )
