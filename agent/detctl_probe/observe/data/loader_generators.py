"""Reads the states of the global random generators without drawing: which drew between two points, and fingerprints for stage rng."""

from __future__ import annotations

import random
import struct
import sys
from hashlib import blake2b
from typing import Any, Dict, List

from detctl_probe.digest.fingerprint import Fingerprint


def snapshot() -> Dict[str, bytes]:
    """Generator name -> 16 bytes of its state, for random and, if the process has them, numpy and torch."""
    version, numbers, gauss = random.getstate()
    states = {"random": _hash(struct.pack("<%dI" % len(numbers), *numbers) + repr((version, gauss)).encode())}
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        try:
            states["numpy"] = _numpy(numpy.get_state())
        except Exception:  # the user's own bit generator
            pass
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_rng_state"):
        states["torch"] = _torch(torch.get_rng_state())
    return states


def drawn(before: Dict[str, bytes], after: Dict[str, bytes]) -> List[str]:
    """Names of the generators whose state changed."""
    return [name for name, state in after.items() if before.get(name, state) != state]


def fingerprints(states: Dict[str, bytes]) -> Dict[str, Fingerprint]:
    """Generator name -> fingerprint for stage rng."""
    return {name: Fingerprint(state, "state") for name, state in states.items()}


def _numpy(state: Any) -> bytes:
    kind, numbers, position, has_gauss, gauss = state
    return _hash(numbers.tobytes() + repr((kind, int(position), int(has_gauss), float(gauss))).encode())


def _torch(state: Any) -> bytes:
    try:
        return _hash(state.numpy().tobytes())
    except RuntimeError:  # no numpy, or not the one that torch was built with
        return _hash(bytes(state.tolist()))


def _hash(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()
