"""Notes which environment variables the user's own code reads, and where (notes `variable`: name, file, line).

A variable that differs between two machines is a suspect only if the training reads it. A note never holds the value, which may be a
secret: the manifest holds it.
"""

from __future__ import annotations

import functools
import linecache
import os
import re
import sys
from types import FrameType
from typing import Any, Dict, Optional, Set, Tuple

from detctl_probe.process.callers import USER
from detctl_probe.process.signals import from_signal
from detctl_probe.recording.recorder import Recorder

VARIABLES_MAX = 200
FRAMES_MAX = 12
_HELPERS = ("/os.py", "<frozen os>", "/_collections_abc.py", "<frozen _collections_abc>")
_GETTERS = ("get", "getenv", "__contains__", "setdefault", "pop")
_BEGINNING = re.compile(r"""["']([A-Z][A-Z0-9_]+_)["']""")


def install(recorder: Recorder) -> None:
    """Patches the methods behind os.environ[...], os.environ.get, `in` and os.getenv."""
    noted: Set[str] = set()
    beginnings: Dict[str, Tuple[str, ...]] = {}
    owner: Any = type(os.environ)
    original = owner.__getitem__

    def note_read(name: Any) -> None:
        if (
            not isinstance(name, str)
            or name in noted
            or len(noted) >= VARIABLES_MAX
            or recorder.busy
            or recorder.sealed
        ):
            return
        frame = _names_it(recorder, name, beginnings)
        if frame is not None:
            noted.add(name)
            with recorder.working("code"):
                where = recorder.callers.describe(frame)
                recorder.note("variable", "the variable %s is read" % name, stage="code", name=name, **where)

    @functools.wraps(original)
    def read(self: Any, name: Any) -> Any:
        try:
            note_read(name)
        except Exception as error:  # a failed note must not break the program's read
            if from_signal(error):
                raise
        return original(self, name)

    owner.__getitem__ = read


def _names_it(recorder: Recorder, name: str, beginnings: Dict[str, Tuple[str, ...]]) -> Optional[FrameType]:
    """The user's frame that asks for this variable: by get(), getenv() or `in`, or because it holds the name as a constant, or because its
    file holds the beginning of the name, such as `TRAIN_`. A copy of the whole environment reads names that no file holds."""
    frame: Optional[FrameType] = sys._getframe(3)
    naming: Optional[FrameType] = None
    # The line of a direct call: a dict() of the environment calls directly, too.
    named = frame is not None and "environ[" in _line(recorder, frame)
    for _ in range(FRAMES_MAX):
        if frame is None:
            break
        code = frame.f_code
        if recorder.callers.kind(code.co_filename) == USER:
            if _holds(code.co_consts, name):
                return frame
            if naming is None and (named or name.startswith(_beginnings(recorder, code.co_filename, beginnings))):
                naming = frame
        named = code.co_name in _GETTERS and code.co_filename.endswith(_HELPERS)
        frame = frame.f_back
    return naming


def _line(recorder: Recorder, frame: FrameType) -> str:
    """The line of a user's frame; empty for other code."""
    if recorder.callers.kind(frame.f_code.co_filename) != USER:
        return ""
    with recorder.working("code"):
        return linecache.getline(frame.f_code.co_filename, frame.f_lineno)


def _holds(constants: Tuple[Any, ...], name: str) -> bool:
    return name in constants or any(type(value) is tuple and name in value for value in constants)


def _beginnings(recorder: Recorder, file: str, known: Dict[str, Tuple[str, ...]]) -> Tuple[str, ...]:
    """The texts of a source file that end in an underscore and can be the beginning of a variable's name."""
    if file not in known:
        with recorder.working("code"):
            known[file] = tuple({found for line in linecache.getlines(file) for found in _BEGINNING.findall(line)})
    return known[file]
