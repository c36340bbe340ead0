"""Rehearses a pickle of torch.save: imports no class, calls nothing and builds no object.

Before torch 2.10 weights_only trusts too much (CVE-2026-24747): it sets items on any object on the stack, and a storage has as many
elements as the pickle claims. So the pickle first runs on stand-ins. torch's list decides which classes it may hold; this module checks
what its unpickler does with them.
"""

from __future__ import annotations

import pickle
from typing import Any, BinaryIO, Callable, ClassVar, Dict, Mapping, Union

# Bytes of an element; torch.save names storages of other dtypes UntypedStorage, which counts bytes.
ELEMENT_BYTES = {
    "ComplexDoubleStorage": 16, "DoubleStorage": 8, "LongStorage": 8, "ComplexFloatStorage": 8, "FloatStorage": 4, "IntStorage": 4,
    "QInt32Storage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1,
    "QInt8Storage": 1, "QUInt8Storage": 1, "QUInt4x2Storage": 1, "QUInt2x4Storage": 1, "UntypedStorage": 1, "_UntypedStorage": 1,
}  # fmt: skip
_SIZED = ("builtins.bytearray", "__builtin__.bytearray", "builtins.bytes", "__builtin__.bytes", "torch.Tensor")
_KEY_DEPTH_MAX = 16
_MAPPINGS = ("collections.OrderedDict", "collections.Counter", "collections.defaultdict")
# torch.save writes none of these; each leads to another registry, or to memory that the pickle claims without holding it.
LEFT_OUT = frozenset(
    operation[0]
    for operation in (
        pickle.INST, pickle.OBJ, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER,
        pickle.PERSID,
    )
)  # fmt: skip


class RehearsalError(Exception):
    """The pickle is damaged, or does something that pickles of torch.save never do; one line for people."""


