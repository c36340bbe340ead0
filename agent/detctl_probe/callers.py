"""Whose code is a frame: the user's, a package's, the standard library's or ours."""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Any, Dict, Optional

from detctl_probe.paths import Places

USER, PACKAGE, STDLIB, PROBE = "user", "package", "stdlib", "probe"

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_STDLIB = os.path.dirname(os.path.abspath(os.__file__)) + os.sep


class Callers:
    """Classifies frames by file name, remembered by file name."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._kinds: Dict[str, str] = {}

    def kind(self, file: str) -> str:
        """USER: under {cwd}, or anywhere that is neither a package nor the standard library."""
        known = self._kinds.get(file)
        if known is None:
            if len(self._kinds) > 8192:
                self._kinds.clear()
            known = self._kinds[file] = self._classify(file)
        return known

    def user_frame(self, depth: int = 1) -> Optional[FrameType]:
        """The nearest frame of the user's own code, looking outward; None where there is none."""
        frame: Optional[FrameType] = sys._getframe(depth)
        while frame is not None:
            if self.kind(frame.f_code.co_filename) == USER:
                return frame
            frame = frame.f_back
        return None

    def nearest(self, skip_stdlib: bool = False, skip_files: Any = (), depth: int = 1) -> Optional[FrameType]:
        """The nearest frame that is not the probe's (nor the standard library's, nor of a file that ends so)."""
        frame: Optional[FrameType] = sys._getframe(depth)
        while frame is not None:
            file = frame.f_code.co_filename
            kind = self.kind(file)
            passed = kind == PROBE or (skip_stdlib and kind == STDLIB) or (skip_files and file.endswith(skip_files))
            if not passed:
                return frame
            frame = frame.f_back
        return None

    def describe(self, frame: Optional[FrameType]) -> Dict[str, Any]:
        """{"file": "{cwd}/train.py", "line": 31, "function": "main"}, or nothing."""
        if frame is None:
            return {}
        code = frame.f_code
        return {"file": self._places.logical(code.co_filename), "line": frame.f_lineno, "function": code.co_name}

    def _classify(self, file: str) -> str:
        if file.startswith(_OURS):
            return PROBE
        if file.startswith("<"):
            return USER if file in ("<stdin>", "<string>") else STDLIB
        absolute = os.path.abspath(file)
        if "/site-packages/" in absolute or "/dist-packages/" in absolute:
            return PACKAGE
        if absolute.startswith(_STDLIB):
            return STDLIB
        if os.path.basename(absolute) == "sitecustomize.py" and os.path.dirname(absolute) + os.sep in _OURS:
            return PROBE
        return USER
