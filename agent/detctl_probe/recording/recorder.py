"""The recorder: one a process. Observers tell it what they saw; it numbers, chains and sends.

Observers call `record` and `note`; the optimizer observer moves `step`; nobody else keeps time. It must be cheap, never
raise into the training, never draw a random number, and be re-entrant safe (a digest may call torch functions that observers watch:
observers check `busy`, and digest inside `with recorder.working():`, which sets it for their thread and counts the cost).

In a DataLoader worker (`become_worker`) nothing is sent: records and notes wait until `drain`, travel with the batch, and the main
process gives them to `replay` where it takes the batch.
"""

from __future__ import annotations

import os
import threading
from time import sleep  # by name: an intervention may replace time.sleep
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from detctl_probe.digest import device_digests
from detctl_probe.digest.fingerprint import Print
from detctl_probe.process.callers import Callers
from detctl_probe.process.paths import Places
from detctl_probe.process.signals import from_signal
from detctl_probe.process.stderr import say
from detctl_probe.recording import contents
from detctl_probe.recording.costs import OTHER, Costs
from detctl_probe.recording.record_writer import Entry, Records, Writer
from detctl_probe.recording.sampling import LEFT_OUT_AT_STEP, Sampling
from detctl_probe.settings import Settings
from detctl_probe.transport import frames
from detctl_probe.transport.connection import Connection

MAIN, CHILD, WORKER, LAUNCHER = "main", "child", "worker", "launcher"

TRAINING_STAGES = frozenset(("init", "forward", "loss", "backward", "update"))
# These count from the start, whatever the window.
EARLY_STAGES = frozenset(("code", "listing", "files"))

# What these saw in a worker counts as seen; the loader's observers count for themselves.
_STDLIB_OBSERVERS = {"files": "files", "listing": "listings"}

NOTES_BY_KIND_MAX = 100
NOTE_TEXT_MAX = 2000
CARRIED_MAX = 200_000  # between two batches of a worker; a foreign worker loop may never drain
SEAL_WAIT_S = 60.0
END_WAIT_S = 2.0  # an agent that does not end the run (a rank is still out) must not hold it for long

Seen = Tuple[str, str, str, Print, Optional[int], Optional[str], Optional[Mapping[str, Any]]]


class Observer:
    """One row of the seal's `observers`."""

    def __init__(self, name: str, stage: str) -> None:
        self.name = name
        self.stage = stage
        self.installed = False
        self.fired = 0
        self.failed: Optional[str] = None


class _Local(threading.local):
    depth = 0


class _Working:
    """Marks a thread as inside the probe and times it for a stage."""

    __slots__ = ("_outer", "_recorder", "_stage")

    def __init__(self, recorder: "Recorder", stage: str) -> None:
        self._recorder = recorder
        self._stage = stage

    def __enter__(self) -> None:
        recorder = self._recorder
        recorder._local.depth += 1
        self._outer = recorder.costs.enter(self._stage)

    def __exit__(self, *_: object) -> None:
        recorder = self._recorder
        local = recorder._local
        local.depth = local.depth - 1 if local.depth else 0  # none where the thread has forked meanwhile
        recorder.costs.leave(self._outer)


