"""The content of a checkpoint: leaves by path; tensors are read on request."""

from __future__ import annotations

import functools
import sys
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Union

# Nested containers deeper than this are one leaf that cannot be read.
DEPTH_MAX = 32
LEAVES_MAX = 2_000_000
NAMES_CHARACTERS_MAX = (
    1 << 29
)  # of all leaves together: a pickle holds a long key once, each path below it holds it again
# A tensor may stand for more elements than it holds (expanded, sparse). Beyond this, and many times what it holds, it is not unfolded.
UNFOLDED_BYTES_MAX = 256 << 20
UNFOLDED_TIMES_MAX = 8
# Numbers in the state of Python's generator, a tuple that is compared as one value.
RANDOM_NUMBERS = 625
_PLAIN = (str, bytes, bytearray, int, float, complex, bool, type(None), set, frozenset, type, range, slice)


class CheckpointError(Exception):
    """Not a checkpoint, or one that cannot be read; the text is one line for people."""


class Unread:
    """Stands for a leaf whose content could not be read; why: the reason.

    file_digest: of the bytes of a whole file that could not be read: two files of the same bytes are the same, whatever they
    hold. Empty if it is not known: then the leaf equals nothing.
    """

    def __init__(self, why: str, file_digest: str = "") -> None:
        self.why = why
        self.file_digest = file_digest


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
    """Leaves of nested dicts, lists, tuples and attributes of objects, by dotted path; a lone leaf is `.`."""
    found: Dict[str, Callable[[], Leaf]] = {}
    characters = 0
    for path, leaf in _walk(value, "", 0):
        characters += len(path)
        if len(found) >= LEAVES_MAX:
            raise CheckpointError("it has more than %d values" % LEAVES_MAX)
        if characters > NAMES_CHARACTERS_MAX:
            raise CheckpointError("the names of its values have more than %d characters" % NAMES_CHARACTERS_MAX)
        while path in found:  # {"a.b": x, "a": {"b": y}}
            path += "'"
        found[path] = functools.partial(_itself, leaf)
    return found


def _itself(leaf: Leaf) -> Leaf:
    return leaf


def _walk(value: Any, path: str, depth: int) -> Iterator[Tuple[str, Leaf]]:
    parts = None if isinstance(value, _PLAIN) else _parts(value)
    if not parts:
        yield path or ".", leaf_of(value)
    elif depth >= DEPTH_MAX:
        yield path, Unread("it is nested more than %d levels deep" % DEPTH_MAX)
    else:
        for name, item in parts:
            yield from _walk(item, "%s.%s" % (path, name) if path else name, depth + 1)


def _parts(value: Any) -> List[Tuple[str, Any]]:
    """Names and parts; [] for a leaf."""
    import torch

    if isinstance(value, torch.Tensor):
        if value.is_quantized and value.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
            return [("int_repr", value.int_repr()), ("scale", value.q_scale()), ("zero_point", value.q_zero_point())]
        return []
    if isinstance(value, dict):
        return [(str(key), item) for key, item in value.items()]
    if isinstance(value, tuple) and len(value) == RANDOM_NUMBERS and all(type(item) is int for item in value):
        return []
    if isinstance(value, (list, tuple)):
        return [(str(index), item) for index, item in enumerate(value)]
    attributes = getattr(value, "__dict__", None)  # an object of a class that the user has allowed
    if isinstance(attributes, dict) and not isinstance(value, Unread):
        return [(str(name), item) for name, item in attributes.items()]
    return []


def leaf_of(value: Any) -> Leaf:
    """The leaf, with arrays of numpy as tensors, which compare alike; Unread if it would unfold to far more than it holds."""
    import torch

    if isinstance(value, torch.Tensor):
        return _unfolding(value) or value
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, (numpy.ndarray, numpy.generic)):
        return value
    if isinstance(value, numpy.generic):
        return value.item()
    try:
        return torch.from_numpy(numpy.ascontiguousarray(value).astype(value.dtype.newbyteorder("="), copy=False))
    except TypeError:
        return Unread("a numpy array of %s" % value.dtype)


def _unfolding(tensor: Any) -> Optional[Unread]:
    """Why a tensor is not compared element by element; None if it is."""
    import torch

    whole = tensor.numel() * tensor.element_size()
    if whole <= UNFOLDED_BYTES_MAX or tensor.is_meta:
        return None
    try:
        if tensor.layout is torch.strided:
            held = tensor.untyped_storage().nbytes()
        else:
            values = tensor._values() if tensor.layout is torch.sparse_coo else tensor.values()
            held = values.numel() * values.element_size()
    except (RuntimeError, NotImplementedError, AttributeError):
        return None  # of a kind without content of its own; comparing it reports that
    if whole <= held * UNFOLDED_TIMES_MAX:
        return None
    return Unread("a tensor of %d bytes that stands for %d MiB: it is not unfolded" % (held, whole >> 20))
