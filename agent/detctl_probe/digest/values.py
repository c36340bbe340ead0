"""Fingerprints of data: tensors, arrays, images, numbers, text and structures of them.

`leaves` takes a value apart into named leaves (`image`, `0`, `meta.id`); `fingerprint` digests one leaf. Neither runs code of
the training beyond iterating a mapping, imports anything, or keeps a reference. No digest depends on an address, on
`hash()` or on where a machine keeps its data (`places`).
"""

from __future__ import annotations

import ctypes
import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import struct
import sys
import types
import uuid
from collections import abc
from hashlib import blake2b
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from detctl_probe.digest import n6
from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.digest.n6 import NoDigestError, fold_rows

__all__ = ["Beyond", "NoDigestError", "fingerprint", "fold_rows", "gather", "is_opaque", "leaves", "set_places"]

DEPTH_MAX = 8
LEAVES_MAX = 256
# A row costs 16 bytes in a record: a flat tensor of a million elements gets none.
ROWS_MAX = 4096
# A list of text or numbers is one leaf; with more items than this it has no digest.
ITEMS_MAX = 1_000_000

_FLOAT = struct.Struct("<d")
_NUMBERS = (bool, int, float, complex)
_SCALARS = (type(None), bool, int, float, complex, str, bytes, bytearray, enum.Enum)
_TIMES = (datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo)
_EXACT = (decimal.Decimal, fractions.Fraction, uuid.UUID, range, slice)
_CODE = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType)

_logical: Callable[[str], str] = str


def set_places(logical: Callable[[str], str]) -> None:
    """`logical` maps a path to its logical name (recorder.logical): text that is a path is digested under that name."""
    global _logical
    _logical = logical


class Beyond:
    """Stands in `leaves` for a part that was not read; `fingerprint` refuses it with `why`."""

    def __init__(self, why: str) -> None:
        self.why = why


def fingerprint(value: Any, rows: bool = False) -> Fingerprint:
    """The fingerprint of one leaf. rows: adds a digest for each row, of sequences and of tensors and arrays with a dimension or more.

    Raises NoDigestError if the value has no content to digest (sparse, quantised, meta and fake tensors, images not loaded yet).
    An object of an unknown type gets dtype `py:opaque:<type>` and a digest of the type's name: see is_opaque.
    """
    if isinstance(value, Beyond):
        raise NoDigestError(value.why)
    if _is_tensor(value):
        return _tensor(value, rows)
    if _is_array(value):
        return _array(value, rows)
    if _is_image(value):
        return _image(value)
    if isinstance(value, (list, tuple)):
        return _sequence(value, rows)
    if isinstance(value, (set, frozenset)):
        return _sequence(list(value), False, "py:set" if isinstance(value, set) else "py:frozenset")
    label, content = _canonical(value, 0)
    return Fingerprint(_hash(content), label)


def is_opaque(one: Fingerprint) -> bool:
    """Whether a fingerprint covers only the type of its value."""
    return one.dtype.startswith("py:opaque:")


def leaves(value: Any, row_count: Optional[int] = None) -> Iterator[Tuple[str, Any]]:
    """(path, leaf) of each leaf, in the value's own order; path is "" if the value is a leaf itself.

    Goes into mappings, lists, tuples, namedtuples, dataclasses and objects with attributes. A list or tuple of plain values is
    one leaf; so is, below the top, one of `row_count` items (a batch's ragged column). Yields a Beyond at a limit.
    """
    count = 0
    for path, leaf in _walk(value, "", 0, row_count, ()):
        count += 1
        if count > LEAVES_MAX:
            yield "more", Beyond("it has more than %d leaves" % LEAVES_MAX)
            return
        yield path, leaf


def gather(fingerprints: Sequence[Fingerprint]) -> Fingerprint:
    """One fingerprint of the same leaf in many samples: one row for each sample, dtype and shape if all share them."""
    dtypes = {one.dtype for one in fingerprints}
    shapes = {one.shape for one in fingerprints}
    if len(dtypes) == 1 and len(shapes) == 1:
        rows = tuple(one.digest for one in fingerprints)
        shape = (len(fingerprints),) + fingerprints[0].shape
    else:  # rows then cover dtype and shape too, which the fingerprint no longer holds
        rows = tuple(_hash(repr((one.dtype, one.shape)).encode() + one.digest) for one in fingerprints)
        shape = (len(fingerprints),)
    whole, blind = fold_rows(rows)
    kept = rows if len(rows) <= ROWS_MAX else None
    return Fingerprint(whole, dtypes.pop() if len(dtypes) == 1 else "mixed", shape, blind, kept)


# -- taking apart --------------------------------------------------------------------------------------------------------


