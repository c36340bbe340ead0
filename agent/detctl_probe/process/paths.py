"""Gives places logical names, because machines keep the same data in different folders (docs/adr/0010)."""

from __future__ import annotations

import os
from typing import Dict, List, Mapping, Optional, Tuple

# Private places of a run: files there are never recorded as data.
PRIVATE = ("tmp", "home", "cache")
PROBE_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Places:
    """Declared places by name; the longest match wins. Paths are matched as they were given, then with links resolved."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        roots: Dict[str, str] = {}
        for name, path in paths.items():
            absolute = os.path.abspath(path)
            roots.setdefault(absolute, name)
            roots.setdefault(os.path.realpath(absolute), name)
        self._roots: List[Tuple[str, str]] = sorted(roots.items(), key=lambda item: -len(item[0]))
        self._real_folder: Dict[str, str] = {}

    def find(self, path: str) -> Optional[Tuple[str, str]]:
        """(name of the place, path below it: "" for the place itself), or None if no place holds the path."""
        absolute = os.path.abspath(path)
        found = self._match(absolute)
        if found is not None:
            return found
        folder, base = os.path.split(absolute)
        real = self._real_folder.get(folder)
        if real is None:
            if len(self._real_folder) > 4096:
                self._real_folder.clear()
            real = self._real_folder[folder] = os.path.realpath(folder)
        return None if real == folder else self._match(os.path.join(real, base))

    def logical(self, path: str) -> str:
        """`{data}/train` for a path under a declared place, else the path."""
        found = self.find(path)
        if found is None:
            return path
        name, below = found
        return "{%s}/%s" % (name, below) if below else "{%s}" % name

    def _match(self, absolute: str) -> Optional[Tuple[str, str]]:
        for root, name in self._roots:
            if absolute == root:
                return name, ""
            if absolute.startswith(root) and (root.endswith("/") or absolute[len(root)] == "/"):
                return name, absolute[len(root) :].lstrip("/")
        return None
