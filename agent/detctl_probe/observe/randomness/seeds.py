"""Seeding calls (stage rng, sites `seed/…`), and what no seed reaches (notes).

A seed is recorded with its value's digest and its caller. Notes name generators that were made or used without a seed
(`unseeded-rng`), and reads of sources that differ in every run: clock, process id, uuid, the system's entropy (`identity`). Functions and
methods are patched, never classes: isinstance, subclasses and pickles stay what they were. Native methods (torch.Generator,
numpy.random.RandomState, SeedSequence) cannot be patched, and are reported as unobserved.
"""

from __future__ import annotations

import functools
import linecache
import os
import re
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, Callable, Deque, Dict, Iterator, Optional, Set, Tuple

from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.observe.randomness import rng, uses
from detctl_probe.observe.randomness.seed_values import fingerprint_of_seed, looks_like
from detctl_probe.process.callers import PACKAGE, USER
from detctl_probe.process.imports import around_packages, when_imported
from detctl_probe.process.patching import Builtin
from detctl_probe.process.signals import from_signal
from detctl_probe.recording.recorder import WORKER, Recorder

SOURCES_MAX = 1000  # lines that read the clock or the system's entropy
# Frames through which a call passes on its way from the user: not the caller that counts.
_PASSED = (
    "/random.py", "/uuid.py", "/secrets.py", "/torch/random.py", "/torch/cuda/random.py",
    "/torch/_dynamo/eval_frame.py", "/torch/_compile.py", "/torch/utils/_contextlib.py",
)  # fmt: skip
CLOCK_VALUES_MAX = 64
# numpy's native types take entropy without a frame or a patchable call of their own: the line that makes one shows it.
_NATIVE = re.compile(
    r"\b(RandomState|SeedSequence|PCG64|PCG64DXSM|MT19937|Philox|SFC64)\(\s*(?:(?:seed|entropy)\s*=\s*)?([\w.]*)\s*\)"
)
_SEED_NAMES = ("seed", "random_state")  # names that packages give to parameters


def install(recorder: Recorder) -> None:
    """Patches the stdlib's functions now, and those of numpy and torch after their import."""
    _Seeds(recorder)


