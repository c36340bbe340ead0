"""Replaces functions of other modules so that programs do not notice."""

from __future__ import annotations

import functools
from typing import Any, Callable, Tuple


class Builtin:
    """Stands in for a builtin function at `module.name`.

    A plain Python function would not do: it binds as a method if a class keeps it as an attribute (pathlib of 3.9 and 3.10 keeps
    os.listdir like that). Builtins do not bind, and neither does this. It pickles and copies by its name, as builtins do, and equals the
    original: shutil.rmtree looks for os.open in os.supports_dir_fd, and takes its unsafe way if it is missing.
    """

    def __init__(self, original: Callable[..., Any], call: Callable[..., Any], module: str, name: str) -> None:
        functools.update_wrapper(self, original)
        self.__module__ = module
        self.__name__ = self.__qualname__ = name
        self._call = call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)

    def __reduce__(self) -> str:
        return self.__name__

    def __eq__(self, other: object) -> bool:
        return other is self or other is self.__wrapped__  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self.__wrapped__)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return "<built-in function %s>" % self.__name__


def rebind(module: Any, original: Any, patched: Any) -> int:
    """Replaces references to `original` that a module's functions, classes or instances hold; returns how many."""
    count = 0
    for name, value in list(vars(module).items()):
        if value is original:
            setattr(module, name, patched)
            count += 1
        elif isinstance(value, type) and value.__module__ == getattr(module, "__name__", None):
            count += _rebind_class(value, original, patched)
    return count


def _rebind_class(owner: type, original: Any, patched: Any) -> int:
    count = 0
    for name, value in list(vars(owner).items()):
        replacement: Tuple[Any, ...] = ()
        if value is original:
            replacement = (patched,)
        elif isinstance(value, staticmethod) and value.__func__ is original:
            replacement = (staticmethod(patched),)
        if replacement:
            setattr(owner, name, replacement[0])
            count += 1
    return count
