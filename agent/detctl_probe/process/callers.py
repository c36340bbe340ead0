"""Classifies frames: the user's code, a package's, the standard library's or the probe's."""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Any, Dict, Optional

from detctl_probe.process.paths import PROBE_FOLDER, Places

GENERATED = "<string>"  # also the program of python -c
USER, PACKAGE, STDLIB, PROBE = "user", "package", "stdlib", "probe"

# Packages that seed and draw for their own purposes.
_OWN_BUSINESS = ("/torch/", "/numpy/", "/torchvision/", "/triton/", "/sympy/", "/networkx/")
_PACKAGE_FOLDERS = ("/site-packages/", "/dist-packages/")
_STDLIB = os.path.dirname(os.path.abspath(os.__file__)) + os.sep


class Callers:
    """Classifies frames by their file names, and remembers each name's class."""

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
        """The nearest frame of the user's own code, looking outward; None if there is none."""
        frame: Optional[FrameType] = sys._getframe(depth)
        while frame is not None:
            if self.kind(frame.f_code.co_filename) == USER:
                return self.in_a_file(frame)
            frame = frame.f_back
        return None

    def in_a_file(self, frame: FrameType) -> FrameType:
        """The frame itself, or the user's frame that called it if it was generated, as dataclasses generate __init__."""
        outer: Optional[FrameType] = frame
        while outer is not None and outer.f_code.co_filename == GENERATED:
            outer = outer.f_back
        return outer if outer is not None and self.kind(outer.f_code.co_filename) == USER else frame

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

    def package_at_work(self, frame: FrameType) -> Optional[str]:
        """The package, such as `albumentations`, if a frame belongs to one that works for the user; None for torch, numpy and imports."""
        file = frame.f_code.co_filename
        if self.kind(file) != PACKAGE or any(part in file for part in _OWN_BUSINESS) or _importing(frame):
            return None
        folder = next(folder for folder in _PACKAGE_FOLDERS if folder in file)
        return file.rpartition(folder)[2].partition("/")[0].partition(".")[0]

    def describe(self, frame: Optional[FrameType]) -> Dict[str, Any]:
        """{"file": "{cwd}/train.py", "line": 31, "function": "main"}, or nothing."""
        if frame is None:
            return {}
        code = frame.f_code
        return {"file": self._places.logical(code.co_filename), "line": frame.f_lineno, "function": code.co_name}

    def _classify(self, file: str) -> str:
        if file.startswith(PROBE_FOLDER):
            return PROBE
        if file.startswith("<"):
            return USER if file in ("<stdin>", "<string>") else STDLIB
        absolute = os.path.abspath(file)
        if is_package(absolute):
            return PACKAGE
        if absolute.startswith(_STDLIB):
            return STDLIB
        if os.path.basename(absolute) == "sitecustomize.py" and os.path.dirname(absolute) + os.sep in PROBE_FOLDER:
            return PROBE
        return USER


def is_package(file: str) -> bool:
    return any(folder in file for folder in _PACKAGE_FOLDERS)


def _importing(frame: Optional[FrameType]) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