class _Seeds:
    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.row = recorder.observer("seeds", "rng")
        self.seeded: Set[str] = set()
        self._noted: Set[Tuple[CodeType, int]] = set()
        self.first_state: Dict[str, bytes] = {}
        self.forked = False
        self._inside = threading.local()
        # The last results of time_ns: a seed may be made from one.
        self._clock: Deque[int] = deque(maxlen=CLOCK_VALUES_MAX)
        when_imported("random", self._random)
        when_imported("numpy.random", self._numpy)
        when_imported("torch", self._torch)
        around_packages(self._drawn_by_imports)
        self._system()
        recorder.at_step_start(self._compare_states)

    # -- what is noted ------------------------------------------------------------------------------------------------
    def seed(self, site: str, generator: Optional[str], value: Any, unseeded: bool) -> None:
        """Records one seeding call, and notes it if its seed is not fixed."""
        recorder = self.recorder
        if recorder.busy or getattr(self._inside, "call", False):
            return
        try:
            with recorder.working("rng"):
                frame = recorder.callers.nearest(skip_files=_PASSED, depth=2)
                if unseeded:
                    self._unseeded(site, generator, frame)
                    return
                if generator is not None:
                    self._drawn_before(generator, site)
                    self.seeded.add(generator)
                if frame is not None and recorder.callers.package_at_work(frame) is not None:
                    frame = recorder.callers.user_frame(2) or frame
                evidence: Dict[str, Any] = {"call": site, "value": repr(value)[:80]}
                evidence.update(recorder.callers.describe(frame))
                source = looks_like(value, self._clock)
                if source is not None:
                    evidence["looks_like"] = source
                    text = "the seed of %s looks like %s" % (site, source)
                    where = recorder.callers.describe(frame)
                    recorder.note("identity", text, stage="rng", looks_like=source, **where)
                recorder.record("rng", "seed/" + site, fingerprint_of_seed(value), evidence=evidence)
                self.row.fired += 1
        except Exception as error:
            if from_signal(error):
                raise
            recorder.note("observer-failed", "seeds: %s: %s: %s" % (site, type(error).__name__, error))

    def _unseeded(self, site: str, generator: Optional[str], frame: Optional[FrameType]) -> None:
        if frame is None or not self._counts(frame):
            return
        if generator is not None:
            self.seeded.discard(generator)
            self.first_state.pop(generator, None)  # the note below covers it
        self.row.fired += 1
        text = "%s without a seed takes one from the system" % site
        # A DataLoader worker has a cause of its own (worker-seeding): the note travels with the batch and loses its process.
        fields = {"role": WORKER} if self.recorder.role == WORKER else {}
        package = self.recorder.callers.package_at_work(frame)
        if package is not None:  # a user can pass a seed to the package, but not inside it
            text += ", inside %s" % package
            fields["package"] = package
            frame = self.recorder.callers.user_frame(2) or frame
        fields.update(self.recorder.callers.describe(frame))
        self.recorder.note("unseeded-rng", text, stage="rng", call=site, **fields)

    def _drawn_before(self, generator: str, site: str) -> None:
        """Notes a global generator that is seeded for the first time, after something was drawn from it without a seed."""
        first = self.first_state.get(generator)
        if first is None or generator in self.seeded or "seed" in self.recorder.settings.interventions:
            return  # the intervention has seeded it
        now = _READERS[generator]()
        if now is not None and now.digest != first:
            text = "the global generator of %s was drawn from before %s was first called" % (generator, site)
            where = self.recorder.callers.describe(self.recorder.callers.user_frame(3))
            self.recorder.note("drawn-before-seed", text, stage="rng", generator=generator, **where)

    def _counts(self, frame: Optional[FrameType]) -> bool:
        """Whether a frame is of the user's own code or of a package that works for the user; never of the stdlib, torch or numpy."""
        callers = self.recorder.callers
        return frame is not None and (
            callers.kind(frame.f_code.co_filename) == USER or callers.package_at_work(frame) is not None
        )

    def source(self, call: str) -> None:
        """Notes that the user's own code reads a source that differs in every run."""
        recorder = self.recorder
        if recorder.sealed or recorder.busy or getattr(self._inside, "call", False):
            return
        frame = recorder.callers.nearest(skip_files=_PASSED, depth=2)
        if frame is not None and recorder.callers.kind(frame.f_code.co_filename) == USER:
            frame = recorder.callers.in_a_file(frame)
        if frame is None or (frame.f_code, frame.f_lineno) in self._noted:
            return
        if recorder.callers.kind(frame.f_code.co_filename) == USER and len(self._noted) < SOURCES_MAX:
            self._noted.add((frame.f_code, frame.f_lineno))
            with recorder.working("rng"):
                call = _call_of(frame) or call
                text = "%s gives another value in every run" % call
                recorder.note("identity", text, stage="rng", call=call, **recorder.callers.describe(frame))
                self.row.fired += 1

    def _compare_states(self) -> None:
        """Notes each global generator whose state has moved since its import although nobody seeded it."""
        for generator, first in list(self.first_state.items()):
            if generator in self.seeded:
                continue
            now = _READERS[generator]()
            if now is not None and now.digest != first:
                del self.first_state[generator]
                never = "not called after the fork" if generator == "random" and self.forked else "never called"
                text = "the global generator of %s is used, and %s was %s" % (generator, _SEED_CALL[generator], never)
                with self.recorder.working("rng"):
                    where = uses.first(self.recorder, generator)
                    self.recorder.note("unseeded-rng", text, stage="rng", generator=generator, **where)

    @contextmanager
    def _drawn_by_imports(self) -> Iterator[None]:
        """Forgets what a package draws while it is imported: such numbers name things, and no data or weights exist yet."""
        used = [name for name in self.first_state if not self._untouched(name)]
        yield
        for generator in list(self.first_state):
            if not (generator in used or generator in self.seeded or self._untouched(generator)):
                self._remember(generator)

    def _untouched(self, generator: str) -> bool:
        """Whether nobody has seeded a generator or drawn from it."""
        state = None if generator in self.seeded else _READERS[generator]()
        return state is not None and state.digest == self.first_state.get(generator)

    # -- what is patched ----------------------------------------------------------------------------------------------
    def _wrap(self, function: Callable[..., Any], site: str, generator: Optional[str]) -> Callable[..., Any]:
        @functools.wraps(function)
        def seeding(*args: Any, **kwargs: Any) -> Any:
            value = args[0] if args else next(iter(kwargs.values()), None)
            self.seed(site, generator, value, value is None)
            outer = getattr(self._inside, "call", False)
            self._inside.call = True  # torch.manual_seed seeds CUDA by torch.cuda.manual_seed_all: one call
            try:
                return function(*args, **kwargs)
            finally:
                self._inside.call = outer

        return seeding

    def _random(self, module: Any) -> None:
        seeds = self
        inst = module._inst
        original = module.Random.seed

        @functools.wraps(original)
        def seed(self: Any, *args: Any, **kwargs: Any) -> Any:
            value = args[0] if args else kwargs.get("a")
            shared = self is inst
            seeds.seed("random.seed" if shared else "random.Random", "random" if shared else None, value, value is None)
            return original(self, *args, **kwargs)

        module.Random.seed = seed
        module.seed = inst.seed
        self._remember("random")
        # After Python's own, which has just been registered: it seeds `random` again, from the system, in each forked child.
        os.register_at_fork(after_in_child=self._random_forked)

    def _random_forked(self) -> None:
        self.seeded.discard("random")
        self.forked = True
        self._remember("random")

    def _numpy(self, module: Any) -> None:
        for name, generator in (("seed", "numpy"), ("default_rng", None)):
            original = getattr(module, name, None)
            if original is None:
                continue
            call = self._wrap(original, "numpy.random.%s" % name, generator)
            patched = Builtin(original, call, "numpy.random", name)
            setattr(module, name, patched)
        self._quiet_entropy()
        self._remember("numpy")
        self.recorder.unobserved(
            "rng",
            "numpy.random.RandomState(), SeedSequence()",
            "these are native types, and the probe cannot see how they are seeded",
        )

    def _quiet_entropy(self) -> None:
        """numpy's native generators draw entropy even if they get a seed (RandomState(3)): only those without one are noted."""
        owner: Any = sys.modules.get("numpy.random.bit_generator")
        original = getattr(owner, "randbits", None)
        if original is None:
            return

        def randbits(*args: Any, **kwargs: Any) -> Any:
            outer = getattr(self._inside, "call", False)
            if not outer:
                self._native_without_seed()
            self._inside.call = True
            try:
                return original(*args, **kwargs)
            finally:
                self._inside.call = outer

        owner.randbits = randbits

    def _native_without_seed(self) -> None:
        recorder = self.recorder
        if recorder.sealed or recorder.busy:
            return
        try:
            with recorder.working("rng"):
                frame = recorder.callers.nearest(skip_files=_PASSED, depth=2)
                if frame is None or not self._counts(frame):
                    return
                found = _NATIVE.search(linecache.getline(frame.f_code.co_filename, frame.f_lineno))
                if found is not None and _is_none(found.group(2), frame) and not self._seed_given(frame):
                    self._unseeded("numpy.random.%s" % found.group(1), None, frame)
        except Exception as error:
            if from_signal(error):
                raise
            recorder.note("observer-failed", "seeds: numpy: %s: %s" % (type(error).__name__, error))

    def _seed_given(self, frame: Optional[FrameType]) -> bool:
        """Whether a package got a seed: some first make a generator and then seed it by a native method."""
        while frame is not None and self.recorder.callers.kind(frame.f_code.co_filename) == PACKAGE:
            if any(frame.f_locals.get(name) is not None for name in _SEED_NAMES):
                return True
            frame = frame.f_back
        return False

    def _torch(self, module: Any) -> None:
        owner: Any = sys.modules["torch.random"]
        manual = self._wrap(module.manual_seed, "torch.manual_seed", "torch")
        module.manual_seed = owner.manual_seed = manual
        module.seed = owner.seed = self._wrap(module.seed, "torch.seed", "torch")
        cuda: Any = sys.modules.get("torch.cuda")
        cuda_random: Any = sys.modules.get("torch.cuda.random")
        for name in ("manual_seed", "manual_seed_all"):
            original = getattr(cuda, name, None)
            if original is not None:
                patched = self._wrap(original, "torch.cuda.%s" % name, None)
                setattr(cuda, name, patched)
                if getattr(cuda_random, name, None) is original:
                    setattr(cuda_random, name, patched)
        self._remember("torch")
        self.recorder.unobserved(
            "rng", "torch.Generator.manual_seed", "this is a native type, and the probe cannot see how it is seeded"
        )

    def _system(self) -> None:
        def watched(original: Callable[..., Any], call: str) -> Callable[..., Any]:
            def patched(*args: Any, **kwargs: Any) -> Any:
                self.source(call)
                return original(*args, **kwargs)

            return patched

        def clock() -> int:
            now = time_ns()
            self._clock.append(now)  # measuring with the clock is fine; seeding with it is not (looks_like)
            return now

        urandom, time_ns = os.urandom, time.time_ns
        os.urandom = Builtin(urandom, watched(urandom, "os.urandom"), "os", "urandom")
        time.time_ns = Builtin(time_ns, clock, "time", "time_ns")

    def _remember(self, generator: str) -> None:
        state = _READERS[generator]()
        if state is not None:
            self.first_state[generator] = state.digest
            rng.remember(generator, state)


