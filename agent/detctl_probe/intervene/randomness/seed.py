"""Intervention `seed`: N seeds Python's, numpy's and torch's generators as they are imported; N:steps also at the start of each step.

Generators that packages make without a seed get one too (for those of the user's own code see `identity`). A program that seeds later
overrides it, except with `:steps`. The intervention masks: equal runs under it show that randomness without a fixed seed had an effect,
but not where.
"""

from __future__ import annotations

import os
import random
import sys
from types import ModuleType
from typing import Any, Callable, List, Optional

from detctl_probe.intervene.randomness.deterministic_bytes import DeterministicBytes
from detctl_probe.intervene.requested import option_value
from detctl_probe.process.imports import when_imported
from detctl_probe.recording.recorder import WORKER, Recorder

NAME = "seed"


def install(recorder: Recorder) -> None:
    """Raises ValueError for a value that is not a seed."""
    value = option_value(recorder, NAME, _is_seed, "N or N:steps")
    number, _, when = value.partition(":")
    seed = int(number) % 2**32
    seeded: List[str] = []

    def report(what: str) -> None:
        if what not in seeded:
            seeded.append(what)
        recorder.intervention(NAME, value, True, "%s seeded with %d" % (", ".join(seeded), seed))

    def of_torch(torch: Any) -> None:
        with recorder.working("rng"):  # as in seed_all
            torch.manual_seed(seed)
        report("torch")

    def of_numpy(_: ModuleType) -> None:
        with recorder.working("rng"):
            sys.modules["numpy"].random.seed(seed)
        report("numpy")

    def of_random() -> None:
        with recorder.working("rng"):
            random.seed(seed)

    of_random()
    os.register_at_fork(after_in_child=of_random)  # after Python's own, which takes the system's entropy
    report("random")
    when_imported("numpy", of_numpy)
    when_imported("torch", of_torch)
    _seed_packages(recorder, seed, report)
    if not when:
        return

    def again() -> None:
        if recorder.role == WORKER:
            return
        seed_all(recorder, (seed + recorder.step) % 2**32)
        report("each step")

    recorder.at_step_start(again)


def seed_all(recorder: Recorder, seed: int) -> None:
    """Seeds Python's generator, and those of numpy and torch if they are imported. seed: below 2^32.

    The recorder is `working` meanwhile, so that this is not recorded as a seeding of the program.
    """
    with recorder.working("rng"):
        random.seed(seed)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(seed)
        if "torch" in sys.modules:
            sys.modules["torch"].manual_seed(seed)


def _seed_packages(recorder: Recorder, seed: int, report: Callable[[str], None]) -> None:
    """Makes the entropy with which packages seed their generators the same in every run."""
    generated = DeterministicBytes(str(seed))

    def bits(count: int) -> Optional[int]:
        """A number below 2^count; None if no package calls."""
        frame = recorder.callers.nearest(skip_files=("/random.py", "/secrets.py"), depth=2)
        package = recorder.callers.package_at_work(frame) if frame is not None else None
        if package is None:
            return None
        report("generators of %s" % package)
        return int.from_bytes(generated.take(count // 8 + 1), "big") % (1 << count)

    original = random.Random.seed

    def seeding(self: random.Random, a: Any = None, version: int = 2) -> None:
        given = bits(256) if a is None else None
        if given is None:
            original(self, a, version)
            return
        with recorder.working("rng"):
            original(self, given, version)

    random.Random.seed = seeding  # type: ignore[method-assign]  # a patch is one
    random.seed = random._inst.seed

    def of_numpy(_: ModuleType) -> None:
        owner: Any = sys.modules.get("numpy.random.bit_generator")
        entropy = getattr(owner, "randbits", None)
        if entropy is None:
            return

        def randbits(count: int) -> Any:
            given = bits(count)
            return entropy(count) if given is None else given

        owner.randbits = randbits

    when_imported("numpy.random", of_numpy)


def _is_seed(value: str) -> bool:
    number, _, when = value.partition(":")
    return number.isdigit() and when in ("", "steps")
