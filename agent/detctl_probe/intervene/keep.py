"""Intervention `keep=init`, `keep=batch`, `keep=rng` or several (`init+batch`): keeps the values that a run begins with or is fed.

These are initial weights, tensors of batches, and states of generators at each step, for a transplant into another run (transplant.py).
They are records of stage init under `kept/NAME#N`, each with a part of the bytes. The recipe's owner must allow it (`allow_transplant`).
Beyond KEPT_BYTES_MAX in total nothing more is kept, and the read-back reports that.
"""

from __future__ import annotations

import base64
import ctypes
from hashlib import blake2b
from typing import Any, Callable, List

from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.intervene.randomness.generator_states import states
from detctl_probe.intervene.requested import option_value
from detctl_probe.observe.data import loader
from detctl_probe.observe.model.steps import model_of
from detctl_probe.observe.model.tensors import dtype_name, tensors
from detctl_probe.recording.recorder import WORKER, Recorder

NAME = "keep"
WHAT = ("init", "batch", "rng")
SITE = "kept/%s#%d"
BATCH = "batch/%d/%d%s"  # loader, batch, path inside it
STATE = "rng/%d/%s"  # step, generator
KEPT_BYTES_MAX = 16 << 20
PART_BYTES = 24 << 10  # in base64 and JSON still below what evidence may have


class _Kept:
    """Keeps values and counts them."""

    def __init__(self, recorder: Recorder, value: str) -> None:
        self._recorder, self._value = recorder, value
        self._kept = self._bytes = 0
        self._full = ""
        recorder.intervention(NAME, value, False, "the run had nothing to keep")

    def tensor(self, name: str, tensor: Any) -> None:
        size = tensor.numel() * tensor.element_size()
        if self._has_room(name, size):
            self._keep(name, content_of(tensor), dtype_name(tensor.dtype), [int(one) for one in tensor.shape])

    def _has_room(self, name: str, size: int) -> bool:
        if self._full or self._bytes + size > KEPT_BYTES_MAX:
            self._full = self._full or name
            why = "the run has more than %d MiB to keep: %s and all that follows is not kept" % (
                KEPT_BYTES_MAX >> 20,
                self._full,
            )
            self._recorder.intervention(NAME, self._value, False, why)
            return False
        return True

    def _keep(self, name: str, content: bytes, dtype: str, shape: List[int]) -> None:
        about = {"dtype": dtype, "shape": shape}
        for number, at in enumerate(range(0, max(len(content), 1), PART_BYTES)):
            part = content[at : at + PART_BYTES]
            evidence = {**about, "content": base64.b64encode(part).decode("ascii")}
            fingerprint = Fingerprint(blake2b(part, digest_size=16).digest(), "py:kept", (len(part),))
            self._recorder.record("init", SITE % (name, number), fingerprint, evidence=evidence)
        self._kept += 1
        self._bytes += len(content)
        self._recorder.intervention(NAME, self._value, True, "%d values, %d bytes" % (self._kept, self._bytes))

    def states(self) -> None:
        for name, state in states().items():
            site = STATE % (self._recorder.step, name)
            if self._has_room(site, len(state)):
                self._keep(site, state, "uint8", [len(state)])


def is_what(text: str) -> bool:
    """Whether a value is one of WHAT, or several joined by +."""
    return all(part in WHAT for part in text.split("+"))


def watch(recorder: Recorder, what: str, tensor: Callable[[str, Any], None], at_step: Callable[[], None]) -> None:
    """Calls tensor(name, value) for initial weights and tensors of batches, and at_step() at each step's start; `what` selects which."""

    def batch(loader_number: int, number: int, data: Any) -> None:
        if recorder.recording:
            with recorder.working("batch"):
                for path, value in tensors(data):
                    tensor(BATCH % (loader_number, number, path), value)

    def step() -> None:
        if recorder.recording and recorder.role != WORKER:
            with recorder.working("rng"):
                at_step()

    if "init" in what:
        model_of(recorder).before_init.append(tensor)
    if "batch" in what:
        loader.on_batch.append(batch)
    if "rng" in what:
        recorder.at_step_start(step)


def install(recorder: Recorder) -> None:
    """Raises ValueError for a value that is not of WHAT."""
    value = option_value(recorder, NAME, is_what, " or ".join(WHAT))
    kept = _Kept(recorder, value)
    watch(recorder, value, kept.tensor, kept.states)


def content_of(tensor: Any) -> bytes:
    """The values in row-major order, as they lie in memory."""
    plain = tensor.detach().cpu().contiguous()
    return ctypes.string_at(plain.data_ptr(), plain.numel() * plain.element_size()) if plain.numel() else b""