_READERS: Dict[str, Callable[[], Optional[Fingerprint]]] = {
    "random": rng.read_random,
    "numpy": rng.read_numpy,
    "torch": rng.read_torch,
}
_SEED_CALL = {"random": "random.seed", "numpy": "numpy.random.seed", "torch": "torch.manual_seed"}


def _call_of(frame: FrameType) -> Optional[str]:
    """The call of the user's frame into one of the passed modules, such as `uuid.uuid4`; None if there is none."""
    inner: Optional[FrameType] = sys._getframe(1)
    call = None
    while inner is not None and inner is not frame:
        file = inner.f_code.co_filename
        if file.endswith(_PASSED):
            module = os.path.basename(file)[:-3]
            call = "random.SystemRandom" if module == "random" else "%s.%s" % (module, inner.f_code.co_name)
        inner = inner.f_back
    return call


def _is_none(name: str, frame: FrameType) -> bool:
    """Whether an argument as it is written in a frame's line (`seed`, `self._seed`, nothing at all) is None; no property is read."""
    if name in ("", "None"):
        return True
    first, *attributes = name.split(".")
    if first not in frame.f_locals:
        return False
    value = frame.f_locals[first]
    for attribute in attributes:
        held = getattr(value, "__dict__", {})
        if attribute not in held:
            return False
        value = held[attribute]
    return value is None
