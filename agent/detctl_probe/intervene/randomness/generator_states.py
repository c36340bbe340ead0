"""The states of the main process's generators as plain bytes, and back: random, numpy if it is imported, torch on the CPU."""

from __future__ import annotations

import random
import struct
import sys
from typing import Any, Dict

_PYTHON = struct.Struct("<625I?d")  # 624 numbers and the position; whether a Gaussian waits, and which
_NUMPY = struct.Struct("<624IIId")


def states() -> Dict[str, bytes]:
    """Name -> state."""
    _, numbers, waiting = random.getstate()
    found = {"random": _PYTHON.pack(*numbers, waiting is not None, waiting or 0.0)}
    if "numpy" in sys.modules:
        _, keys, position, has, cached = sys.modules["numpy"].random.get_state()
        found["numpy"] = _NUMPY.pack(*(int(key) for key in keys), position, has, cached)
    torch = sys.modules["torch"]
    found["torch"] = bytes(torch.get_rng_state().tolist())
    return found


def restore(name: str, content: bytes) -> None:
    """Raises ValueError or struct.error for bytes that are not a state of this generator."""
    if name == "random":
        *numbers, waits, waiting = _PYTHON.unpack(content)
        random.setstate((3, tuple(numbers), waiting if waits else None))
    elif name == "numpy":
        numpy: Any = sys.modules["numpy"]
        *keys, position, has, cached = _NUMPY.unpack(content)
        numpy.random.set_state(("MT19937", numpy.array(keys, dtype=numpy.uint32), position, has, cached))
    elif name == "torch":
        torch = sys.modules["torch"]
        torch.set_rng_state(torch.tensor(list(content), dtype=torch.uint8))
    else:
        raise ValueError("unknown generator %r" % name)
