"""Intervention `values=backward` (`forward+loss` …): keeps the values of operations of these stages, for an exact comparison.

Level `op` only. These are what each operation takes and gives, each content once: records of stage init under `kept/value/DIGEST#N`,
with DIGEST as in the evidence of operations (`in`). The recipe's owner must allow it (`allow_values`). Of a value of more than
ELEMENTS_MAX elements only each `every`-th is kept. Beyond BYTES_MAX_STEP in a step, or BYTES_MAX in a run, nothing more is kept.
"""

from __future__ import annotations

import base64
from hashlib import blake2b
from typing import Any, Dict, Set

from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.intervene.keep import PART_BYTES, content_of
from detctl_probe.intervene.requested import option_value
from detctl_probe.observe.model.tensors import dtype_name
from detctl_probe.observe.ops import ops
from detctl_probe.recording.recorder import Recorder

NAME = "values"
STAGES = ("init", "forward", "loss", "backward", "collective", "update")
SITE = "kept/value/%s#%d"
ELEMENTS_MAX = 1 << 18
ELEMENTS_OF_PART = 1 << 16
BYTES_MAX_STEP = 4 << 20  # of what operations give; as much again of what they take
BYTES_MAX = 16 << 20


class _Values:
    """Keeps values and counts them."""

    def __init__(self, recorder: Recorder, value: str) -> None:
        self._recorder, self._value = recorder, value
        self._stages = frozenset(value.split("+"))
        self._seen: Set[str] = set()
        self._bytes = 0
        self._step = -1
        self._step_bytes: Dict[bool, int] = {}
        self._left_out = 0
        recorder.intervention(NAME, value, False, "no operation of these stages ran")

    def see(self, stage: str, digest: str, tensor: Any, taken: bool) -> None:
        """Keeps what an operation gave, or took, if there is room."""
        if stage in self._stages and digest not in self._seen and not tensor.is_complex():
            try:
                self._keep(digest, tensor, taken)
            except Exception:  # a tensor that has no plain content; the operation itself is recorded
                self._left_out += 1
                self._report()

    def _keep(self, digest: str, tensor: Any, taken: bool) -> None:
        if self._recorder.step != self._step:
            self._step, self._step_bytes = self._recorder.step, {False: 0, True: 0}
        count = int(tensor.numel())
        every = 1 if count <= ELEMENTS_MAX else -(-count // ELEMENTS_OF_PART)
        size = -(-count // every) * int(tensor.element_size())
        if self._bytes + size > BYTES_MAX or self._step_bytes[taken] + size > BYTES_MAX_STEP:
            self._left_out += 1
            self._report()
            return
        self._seen.add(digest)
        plain = tensor.detach()
        part = plain if every == 1 else plain.reshape(-1)[::every]
        content = content_of(part)
        self._send(digest, content, dtype_name(tensor.dtype), [int(one) for one in tensor.shape], every)
        self._bytes += size
        self._step_bytes[taken] += size
        self._report()

    def _send(self, digest: str, content: bytes, dtype: str, shape: Any, every: int) -> None:
        about = {"dtype": dtype, "shape": shape, "every": every}
        for number, at in enumerate(range(0, max(len(content), 1), PART_BYTES)):
            part = content[at : at + PART_BYTES]
            evidence = {**about, "content": base64.b64encode(part).decode("ascii")}
            one = Fingerprint(blake2b(part, digest_size=16).digest(), "py:kept", (len(part),))
            self._recorder.record("init", SITE % (digest, number), one, evidence=evidence, phase="train")

    def _report(self) -> None:
        detail = "%d values, %d bytes" % (len(self._seen), self._bytes)
        if self._left_out:
            detail += "; %d more were left out: at most %d MiB in a step and %d MiB in a run are kept" % (
                self._left_out,
                BYTES_MAX_STEP >> 20,
                BYTES_MAX >> 20,
            )
        self._recorder.intervention(NAME, self._value, bool(self._seen), detail)


def is_stages(text: str) -> bool:
    """Whether a value is one of STAGES, or several joined by +."""
    return all(part in STAGES for part in text.split("+"))


def install(recorder: Recorder) -> None:
    """Raises ValueError for a value that is not of STAGES."""
    value = option_value(recorder, NAME, is_stages, " or ".join(STAGES))
    ops.on_value.append(_Values(recorder, value).see)
