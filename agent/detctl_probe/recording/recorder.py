"""The recorder, one in each process: observers give it what they see; it numbers, chains and sends that.

Observers call `record` and `note`; the optimizer's observer calls `end_step`; nobody else keeps time. The recorder is cheap, never raises
into the training and never draws a random number. A digest may call torch functions that observers watch: observers return at once
while `busy` is True, and digest inside `with recorder.working():`, which sets it for their thread and counts the cost.

In a DataLoader worker (`become_worker`) nothing is sent: records and notes wait until `drain`, travel with the batch, and the main
process gives them to `replay` when it takes the batch.

Each job has a module of its own: `coverage` (observers, unobserved parts, interventions), `note_limits`, `worker_buffer`, `link` (the
connection to the agent), `record_writer` (numbers and chains), `step_starts`, `undecided_batches`, `rank` and `contents` (the JSON frames).
"""

from __future__ import annotations

import os
import threading
from time import monotonic, sleep  # by name: an intervention may replace time.sleep
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from detctl_probe.digest import device_digests
from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.process.callers import Callers
from detctl_probe.process.paths import Places
from detctl_probe.recording import contents
from detctl_probe.recording.costs import OTHER, Costs
from detctl_probe.recording.coverage import Coverage
from detctl_probe.recording.link import Link
from detctl_probe.recording.note_limits import NoteLimits
from detctl_probe.recording.rank import Rank
from detctl_probe.recording.record_writer import Entry, Records, Writer
from detctl_probe.recording.sampling import LEFT_OUT_AT_STEP, Sampling
from detctl_probe.recording.step_starts import StepStarts
from detctl_probe.recording.undecided_batches import UndecidedBatches
from detctl_probe.recording.worker_buffer import Seen, WorkerBuffer
from detctl_probe.recording.working import Depth, Working
from detctl_probe.settings import Settings
from detctl_probe.transport import frames

MAIN, CHILD, WORKER, LAUNCHER = "main", "child", "worker", "launcher"

# These count from the start, whatever the window.
EARLY_STAGES = frozenset(("code", "listing", "files"))

# What these observers saw in a worker counts as seen; the loader's observers count for themselves.
_STDLIB_OBSERVERS = {"files": "files", "listing": "listings"}

NOTE_TEXT_MAX = 2000
END_WAIT_S = 2.0  # an agent that does not end the run (another rank still trains) must not hold it for long