def _walk(
    value: Any, path: str, depth: int, row_count: Optional[int], above: Tuple[int, ...]
) -> Iterator[Tuple[str, Any]]:
    if _is_leaf(value) or (depth and isinstance(value, (list, tuple)) and len(value) == row_count):
        yield path, value
        return
    parts = _parts(value)
    if parts is None:
        yield path, value
        return
    if depth >= DEPTH_MAX or id(value) in above:
        yield (
            path,
            Beyond("it is nested more than %d levels deep" % DEPTH_MAX if depth >= DEPTH_MAX else "it holds itself"),
        )
        return
    above = above + (id(value),)
    for name, part in parts:
        yield from _walk(part, "%s.%s" % (path, name) if path else name, depth + 1, row_count, above)


def _is_leaf(value: Any) -> bool:
    if isinstance(value, _SCALARS + _TIMES + _EXACT + _CODE) or isinstance(value, (pathlib.PurePath, set, frozenset)):
        return True
    if _is_tensor(value) or _is_array(value) or _is_image(value):
        return True
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return all(isinstance(item, _SCALARS) for item in value)
    return False


def _parts(value: Any) -> Optional[Iterator[Tuple[str, Any]]]:
    """(name, part) of each part, or None if the value has no parts with names."""
    if isinstance(value, abc.Mapping):
        return ((_name(key), value[key]) for key in value)
    fields = getattr(value, "_fields", None)
    if isinstance(value, tuple) and isinstance(fields, tuple):
        return iter([(str(name), value[index]) for index, name in enumerate(fields)])
    if isinstance(value, (list, tuple)):
        return ((str(index), item) for index, item in enumerate(value))
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return ((name, getattr(value, name)) for name in names if hasattr(value, name))
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict) and attributes:
        return iter([(str(name), part) for name, part in attributes.items()])
    return None


def _name(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, enum.Enum):
        return key.name
    if isinstance(key, _NUMBERS) or key is None:
        return repr(key)
    return _hash(_canonical(key, 0)[1]).hex()[:16]


# -- kinds -----------------------------------------------------------------------------------------------------------------


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    kind = getattr(torch, "Tensor", None)
    return kind is not None and isinstance(value, kind)


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    kind = getattr(numpy, "ndarray", None)
    return kind is not None and isinstance(value, (kind, numpy.generic))  # type: ignore[union-attr]


def _is_image(value: Any) -> bool:
    kind = getattr(sys.modules.get("PIL.Image"), "Image", None)
    return isinstance(kind, type) and isinstance(value, kind)


def _plain(tensor: Any) -> Any:
    """The tensor as torch.Tensor itself. Subclasses that only add Python (tv_tensors, Parameter) have that content."""
    torch = sys.modules["torch"]
    kind = type(tensor)
    if kind is torch.Tensor:
        plain = tensor
    elif kind.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        raise NoDigestError("it is of the tensor subclass %s" % kind.__qualname__)
    else:
        with torch._C.DisableTorchFunctionSubclass():
            plain = tensor.as_subclass(torch.Tensor)
    wrapped = getattr(getattr(torch._C, "_functorch", None), "is_functorch_wrapped_tensor", None)
    if wrapped is not None and wrapped(plain):
        raise NoDigestError("it is inside a function transform (vmap, grad)")
    return plain


def _tensor(value: Any, rows: bool) -> Fingerprint:
    plain = _plain(value)
    shape = tuple(int(size) for size in plain.shape)
    dtype = str(plain.dtype).replace("torch.", "")
    whole = n6.digest_tensor(plain)
    if not rows or not shape or not 0 < shape[0] <= ROWS_MAX:
        return Fingerprint(whole, dtype, shape)
    each = n6.digest_rows_tensor(plain)
    return Fingerprint(whole, dtype, shape, fold_rows(each)[1], each)


def _array(value: Any, rows: bool) -> Fingerprint:
    numpy = sys.modules["numpy"]
    array = numpy.asarray(value)
    shape = tuple(int(size) for size in array.shape)
    kind = array.dtype.kind
    if kind == "O":
        items = _sequence(array.reshape(-1).tolist(), False)
        return Fingerprint(items.digest, "object", shape)
    if kind in "SU" or array.dtype.fields is not None:
        if array.dtype.hasobject:
            raise NoDigestError("it is a structured array that holds objects")
        head = repr((str(array.dtype), shape)).encode()
        return Fingerprint(_hash(head + numpy.ascontiguousarray(array).tobytes()), str(array.dtype), shape)
    label = str(array.dtype.newbyteorder("=")) if kind in "iufc" else str(array.dtype)
    if kind in "mM":
        array = array.view("i8")
    try:
        whole = n6.digest_array(array)
        each = n6.digest_rows_array(array) if rows and shape and 0 < shape[0] <= ROWS_MAX else None
    except ValueError as error:
        raise NoDigestError(str(error)) from None
    return Fingerprint(whole, label, shape, fold_rows(each)[1] if each else None, each)


