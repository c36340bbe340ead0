"""Intervention `identity=frozen`: the user's own code sees the same clock, host name, process ids, uuids and os.urandom in every run.

The caller decides: packages, the standard library (locks, temporary files, sockets) and C code keep the real values. The frozen clocks,
also those that measure durations, advance by a millisecond with each call, and by the time that the program sleeps: a loop that waits for
the clock ends. The read-back counts the calls by name.
"""

from __future__ import annotations

import os
import platform
import random
import socket
import sys
import time
import uuid
from collections import Counter
from types import FrameType
from typing import Any, Callable, Optional

from detctl_probe.intervene.randomness import frozen_datetime
from detctl_probe.intervene.randomness.deterministic_bytes import DeterministicBytes
from detctl_probe.intervene.requested import option_value
from detctl_probe.process.callers import USER
from detctl_probe.process.imports import when_imported
from detctl_probe.process.patching import Builtin, rebind
from detctl_probe.recording.recorder import Recorder

NAME = "identity"
EPOCH_S = 1_700_000_000.0
HOST = "frozen-host"
PID = 4242
USER_NAME = "frozen-user"
CALL_US = 1000
# Modules that draw for their caller, and those of the functions that stand in for others.
_BETWEEN = (
    "/random.py",
    "/secrets.py",
    "/uuid.py",
    "/identity.py",
    "/frozen_datetime.py",
    "/patching.py",
    "/observe/randomness/seeds.py",
    "/observe/outside/user_reads.py",
    "/intervene/randomness/seed.py",
)


class _Frozen:
    """The frozen values, and a count of the calls."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._calls: "Counter[str]" = Counter()
        self._now_us = 0
        self.bytes_of = DeterministicBytes("detctl").take

    def count(self, what: str) -> None:
        self._calls[what] += 1
        counts = ", ".join("%s %d times" % row for row in sorted(self._calls.items()))
        detail = "frozen for the program's own code: " + counts
        self._recorder.intervention(NAME, "frozen", True, detail, calls=dict(self._calls))

    def for_user(self, what: str) -> bool:
        """Whether the user's own code calls: directly, or through a module that only draws random numbers."""
        frame: Optional[FrameType] = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename.endswith(_BETWEEN):
            frame = frame.f_back
        if frame is None or not self.of_user(frame):
            return False  # the probe itself, too
        self.count(what)
        return True

    def of_user(self, frame: FrameType) -> bool:
        """Whether a frame is of the user's own code."""
        return self._recorder.callers.kind(frame.f_code.co_filename) == USER

    def now_s(self) -> float:
        self._now_us += CALL_US
        return EPOCH_S + self._now_us / 1e6

    def slept(self, seconds: float) -> None:
        self._now_us += int(seconds * 1e6)


def install(recorder: Recorder) -> None:
    """Raises ValueError for any value but `frozen`."""
    value = option_value(recorder, NAME, "frozen".__eq__, "frozen")
    recorder.intervention(NAME, value, False, "the program's own code read none of them")
    frozen = _Frozen(recorder)
    _replace(time, "time", frozen, frozen.now_s)
    for name in ("monotonic", "perf_counter"):
        _replace(time, name, frozen, lambda: frozen.now_s() - EPOCH_S)
        _replace(time, name + "_ns", frozen, lambda: int((frozen.now_s() - EPOCH_S) * 1e6) * 1000)
    _replace(time, "time_ns", frozen, lambda: int(frozen.now_s() * 1e6) * 1000)
    _formatted(frozen)
    frozen_datetime.install(frozen.now_s, frozen.for_user, frozen.of_user)
    _sleep(frozen)
    for module, name in ((socket, "gethostname"), (platform, "node")):
        _replace(module, name, frozen, lambda: HOST)
    _uname(frozen)
    when_imported("getpass", lambda module: _replace(module, "getuser", frozen, lambda: USER_NAME))
    _replace(os, "getpid", frozen, lambda: PID)
    _replace(os, "getppid", frozen, lambda: PID - 1)
    _replace(os, "urandom", frozen, frozen.bytes_of)
    _replace(uuid, "uuid1", frozen, lambda *_, **__: uuid.UUID(bytes=frozen.bytes_of(16), version=1))
    _replace(uuid, "uuid4", frozen, lambda: uuid.UUID(bytes=frozen.bytes_of(16), version=4))
    _system_random(frozen)


def _replace(module: Any, name: str, frozen: _Frozen, instead: Callable[..., Any]) -> None:
    original = getattr(module, name)
    what = "%s.%s" % (module.__name__, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        return instead(*args, **kwargs) if frozen.for_user(what) else original(*args, **kwargs)

    patched = Builtin(original, call, module.__name__, name)
    setattr(module, name, patched)
    if module is os:
        rebind(random, original, patched)  # SystemRandom's, and so that of secrets


def _formatted(frozen: _Frozen) -> None:
    """Freezes the functions that read the clock if they get no time."""
    for name, others in (("localtime", 0), ("gmtime", 0), ("ctime", 0), ("strftime", 1)):
        original = getattr(time, name)

        def call(*args: Any, original: Any = original, others: int = others, what: str = "time." + name) -> Any:
            if len(args) > others or not frozen.for_user(what):
                return original(*args)
            now = frozen.now_s()
            return original(*args, time.localtime(now)) if others else original(now)

        setattr(time, name, Builtin(original, call, "time", name))


def _uname(frozen: _Frozen) -> None:
    """Freezes only the name of the host; the rest of uname is real."""
    original = getattr(os, "uname", None)
    if original is None:
        return

    def uname() -> Any:
        real = original()
        return os.uname_result((real[0], HOST, *real[2:])) if frozen.for_user("os.uname") else real

    os.uname = Builtin(original, uname, "os", "uname")


def _sleep(frozen: _Frozen) -> None:
    original = time.sleep

    def sleep(seconds: Any) -> None:
        original(seconds)
        frozen.slept(float(seconds))

    time.sleep = Builtin(original, sleep, "time", "sleep")


def _system_random(frozen: _Frozen) -> None:
    """Seeds random.seed() and random.Random() that get no seed: they draw from the system in C."""
    original = random.Random.seed

    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        if a is None and frozen.for_user("random.seed"):
            a = int.from_bytes(frozen.bytes_of(32), "big")
        original(self, a, version)

    random.Random.seed = seed  # type: ignore[method-assign]  # a patch is one
    random.seed = random._inst.seed