class _Class:
    """Stands for a class or function by its name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class _Object:
    """Stands for what a class or function made."""

    __slots__ = ("of",)

    def __init__(self, of: str) -> None:
        self.of = of


def rehearse(stream: BinaryIO, pickles: int, storages: Union[int, Mapping[str, int]]) -> None:
    """Rehearses that many pickles, one behind the other; storages: bytes of each by key, or the most that any can have.

    Takes memory and time in proportion to the pickles' bytes. Raises RehearsalError.
    """
    for _ in range(pickles):
        try:
            _Rehearsal(stream, storages).load()
        except RehearsalError:
            raise
        except RecursionError:
            raise RehearsalError("its pickle is nested too deep") from None
        except Exception as error:  # a damaged pickle may raise anything, and another exception in each Python
            text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise RehearsalError("damaged: its pickle cannot be read (%s)" % text) from None


# The unpickler of the standard library that is written in Python: its table of operations can be replaced, and a length that
# the pickle claims costs it no memory.
_Unpickler: Any = pickle._Unpickler


class _Rehearsal(_Unpickler):  # type: ignore[misc]
    dispatch: ClassVar[Dict[int, Callable[..., None]]] = {
        operation: load for operation, load in _Unpickler.dispatch.items() if operation not in LEFT_OUT
    }

    def __init__(self, stream: BinaryIO, storages: Union[int, Mapping[str, int]]) -> None:
        super().__init__(stream)
        self._storages = storages

    def find_class(self, module: str, name: str) -> _Class:
        return _Class("%s.%s" % (module, name))

    def persistent_load(self, pid: Any) -> _Object:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] not in ("storage", b"storage"):
            if isinstance(pid, tuple) and len(pid) == 3 and pid[0] in ("module", b"module"):
                return _Object(str(pid[0]))  # the source of a class in the old format, which torch's own list refuses
            raise RehearsalError("its pickle holds a reference that torch.save does not write: it is not loaded")
        kind, key, count = pid[1], pid[2], pid[4]
        size = ELEMENT_BYTES.get(kind.name.rpartition(".")[2], 0) if isinstance(kind, _Class) else 0
        if not size or type(count) is not int or count < 0 or not isinstance(key, (str, bytes)):
            raise RehearsalError(
                "its pickle names a storage of a kind that torch.save does not write: it is not loaded"
            )
        name = key if isinstance(key, str) else key.decode("utf-8", "surrogateescape")
        there = self._storages if isinstance(self._storages, int) else self._storages.get(name)
        shown = ascii(name[:100])[1:-1]
        if there is None:
            raise RehearsalError("damaged: data/%s is missing" % shown)
        if count * size > there:
            text = "its pickle claims %d bytes of data/%s, which has %d: it is not loaded"
            raise RehearsalError(text % (count * size, shown, there))
        return _Object("torch.storage")

    def _call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, _Class) or not isinstance(arguments, tuple):
            raise RehearsalError("its pickle calls what is not a class: it is not loaded")
        if function.name in _SIZED and any(type(one) is int for one in arguments):
            raise RehearsalError("its pickle makes a %s by its size alone: it is not loaded" % function.name)
        return {} if function.name in _MAPPINGS else _Object(function.name)

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], arguments)

    def _new_with_names(self) -> None:
        names = self.stack.pop()
        if not isinstance(names, dict):
            raise RehearsalError("its pickle calls with names that are none: it is not loaded")
        self._reduce()

    def _build(self) -> None:
        self.stack.pop()
        if not isinstance(self.stack[-1], (_Object, dict)):
            raise RehearsalError("its pickle sets attributes of what is not an object: it is not loaded")

    def _set_item(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self._set([key, value])

    def _set_items(self) -> None:
        self._set(self.pop_mark())

    def _set(self, items: Any) -> None:
        target = self.stack[-1]
        if isinstance(target, dict):
            for number in range(0, len(items), 2):
                _check_key(items[number], 0)
                target[items[number]] = items[number + 1]
        elif not _is_foreign(target):
            raise RehearsalError("its pickle sets items of what is not a dict: it is not loaded")

    def _append(self) -> None:
        self._extend([self.stack.pop()])

    def _appends(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, items: Any) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        elif not _is_foreign(target):
            raise RehearsalError("its pickle appends to what is not a list: it is not loaded")

    def _add_items(self) -> None:
        items = self.pop_mark()
        if type(self.stack[-1]) is not set:
            raise RehearsalError("its pickle adds to what is not a set: it is not loaded")
        _check_key(tuple(items), 0)
        self.stack[-1].update(items)

    def _frozen_set(self) -> None:
        items = tuple(self.pop_mark())
        _check_key(items, 0)
        self.append(frozenset(items))

    dispatch.update({
        pickle.REDUCE[0]: _reduce, pickle.NEWOBJ[0]: _reduce, pickle.NEWOBJ_EX[0]: _new_with_names, pickle.BUILD[0]: _build,
        pickle.SETITEM[0]: _set_item, pickle.SETITEMS[0]: _set_items, pickle.APPEND[0]: _append, pickle.APPENDS[0]: _appends,
        pickle.ADDITEMS[0]: _add_items, pickle.FROZENSET[0]: _frozen_set,
    })  # fmt: skip


def _check_key(key: Any, depth: int) -> None:
    """Refuses keys that are nested too deeply: hashing one would end the process when the stack is full. Raises RehearsalError."""
    if isinstance(key, tuple):
        if depth >= _KEY_DEPTH_MAX:
            raise RehearsalError(
                "a key of its pickle is nested more than %d levels deep: it is not loaded" % _KEY_DEPTH_MAX
            )
        for part in key:
            _check_key(part, depth + 1)


def _is_foreign(target: Any) -> bool:
    """Whether it is an object of a class that is not torch's, which torch's list refuses or the user has allowed."""
    return isinstance(target, _Object) and target.of.partition(".")[0] not in ("torch", "builtins", "__builtin__")