def _image(value: Any) -> Fingerprint:
    if getattr(value, "tile", None):  # loading it here would read the file before the program does
        raise NoDigestError("the image is not loaded yet")
    width, height = value.size
    whole = _digest_bytes(value.tobytes())
    if value.mode in ("P", "PA"):
        whole = _hash(whole + repr(value.getpalette()).encode())
    return Fingerprint(whole, "PIL:%s" % value.mode, (height, width))


def _digest_bytes(content: bytes) -> bytes:
    """n6 over bytes as one row of uint8; images are the bulk of what is digested in a worker."""
    if n6.KERNEL is not None:
        return n6.KERNEL.sums(ctypes.cast(ctypes.c_char_p(content), ctypes.c_void_p).value or 0, len(content), 1, 0)
    if "numpy" in sys.modules:
        return n6.digest_array(sys.modules["numpy"].frombuffer(content, dtype="u1"))
    if "torch" in sys.modules and content:
        return n6.digest_tensor(sys.modules["torch"].frombuffer(bytearray(content), dtype=sys.modules["torch"].uint8))
    raise NoDigestError("this process has neither numpy nor torch, which could digest it")


def _sequence(value: Sequence[Any], rows: bool, label: Optional[str] = None) -> Fingerprint:
    if len(value) > ITEMS_MAX:
        raise NoDigestError("it has more than %d items" % ITEMS_MAX)
    if label is None:
        label = "py:list" if isinstance(value, list) else "py:tuple"
    each = tuple(_hash(b"%s\0%s" % (kind.encode(), content)) for kind, content in (_canonical(v, 1) for v in value))
    whole, blind = fold_rows(each)
    return Fingerprint(whole, label, (len(each),), blind, each if rows and len(each) <= ROWS_MAX else None)


def _canonical(value: Any, depth: int) -> Tuple[str, bytes]:
    """(label, content) of any value, the same in every process. Raises NoDigestError."""
    if depth > DEPTH_MAX:
        raise NoDigestError("it is nested more than %d levels deep" % DEPTH_MAX)
    if isinstance(value, enum.Enum):
        return "py:enum:%s" % type(value).__qualname__, value.name.encode("utf-8", "surrogatepass")
    for kinds, label, write in _WRITERS:
        if isinstance(value, kinds):
            return label or "py:%s" % type(value).__name__, write(value)
    if _is_tensor(value) or _is_array(value) or _is_image(value):
        one = fingerprint(value)
        return one.dtype, repr(one.shape).encode() + one.digest
    if isinstance(value, (set, frozenset)):
        return "py:set", fingerprint(value).digest
    parts = _parts(value)
    if parts is None:
        name = "%s.%s" % (type(value).__module__, type(value).__qualname__)
        return "py:opaque:%s" % name, name.encode()
    content: List[bytes] = []
    for name, part in parts:
        kind, inner = _canonical(part, depth + 1)
        content.append(b"%s\0%s\0%d\0%s" % (name.encode("utf-8", "surrogatepass"), kind.encode(), len(inner), inner))
    return "py:%s" % type(value).__name__, b"".join(content)


def _text(value: str) -> bytes:
    if value.startswith("/") and "\n" not in value and len(value) < 4096:
        value = _logical(value)
    return value.encode("utf-8", "surrogatepass")


def _code_name(value: Any) -> bytes:
    name = "%s.%s" % (getattr(value, "__module__", "") or "", getattr(value, "__qualname__", None) or value.__name__)
    return name.encode()


_Writer = Tuple[Any, Optional[str], Callable[[Any], bytes]]
_WRITERS: Tuple[_Writer, ...] = (
    (bool, "py:bool", lambda value: b"1" if value else b"0"),
    (int, "py:int", lambda value: b"%d" % value),
    (float, "py:float", _FLOAT.pack),
    (complex, "py:complex", lambda value: _FLOAT.pack(value.real) + _FLOAT.pack(value.imag)),
    (str, "py:str", _text),
    ((bytes, bytearray), None, bytes),
    (type(None), "py:None", lambda value: b""),
    (pathlib.PurePath, "py:path", lambda value: _text(str(value))),
    (_TIMES + _EXACT, None, lambda value: repr(value).encode()),
    (_CODE, None, _code_name),
)


def _hash(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


def by_path(fingerprints: Sequence[Dict[str, Fingerprint]]) -> Dict[str, Fingerprint]:
    """Leaf path -> gathered fingerprint, for the leaves of many samples; a path that some samples lack has fewer rows."""
    columns: Dict[str, List[Fingerprint]] = {}
    for sample in fingerprints:
        for path, one in sample.items():
            columns.setdefault(path, []).append(one)
    return {path: gather(column) for path, column in columns.items()}