class Recorder:
    """See the module's text. Attributes are read by observers and written only by the methods here."""

    settings: Settings
    role: str  # main, child, worker or launcher
    step: int  # the step now under way; what happens before the first is step 0
    micro: int  # finished backward passes (closures of one optimizer step count up too) inside the step
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
        self.collect_facts = collect_facts
        places = dict(settings.paths)
        places.setdefault("cwd", os.getcwd())
        self.places = Places(places)
        self.callers = Callers(self.places)
        self.observers: Dict[str, Observer] = {}
        self.batch_phase: Callable[[], Optional[str]] = lambda: None  # of a batch that is taken now; None: not known
        self._starts: List[Callable[[], None]] = []
        self.unobserved_parts: Dict[Tuple[str, str], Dict[str, str]] = {}
        self.interventions: Dict[str, Dict[str, Any]] = {}
        if settings.level == "step":
            for stage, what, why in LEFT_OUT_AT_STEP:
                self.unobserved(stage, what, why)
        self._fresh()

    def _fresh(self) -> None:
        """The state of a process that has recorded nothing; a forked child starts with it again."""
        self._lock = threading.RLock()
        self._local = _Local()
        self.costs = Costs()
        bare = self.settings.bare
        self.sampling = Sampling(self.settings.budget, None if bare is None else ("update", bare))
        self._connection: Optional[Connection] = None
        self._lost = False
        self.writer = Writer(self.settings.level == "step", self._send)
        self._notes: Set[Tuple[Any, ...]] = set()
        self._notes_by_kind: Dict[str, int] = {}
        self._carried: List[Seen] = []
        self._overflowed = False
        self.steps_finished = 0
        self._stop_after: Optional[int] = None
        self._began = False
        self._facts_sent = False
        self._rank: Optional[Tuple[int, int]] = None
        self.pid = os.getpid()
        self.step = 0
        self.micro = 0
        self.phase = "train"
        self.training = False
        self.sealed = False
        self.recording = self.settings.window_start <= 0
        for observer in self.observers.values():
            observer.fired = 0

    # -- what observers call ----------------------------------------------------------------------------------------
    @property
    def busy(self) -> bool:
        """This thread is inside a digest: observers return at once when it is True."""
        return self._local.depth > 0

    @property
    def keeps_evidence(self) -> bool:
        """Whether evidence of a record of the model goes anywhere: level `step` has no place for it."""
        return self.settings.level != "step"

    def working(self, stage: str = "") -> _Working:
        """`with recorder.working(stage):` around fingerprinting: sets `busy` for this thread, counts the cost; nests."""
        return _Working(self, stage)

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
        value: Print,
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
                    self._carry(("record", stage, site, value, occurrence, phase, evidence))
            elif self.role != LAUNCHER:
                self.keep(stage, [(site, occurrence, value, evidence)], phase or self.phase)

    def record_all(
        self, stage: str, seen: Sequence[Tuple[str, Print, Optional[Mapping[str, Any]]]], phase: str
    ) -> None:
        """record() of each (site, value, evidence), in one go; for what the main process sees of the model."""
        if not seen or not self.wants(stage) or self.role in (WORKER, LAUNCHER):
            return
        with self.working(stage):
            self.keep(stage, [(site, None, value, evidence) for site, value, evidence in seen], phase)

    def keep(self, stage: str, entries: Sequence[Entry], phase: str) -> None:
        """The end of record and record_all, for a hook that has asked `takes` and is timed itself."""
        with self._lock:
            try:
                if not self._lost and not self.sealed:
                    if not self.training and stage in TRAINING_STAGES:
                        self.training = True
                    self.writer.write(Records(stage, phase, self.step, self.micro, entries))
            except Exception as error:
                if from_signal(error):
                    raise
                self._lose("records of %s: %s: %s" % (stage, type(error).__name__, error))

    def note(self, kind: str, text: str, **fields: Any) -> None:
        """Evidence that hangs on no record; equal notes are sent once, with a limit by kind."""
        with self.working(), self._lock:
            try:
                text = text[:NOTE_TEXT_MAX]
                key = (kind, text, str(fields.get("file")), str(fields.get("line")))
                sent = self._notes_by_kind.get(kind, 0)
                if self.sealed or self._lost or key in self._notes or sent >= NOTES_BY_KIND_MAX:
                    return
                self._notes.add(key)
                self._notes_by_kind[kind] = sent + 1
                content = {"kind": kind, "text": text, "step": self.step, **fields}
                if self.role == WORKER:
                    self._carry(("note", kind, text, Print(b"", ""), None, None, fields))
                else:
                    self._send(frames.json_frame(frames.NOTE, content), now=False)
            except Exception as error:
                if from_signal(error):
                    raise
                self._lose("a note: %s: %s" % (type(error).__name__, error))

    def set_phase(self, phase: str) -> None:
        """Records that follow belong to `train` or `eval`."""
        self.phase = phase

    def read_batch_phase_by(self, batch_phase: Callable[[], Optional[str]]) -> None:
        """batch_phase() says whether a batch that is taken now is for training or for evaluation, or None where it is not known."""
        self.batch_phase = batch_phase

    def end_micro(self) -> None:
        """A backward pass or a closure ended."""
        self.micro += 1

    def end_step(self, *, skipped: bool = False) -> None:
        """A step ended: flushes, moves on, then runs the callbacks of at_step_start; seals where the window is over."""
        if self.sealed or self.role in (WORKER, LAUNCHER):
            return
        with self.working(OTHER), self._lock:
            try:
                self._finish_step(skipped)
            except Exception as error:
                if from_signal(error):
                    raise
                self._lose("the end of step %d: %s: %s" % (self.step, type(error).__name__, error))
        if self.recording:
            self._began = True
            self._run_starts()

    def at_step_start(self, callback: Callable[[], None]) -> None:
        """callback() runs at the start of each step, first before anything of step 0 (see begin)."""
        self._starts.append(callback)

    def begin(self) -> None:
        """The first thing of step 0 is about to happen (a loader's iter, a first forward): runs at_step_start callbacks once."""
        if self._began or self.sealed or self.role in (WORKER, LAUNCHER):
            return
        with self._lock:
            if self._began:
                return
            self._began = True
        self._run_starts()

    def observer(self, name: str, stage: str) -> Observer:
        """Registers an observer for the seal; the caller marks it installed, fired or failed."""
        return self.observers.setdefault(name, Observer(name, stage))

    def unobserved(self, stage: str, what: str, why: str) -> None:
        """Coverage: a part of a stage that nobody watches."""
        if len(self.unobserved_parts) < 1000:
            self.unobserved_parts.setdefault((stage, what), {"stage": stage, "what": what, "why": why})

    def learn_rank(self) -> Optional[Tuple[int, int]]:
        """(rank, world size) of torch.distributed, kept from when it said so: the group is often gone when the program ends."""
        if self._rank is None:
            self._rank = contents.distributed_rank()
        return self._rank

    def intervention(self, name: str, value: str, acted: bool, detail: str, **facts: Any) -> None:
        """Reads back an intervention; the last call for a name stands. detail: for people; facts: what later code decides on."""
        self.interventions[name] = {"name": name, "value": value, "acted": acted, "detail": detail, **facts}

    def logical(self, path: str) -> str:
        """`{data}/train` for a path under a declared place, else the path; see settings.paths."""
        return self.places.logical(path)

    def caller(self) -> Mapping[str, Any]:
        """{"file": "{cwd}/train.py", "line": 31, "function": "..."} of the nearest frame that belongs to the user's code."""
        return self.callers.describe(self.callers.user_frame(2))

    # -- DataLoader workers -------------------------------------------------------------------------------------------
    def become_worker(self) -> None:
        """This process is a DataLoader worker: it never sends; what it had recorded before is dropped."""
        self._fresh()
        self.role = WORKER
        self.recording = True

    def drain(self) -> List[Seen]:
        """What this worker saw since the last call; picklable, to travel with a batch."""
        with self._lock:
            seen, self._carried = self._carried, []
        return seen

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
                if self.role == WORKER:
                    pass
                elif not self._lost and (self._connection or not self.writer.empty or self.role in (MAIN, LAUNCHER)):
                    self.writer.finish()
                    self._tell_budget()
                    self._send(frames.json_frame(frames.SEAL, contents.seal(self, reason)))
                    if self._connection is not None:
                        self._connection.drain(SEAL_WAIT_S)
                        self._connection.close()
            except Exception as error:
                if from_signal(error):
                    raise
                self._lose("the seal: %s: %s" % (type(error).__name__, error))
            self.sealed = True
            self.recording = False

    def after_fork(self) -> None:
        """In a forked child: drops what belongs to the parent; a connection is opened by the first flush of its own."""
        inherited = self._connection
        role, lost = self.role, self._lost
        device_digests.forget()
        self._fresh()
        self.role = WORKER if role == WORKER else CHILD
        if lost:  # the run is unverified already: the child has nothing to add, and no second line to say
            self._lost, self.recording = True, False
        if inherited is not None:
            inherited.close()

    def _carry(self, seen: Seen) -> None:
        if len(self._carried) < CARRIED_MAX:
            self._carried.append(seen)
        elif not self._overflowed:
            self._overflowed = True
            say("a DataLoader worker saw more than %d things without a batch: the rest of them is lost" % CARRIED_MAX)

    # -- inside -------------------------------------------------------------------------------------------------------
    def _finish_step(self, skipped: bool) -> None:
        self.learn_rank()
        if not self._facts_sent:
            self._facts_sent = True
            self._send(frames.json_frame(frames.FACTS, contents.facts(self)), now=False)
        self.writer.end_step(self.step, skipped)
        finished = self.step
        if self.recording:
            self.costs.end_step(finished)
            self.sampling.step_ended(self.costs, finished)
        self.steps_finished += 1
        self.step += 1
        self.micro = 0
        self.phase = "train"  # an evaluation after it sets its own
        self.recording = self.step >= self.settings.window_start and not self._lost
        self._read_stop()
        if self.settings.window_end is not None and self.step >= self.settings.window_end:
            self._seal_and_await_end("window")
        elif self._stop_after is not None and finished >= self._stop_after:
            self._seal_and_await_end("stop")

    def _seal_and_await_end(self, reason: str) -> None:
        """The agent ends this process now: here, between two steps, and not in the middle of the script's next checkpoint."""
        self.seal(reason)
        if self._connection is not None and not self._lost:
            sleep(END_WAIT_S)

    def _tell_budget(self) -> None:
        """Coverage of what was left out, for the seal."""
        share = self.sampling.share
        if share is None:
            return
        last = (
            max(self.step - 1, 0) if self.settings.window_end is None else min(self.step, self.settings.window_end) - 1
        )
        for stage, which in self.sampling.left_out(last):
            self.unobserved(stage, which, "left out to keep the budget of %g %%" % (share * 100))

    def _read_stop(self) -> None:
        if self._connection is None:
            return
        for kind, payload in self._connection.poll():
            if kind == frames.STOP:
                self._stop_after = frames.unpack_stop(payload)
        if self._connection.broken:
            self._lose(None)

    def _run_starts(self) -> None:
        for callback in list(self._starts):
            try:
                callback()
            except Exception as error:
                if from_signal(error):
                    raise
                name = getattr(callback, "__module__", "?")
                self.note("observer-failed", "%s at a step's start: %s: %s" % (name, type(error).__name__, error))

    def _send(self, data: bytes, now: bool = True) -> None:
        if self._lost:
            return
        if self._connection is None:
            self._connection = Connection(self.settings.socket, frames.json_frame(frames.HELLO, contents.hello(self)))
        self._connection.send(data, now=now)
        if self._connection.broken:
            self._lose(None)

    def _lose(self, why: Optional[str]) -> None:
        """Nothing more is sent, and above all no seal: the run ends unverified."""
        if not self._lost:
            self._lost = True
            self.recording = False
            self.writer.drop()
            if self._connection is not None:
                self._connection.close()
            if why is not None:
                say("recording stops, the training goes on: %s" % why)


_recorder: Optional[Recorder] = None


def recorder() -> Optional[Recorder]:
    """The recorder of this process, or None where no launcher asked for one."""
    return _recorder


def set_recorder(value: Optional[Recorder]) -> None:
    """Called once by start.py."""
    global _recorder
    _recorder = value