class Recorder:
    """See the module's docstring. Observers read the attributes; only the methods here write them."""

    settings: Settings
    role: str  # main, child, worker or launcher
    step: int  # the current step; what happens before the first is step 0
    micro: int  # finished backward passes (and closures of one optimizer step) inside the step
    phase: str  # "train" or "eval"; model observers set it by set_phase
    recording: bool  # inside the window, not sealed: observers return at once when it is False (see also `wants`)
    sealed: bool
    costs: Costs  # own time, of all threads
    sampling: Sampling  # what is left out to keep a budget

    def __init__(
        self, settings: Settings, role: str = MAIN, collect_facts: Callable[[], Dict[str, Any]] = dict
    ) -> None:
        """collect_facts() reads what only this process knows of itself, for FACTS and the seal."""
        self.settings = settings
        self.role = role
        places = dict(settings.paths)
        places.setdefault("cwd", os.getcwd())
        self.places = Places(places)
        self.callers = Callers(self.places)
        self.batch_phase: Callable[[], Optional[str]] = lambda: None
        self._collect_facts = collect_facts
        self._starts = StepStarts(self._note_failed_start)
        self._coverage = Coverage()
        self.observers = self._coverage.observers
        self.observer = self._coverage.observer
        self.unobserved = self._coverage.unobserved
        self.intervention = self._coverage.intervention
        if settings.level == "step":
            for stage, what, why in LEFT_OUT_AT_STEP:
                self.unobserved(stage, what, why)
        self._reset()

    def _reset(self) -> None:
        """The state of a process that has recorded nothing; a forked child starts with it again."""
        self._lock = threading.RLock()
        self._depth = Depth()
        self.costs = Costs()
        only = self.settings.uninstrumented_until
        self.sampling = Sampling(self.settings.budget, None if only is None else ("update", only))
        self._link = Link(self.settings.socket, self._hello, self._link_lost)
        self._writer = Writer(self.settings.level == "step", self._link.send)
        self._note_limits = NoteLimits()
        self._worker_buffer = WorkerBuffer()
        self._steps_finished = 0
        self._begun = False
        self._facts_sent = False
        self._rank = Rank()
        self._pid = os.getpid()
        self.step = 0
        self.micro = 0
        self.phase = "train"
        self.fed = (-1, -1)  # (step, micro) in which a batch for training was taken last
        self._batches = UndecidedBatches()
        self.when_decided = self._batches.when_decided
        self.batch_taken = self._batches.batch_taken
        self.called_in = self._batches.called_in
        self._decide = self._batches.decide
        self._training = False
        self.sealed = False
        self.recording = self.settings.window_start <= 0
        self._coverage.forget_fired()

    # -- what observers call ----------------------------------------------------------------------------------------
    @property
    def busy(self) -> bool:
        """Whether this thread is inside a digest: observers then return at once."""
        return self._depth.count > 0

    @property
    def keeps_evidence(self) -> bool:
        """Whether evidence of a record of the model goes anywhere: level `step` has no place for it."""
        return self.settings.level != "step"

    def working(self, stage: str = "") -> Working:
        """`with recorder.working(stage):` around fingerprinting: sets `busy` for this thread, counts the cost; nests."""
        return Working(self._depth, self.costs, stage)

    def wants(self, stage: str, site: str = "") -> bool:
        """Whether a record would be kept now. Before the window begins: code, listing, files, seeds, and init at step 0."""
        if self.sealed:
            return False
        if not self.sampling.takes(stage, self.step):
            return False
        return (
            self.recording
            or stage in EARLY_STAGES
            or (stage == "rng" and site.startswith("seed/"))
            or (stage == "init" and self.step == 0)
        )

    def takes(self, stage: str) -> bool:
        """Whether values of a recurring stage are taken in this step: observers ask before they digest."""
        return self.recording and self.sampling.takes(stage, self.step)

    def record(
        self,
        stage: str,
        site: str,
        value: Fingerprint,
        *,
        occurrence: Optional[int] = None,  # None: counted by (stage, phase, step, site)
        phase: Optional[str] = None,
        evidence: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """Records one fingerprint at the current step."""
        if not self.wants(stage, site):
            return
        with self.working(stage):
            if self.role == WORKER:
                with self._lock:
                    self._worker_buffer.add(("record", stage, site, value, occurrence, phase, evidence))
            elif self.role != LAUNCHER:
                self.keep(stage, [(site, occurrence, value, evidence)], phase or self.phase)

    def record_all(
        self, stage: str, seen: Sequence[Tuple[str, Fingerprint, Optional[Mapping[str, Any]]]], phase: str
    ) -> None:
        """record() of each (site, value, evidence) at once; for what the main process sees of the model."""
        if not seen or not self.wants(stage) or self.role in (WORKER, LAUNCHER):
            return
        with self.working(stage):
            self.keep(stage, [(site, None, value, evidence) for site, value, evidence in seen], phase)

    def keep(self, stage: str, entries: Sequence[Entry], phase: str) -> None:
        """The end of record and record_all, for a hook that has asked `takes` and measures its own time."""
        with self._lock:
            try:
                if not self._link.lost and not self.sealed:
                    if not self._training and stage in frames.TRAINING_STAGES:
                        self._training = True
                    self._writer.write(Records(stage, phase, self.step, self.micro, entries))
            except Exception as error:
                self._link.fail("records of %s" % stage, error)

    def note(self, kind: str, text: str, **fields: Any) -> None:
        """Evidence that belongs to no record; equal notes are sent once, with a limit for each kind."""
        with self.working(), self._lock:
            try:
                text = text[:NOTE_TEXT_MAX]
                if self.sealed or self._link.lost or not self._note_limits.admit(kind, text, fields):
                    return
                if self.role == WORKER:
                    self._worker_buffer.add(("note", kind, text, Fingerprint(b"", ""), None, None, fields))
                else:
                    content = {"kind": kind, "text": text, "step": self.step, **fields}
                    self._link.send(frames.json_frame(frames.NOTE, content), now=False)
            except Exception as error:
                self._link.fail("a note", error)

    def imported(self, began_at: Optional[float] = None) -> None:
        """Reports that torch has been imported. Only the main process does: a child that records nothing opens no connection.

        began_at: the monotonic time at which the import began."""
        if self.role == MAIN and not self.sealed:
            with self._lock:
                try:
                    times = {} if began_at is None else {"began_at": began_at, "ended_at": monotonic()}
                    self._link.send(frames.json_frame(frames.IMPORTED, times))
                except Exception as error:
                    self._link.fail("a report", error)

    def set_phase(self, phase: str) -> None:
        """Records that follow belong to `train` or `eval`."""
        self.phase = phase

    def read_batch_phase_by(self, batch_phase: Callable[[], Optional[str]]) -> None:
        """batch_phase() returns whether a batch that is taken now is for training or for evaluation, or None if that is not known."""
        self.batch_phase = batch_phase

    @property
    def undecided(self) -> bool:
        """Whether a batch was taken of which it is not known yet whether it is for training or for evaluation."""
        return self._batches.undecided

    def end_micro(self) -> None:
        """A backward pass or a closure ended."""
        self.micro += 1

    def end_step(self, *, skipped: bool = False) -> None:
        """A step ended: flushes, moves on, then runs the callbacks of at_step_start; seals if the window is over."""
        if self.sealed or self.role in (WORKER, LAUNCHER):
            return
        with self.working(OTHER), self._lock:
            try:
                self._decide()
                self._finish_step(skipped)
            except Exception as error:
                self._link.fail("the end of step %d" % self.step, error)
        if self.recording:
            self._begun = True
            self._starts.run()

    def at_step_start(self, callback: Callable[[], None]) -> None:
        """callback() runs at the start of each step, first before anything of step 0 (see begin)."""
        self._starts.add(callback)

    def begin(self) -> None:
        """The first thing of step 0 is about to happen (a loader's iter, a first forward): runs at_step_start callbacks once."""
        if self._begun or self.sealed or self.role in (WORKER, LAUNCHER):
            return
        with self._lock:
            if self._begun:
                return
            self._begun = True
        self._starts.run()

    def logical(self, path: str) -> str:
        """`{data}/train` for a path under a declared place, else the path; see settings.paths."""
        return self.places.logical(path)

    def caller(self) -> Mapping[str, Any]:
        """{"file": "{cwd}/train.py", "line": 31, "function": "..."} of the nearest frame that belongs to the user's code."""
        return self.callers.describe(self.callers.user_frame(2))

    # -- DataLoader workers -------------------------------------------------------------------------------------------
    def become_worker(self) -> None:
        """This process is a DataLoader worker: it never sends; what it had recorded before is dropped."""
        self._reset()
        self.role = WORKER
        self.recording = True

    def drain(self) -> List[Seen]:
        """What this worker saw since the last call; picklable, to travel with a batch."""
        with self._lock:
            return self._worker_buffer.drain()

    def replay(self, seen: List[Seen]) -> None:
        """Records, in the main process and at its step, what a worker drained."""
        for what, first, second, value, occurrence, phase, more in seen:
            if what == "record":
                row = self.observers.get(_STDLIB_OBSERVERS.get(first, ""))
                if row is not None:
                    row.fired += 1
                self.record(first, second, value, occurrence=occurrence, phase=phase, evidence=more)
            else:
                self.note(first, second, **dict(more or {}))

    # -- ends ---------------------------------------------------------------------------------------------------------
    def seal(self, reason: str) -> None:
        """Sends the last frame; later records are dropped."""
        with self.working(OTHER), self._lock:
            if self.sealed:
                return
            try:
                self._decide()
                if self._has_something_to_seal():
                    self._send_seal(reason)
            except Exception as error:
                self._link.fail("the seal", error)
            self.sealed = True
            self.recording = False

    def after_fork(self) -> None:
        """In a forked child: drops what belongs to the parent; the child's own first flush opens a connection."""
        inherited = self._link
        role = self.role
        device_digests.forget()
        self._reset()
        self.role = WORKER if role == WORKER else CHILD
        if inherited.lost:
            self._link.give_up()
        inherited.leave_to_parent()

    # -- inside -------------------------------------------------------------------------------------------------------
    def _hello(self) -> bytes:
        return frames.json_frame(frames.HELLO, contents.hello(self.settings.level, self.role, self._pid))

    def _link_lost(self) -> None:
        self.recording = False
        self._writer.drop()

    def _finish_step(self, skipped: bool) -> None:
        self._rank.learn()
        if not self._facts_sent:
            self._facts_sent = True
            facts = contents.facts(self._collect_facts, self._rank.current())
            self._link.send(frames.json_frame(frames.FACTS, facts), now=False)
        self._writer.end_step(self.step, skipped)
        finished = self.step
        if self.recording:
            self.costs.end_step(finished)
            self.sampling.step_ended(self.costs, finished)
        self._steps_finished += 1
        self.step += 1
        self.micro = 0
        self.phase = "train"  # an evaluation after it sets its own
        self.recording = self.step >= self.settings.window_start and not self._link.lost
        self._link.receive()
        stop_after = self._link.stop_after
        if self.settings.window_end is not None and self.step >= self.settings.window_end:
            self._seal_and_await_end("window")
        elif stop_after is not None and finished >= stop_after:
            self._seal_and_await_end("stop")

    def _seal_and_await_end(self, reason: str) -> None:
        """The agent ends this process now: here, between two steps, and not in the middle of the script's next checkpoint."""
        self.seal(reason)
        if self._link.open and not self._link.lost:
            sleep(END_WAIT_S)

    def _has_something_to_seal(self) -> bool:
        """A child that has recorded nothing needs no seal; the main process and a launcher always send one."""
        if self.role == WORKER or self._link.lost:
            return False
        return self._link.open or not self._writer.empty or self.role in (MAIN, LAUNCHER)

    def _send_seal(self, reason: str) -> None:
        self._writer.finish()
        self._report_left_out()
        ranks = self._rank.current()
        content = contents.seal(
            reason, ranks, steps_finished=self._steps_finished, step=self.step, training=self._training,
            writer=self._writer, coverage=self._coverage, facts=contents.facts(self._collect_facts, ranks),
            costs=self.costs, sampling=self.sampling,
        )  # fmt: skip
        self._link.send(frames.json_frame(frames.SEAL, content))
        self._link.finish()

    def _report_left_out(self) -> None:
        """Adds what the budget left out to the coverage."""
        share = self.sampling.share
        if share is None:
            return
        end = self.settings.window_end
        last = max(self.step - 1, 0) if end is None else min(self.step, end) - 1
        for stage, which in self.sampling.left_out(last):
            self.unobserved(stage, which, "the probe left them out to keep the budget of %g %%" % (share * 100))

    def _note_failed_start(self, module: str, error: Exception) -> None:
        self.note("observer-failed", "%s failed at the start of a step: %s: %s" % (module, type(error).__name__, error))


_recorder: Optional[Recorder] = None


def recorder() -> Optional[Recorder]:
    """The recorder of this process, or None if no launcher asked for one."""
    return _recorder


def set_recorder(value: Optional[Recorder]) -> None:
    """Called once by start.py."""
    global _recorder
    _recorder = value
