"""What a checkpoint holds: leaves by path, tensors read when they are asked for."""

from __future__ import annotations

import functools
from typing import Any, Callable, Dict, Iterator, List, Tuple, Union

# Nested containers deeper than this are one leaf that cannot be read.
DEPTH_MAX = 32
LEAVES_MAX = 2_000_000


class CheckpointError(Exception):
    """Not a checkpoint, or one that cannot be read; the text is one line for people."""


class Unread:
    """Stands for a leaf whose content could not be read, and why; never equal to anything."""

    def __init__(self, why: str) -> None:
        self.why = why


Leaf = Union[Any, Unread]


class Checkpoint:
    """format: `torch.save`, `safetensors` or `distributed`. leaves: path -> a function that reads the leaf: a tensor, a plain value or
    Unread. notes: lines about the file as a whole."""

    def __init__(self, path: str, format_: str, leaves: Dict[str, Callable[[], Leaf]]) -> None:
        self.path = path
        self.format = format_
        self.leaves = leaves
        self.notes: List[str] = []


def of_value(value: Any) -> Dict[str, Callable[[], Leaf]]:
    """Leaves of nested dicts, lists and tuples, by dotted path."""
    found: Dict[str, Callable[[], Leaf]] = {}
    for path, leaf in _walk(value, "", 0):
        if len(found) >= LEAVES_MAX:
            raise CheckpointError("more than %d values" % LEAVES_MAX)
        while path in found:  # {"a.b": x, "a": {"b": y}}
            path += "'"
        found[path] = functools.partial(_itself, leaf)
    return found


def _itself(leaf: Leaf) -> Leaf:
    return leaf


def _walk(value: Any, path: str, depth: int) -> Iterator[Tuple[str, Leaf]]:
    if depth > DEPTH_MAX:
        yield path, Unread("more than %d levels deep" % DEPTH_MAX)
    elif isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _walk(item, _join(path, str(key)), depth + 1)
    elif isinstance(value, (list, tuple)) and value:
        for index, item in enumerate(value):
            yield from _walk(item, _join(path, str(index)), depth + 1)
    else:
        yield path or ".", value


def _join(path: str, name: str) -> str:
    return "%s.%s" % (path, name) if path else name
