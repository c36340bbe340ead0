"""Which environment variables the user's own code asks for, and where (notes `variable`: name, file, line).

A variable that two machines hold differently is a suspect only if the training reads it; the value itself stands in the
manifest, never in a note (it may be a secret).
"""

from __future__ import annotations

import functools
import os
import sys
from types import FrameType
from typing import Any, Optional, Set, Tuple

from detctl_probe.process.callers import USER
from detctl_probe.process.signals import from_signal
from detctl_probe.recording.recorder import Recorder

VARIABLES_MAX = 200
FRAMES_MAX = 12


def install(recorder: Recorder) -> None:
    """Patches what os.environ[...], os.environ.get, `in` and os.getenv come down to."""
    told: Set[str] = set()
    owner: Any = type(os.environ)
    original = owner.__getitem__

    def asked(name: Any) -> None:
        if not isinstance(name, str) or name in told or len(told) >= VARIABLES_MAX or recorder.busy or recorder.sealed:
            return
        frame = _names_it(recorder, name)
        if frame is not None:
            told.add(name)
            with recorder.working("code"):
                where = recorder.callers.describe(frame)
                recorder.note("variable", "the variable %s is read" % name, stage="code", name=name, **where)

    @functools.wraps(original)
    def read(self: Any, name: Any) -> Any:
        try:
            asked(name)
        except Exception as error:  # what cannot be told must not break the reading
            if from_signal(error):
                raise
        return original(self, name)

    owner.__getitem__ = read


def _names_it(recorder: Recorder, name: str) -> Optional[FrameType]:
    """The user's frame that holds the name as a constant: a copy of the whole environment asks for names that nobody wrote."""
    frame: Optional[FrameType] = sys._getframe(3)
    for _ in range(FRAMES_MAX):
        if frame is None:
            return None
        code = frame.f_code
        if recorder.callers.kind(code.co_filename) == USER and _holds(code.co_consts, name):
            return frame
        frame = frame.f_back
    return None


def _holds(constants: Tuple[Any, ...], name: str) -> bool:
    return name in constants or any(type(value) is tuple and name in value for value in constants)
