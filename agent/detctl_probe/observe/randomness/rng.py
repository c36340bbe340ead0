"""Stage rng: the state of every global generator at the start of each step, for those that the program has imported.

State is read, never drawn from. CUDA generators are read only where CUDA is initialised already (initialising it breaks
later forks); their state lives on the host, so reading it does not wait for a kernel.
"""

from __future__ import annotations

import struct
import sys
from hashlib import blake2b
from typing import Any, Callable, Dict, List, Optional, Tuple

from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.recording.recorder import Recorder

Reader = Callable[[], Optional[Fingerprint]]


def install(recorder: Recorder) -> None:
    """Registers the reading at each step's start."""
    row = recorder.observer("rng", "rng")

    def started() -> None:
        if not recorder.wants("rng"):
            return
        with recorder.working("rng"):
            for site, state in states():
                recorder.record("rng", site, state)
                row.fired += 1

    recorder.at_step_start(started)


# Digests of the generators' states at the import of their packages (set by seeds.py). Python, numpy and torch take these states from the
# system's entropy: they differ in every process, and do not matter as long as nobody draws.
_first: Dict[str, bytes] = {}
UNTOUCHED = Fingerprint(blake2b(b"untouched", digest_size=16).digest(), "py:untouched")


def remember(site: str, state: Fingerprint) -> None:
    """Remembers the state of a generator before anybody seeded it or drew from it."""
    _first[site] = state.digest


def states() -> List[Tuple[str, Fingerprint]]:
    """(site, state) of random, numpy, torch and each CUDA device, in this order; those that exist in this process.

    A generator that nobody has seeded or used yet is UNTOUCHED, whatever its state.
    """
    found = []
    for site, read in (("random", read_random), ("numpy", read_numpy), ("torch", read_torch)):
        state = read()
        if state is not None:
            found.append((site, UNTOUCHED if state.digest == _first.get(site) else state))
    found.extend(read_cuda())
    return found


def read_random() -> Optional[Fingerprint]:
    module = sys.modules.get("random")
    if module is None or not hasattr(module, "_inst"):
        return None
    version, numbers, gauss = module._inst.getstate()
    raw = struct.pack("<I%dI" % len(numbers), version, *numbers) + repr(gauss).encode("ascii")
    return _fingerprint(raw, "py:random")


def read_numpy() -> Optional[Fingerprint]:
    module: Any = sys.modules.get("numpy.random")
    if module is None or not hasattr(module, "get_state"):
        return None
    state: Dict[str, Any] = module.get_state(legacy=False)
    inner = state["state"]
    raw = b"".join(
        value.tobytes() if hasattr(value, "tobytes") else repr(value).encode("ascii")
        for value in [inner[key] for key in sorted(inner)]
    )
    more = "%s %r %r" % (state["bit_generator"], state.get("has_gauss"), state.get("gauss"))
    return _fingerprint(raw + more.encode("utf-8"), "numpy:random")


def read_torch() -> Optional[Fingerprint]:
    module: Any = sys.modules.get("torch")
    generator = getattr(module, "default_generator", None)
    return None if generator is None else _tensor(generator.get_state())


def read_cuda() -> List[Tuple[str, Fingerprint]]:
    module: Any = sys.modules.get("torch")
    if module is None or "torch.cuda" not in sys.modules or not module.cuda.is_initialized():
        return []
    if module.cuda.is_current_stream_capturing():
        return []
    return [
        ("cuda:%d" % at, _tensor(generator.get_state())) for at, generator in enumerate(module.cuda.default_generators)
    ]


def _tensor(state: Any) -> Fingerprint:
    from detctl_probe.digest.n6 import digest_tensor

    return Fingerprint(digest_tensor(state), "uint8", tuple(state.shape))


def _fingerprint(raw: bytes, dtype: str) -> Fingerprint:
    return Fingerprint(blake2b(raw, digest_size=16).digest(), dtype)
