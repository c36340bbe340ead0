"""Post-import hooks: an observer of torch is installed when the training has imported torch, never before.

A finder in front of sys.meta_path lets the others find the module and shadows `exec_module` on that one loader object. The loader keeps
its type and identity, so importlib, inspect, pickle and `isinstance` see what they would see without the probe.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from time import monotonic  # by name: an intervention may replace the clock
from types import ModuleType
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Optional, Sequence

from detctl_probe.process.callers import is_package
from detctl_probe.process.stderr import log

Callback = Callable[[ModuleType], None]
Around = Callable[[], ContextManager[None]]
began_at: Dict[str, float] = {}  # awaited module -> monotonic time at which its import began


class _Finder:
    """Knows the awaited names; leaves finding the modules to the other finders."""

    def __init__(self) -> None:
        self.awaited: Dict[str, List[Callback]] = {}
        self.around: Optional[Around] = None
        self._inside = threading.local()

    def find_spec(
        self, fullname: str, path: Optional[Sequence[str]] = None, target: Optional[ModuleType] = None
    ) -> Optional[ModuleSpec]:
        outer = getattr(self._inside, "name", None)
        watched = self.around is not None and not getattr(self._inside, "package", False)
        if not (watched or fullname in self.awaited) or outer == fullname:
            return None
        self._inside.name = fullname
        try:
            for finder in list(sys.meta_path):
                if finder is self:
                    continue
                find = getattr(finder, "find_spec", None)
                spec: Optional[ModuleSpec] = find(fullname, path, target) if find is not None else None
                if spec is not None:
                    if fullname in self.awaited or is_package(spec.origin or ""):
                        self._shadow(fullname, spec)
                    return spec
        finally:
            self._inside.name = outer
        return None

    def invalidate_caches(self) -> None:
        """This finder caches nothing."""

    def _shadow(self, fullname: str, spec: ModuleSpec) -> None:
        loader: Any = spec.loader
        if loader is None or isinstance(loader, type) or not hasattr(loader, "exec_module"):
            return
        original = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            try:
                del loader.exec_module
            except AttributeError:
                pass
            if fullname in self.awaited:
                began_at[fullname] = monotonic()
            with self._around(spec.origin or ""):
                original(module)
            self.imported(fullname, module)

        try:
            loader.exec_module = exec_module
        except (AttributeError, TypeError):
            if fullname in self.awaited:
                log("%s has a loader that the probe cannot follow, so it stays unobserved" % fullname)

    @contextmanager
    def _around(self, origin: str) -> Iterator[None]:
        """Runs `around` while a package is imported, but not for what that package imports in turn."""
        if self.around is None or getattr(self._inside, "package", False) or not is_package(origin):
            yield
            return
        self._inside.package = True
        try:
            with self.around():
                yield
        finally:
            self._inside.package = False

    def imported(self, fullname: str, module: ModuleType) -> None:
        for callback in self.awaited.pop(fullname, []):
            try:
                callback(module)
            except Exception as error:
                log("an observer failed after the import of %s: %s: %s" % (fullname, type(error).__name__, error))


_finder: Optional[_Finder] = None


def when_imported(name: str, callback: Callback) -> None:
    """Calls callback(module) once module `name` has been executed: now if it already has been, else right after its import."""
    module = sys.modules.get(name)
    if module is not None and not _initializing(module):
        callback(module)
        return
    _installed().awaited.setdefault(name, []).append(callback)


def around_packages(around: Around) -> None:
    """Enters `around()` whenever a module of a package is imported by code that belongs to no package."""
    _installed().around = around


def _installed() -> _Finder:
    global _finder
    if _finder is None:
        _finder = _Finder()
        sys.meta_path.insert(0, _finder)
    return _finder


def _initializing(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))
