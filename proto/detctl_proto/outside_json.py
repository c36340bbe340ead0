"""Parses JSON that somebody else wrote, and writes JSON that others will read.

`dump` can write again what `parse` returns, and protobuf, SQLite and Redis can store it: it is at most DEPTH_MAX deep, its numbers are
finite, and no text holds a lone surrogate or a NUL. Standard library alone.

`parse` refuses a text or a number that breaks these rules. With `repair` it replaces it instead: this is for documents of recorded facts
(names of files, variables), because one file name that is not UTF-8 must not cost a whole run.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

DEPTH_MAX = 64
INTEGER_CHARACTERS_MAX = 300  # each fits a double, and none is slow to write
PATH_CHARACTERS_MAX = 120
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")


class JsonError(ValueError):
    """A document is refused; the message is one line that names the document, the place in it and the reason."""


def parse(
    data: bytes | bytearray | memoryview | str,
    where: str,
    bytes_max: int,
    *,
    repair: bool = False,
    depth_max: int = DEPTH_MAX,
) -> Any:
    """The JSON value of a document of at most `bytes_max` bytes; `where` names it in messages.

    repair: lone surrogates and NUL become escapes (`\\udc80`, `\\x00`), NaN, Infinity and endless integers become None, and of a key
    that stands twice the last value counts. Raises JsonError.
    """
    text = _decoded(data, where, bytes_max)
    try:
        value = json.loads(text, parse_int=_integer, object_pairs_hook=None if repair else _each_key_once)
    except json.JSONDecodeError as error:
        raise JsonError(f"{where} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise JsonError(f"{where} is nested deeper than {depth_max} levels") from None
    except _DuplicateKeyError as error:
        raise JsonError(f"{where}: the key {_shown(error.key)} stands twice in one object") from None
    # Only an escape can put a surrogate or a NUL into a text.
    return _checked(value, where, depth_max, repair=repair, texts="\\u" in text)


def parse_object(
    data: bytes | bytearray | memoryview | str,
    where: str,
    bytes_max: int,
    *,
    repair: bool = False,
    depth_max: int = DEPTH_MAX,
) -> dict[str, Any]:
    """As `parse`, for a document that must be an object."""
    value = parse(data, where, bytes_max, repair=repair, depth_max=depth_max)
    if not isinstance(value, dict):
        raise JsonError(f"{where} is not a JSON object")
    return value


def dump(value: Any, where: str) -> str:
    """Compact ASCII JSON. Raises JsonError for what `parse` would not take back: it must not reach a store."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except RecursionError:
        raise JsonError(f"{where} is nested too deep to be written") from None
    except (ValueError, TypeError) as error:
        raise JsonError(f"{where} cannot be written as JSON: {error}") from None


def writable(text: str) -> str:
    """The text with lone surrogates (bytes of a file name that are not UTF-8) and NUL as escapes: protobuf and SQLite accept it."""
    return _UNWRITABLE.sub(_escape, text)


def describe_faults(where: str, faults: Iterable[Mapping[str, Any]]) -> str:
    """One line about the first fault that pydantic found (`ValidationError.errors()`)."""
    first = next(iter(faults))
    path = "".join(map(_step, first["loc"]))[:PATH_CHARACTERS_MAX]
    return f"{where}: {f'at {path}: ' if path else ''}{writable(str(first['msg']))}"


class _DuplicateKeyError(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _decoded(data: bytes | bytearray | memoryview | str, where: str, bytes_max: int) -> str:
    if len(data) > bytes_max:
        raise JsonError(f"{where} has {len(data)} bytes; at most {bytes_max} are taken")
    try:
        if isinstance(data, str):
            data.encode("utf-8")
            return data
        return bytes(data).decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonError(f"{where} is not UTF-8: byte {error.start}") from None
    except UnicodeEncodeError as error:
        raise JsonError(f"{where} holds a lone surrogate: character {error.start}") from None


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= INTEGER_CHARACTERS_MAX else math.inf


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        raise _DuplicateKeyError(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return found


def _checked(value: Any, where: str, depth_max: int, *, repair: bool, texts: bool) -> Any:
    """The value, repaired in place where that is asked. Loops over containers: recursion would end where a hostile document wants."""
    root = [value]
    waiting: list[tuple[Any, str, int]] = [(root, "", 0)]
    while waiting:
        holder, path, depth = waiting.pop()
        if depth > depth_max:
            raise JsonError(f"{where} is nested deeper than {depth_max} levels: at {path[:PATH_CHARACTERS_MAX]}")
        if texts and isinstance(holder, dict):
            _check_keys(holder, where, path, repair)
        for key, item in enumerate(holder) if isinstance(holder, list) else holder.items():
            fault = ""
            if isinstance(item, (dict, list)):
                waiting.append((item, path + _step(key) if holder is not root else "", depth + 1))
            elif isinstance(item, float):
                if not math.isfinite(item):
                    fault, better = "a number that is not finite, or has too many digits", None
            elif texts and isinstance(item, str) and _UNWRITABLE.search(item):
                fault, better = "text with a lone surrogate or a NUL", writable(item)
            if fault and not repair:
                at = path + _step(key) if holder is not root else ""
                raise JsonError(f"{where}: {f'at {at[:PATH_CHARACTERS_MAX]}: ' if at else ''}{fault}")
            if fault:
                holder[key] = better  # the size stays, so the loop goes on
    return root[0]


def _check_keys(holder: dict[str, Any], where: str, path: str, repair: bool) -> None:
    bad = next((key for key in holder if _UNWRITABLE.search(key)), None)
    if bad is None:
        return
    if not repair:
        at = f"at {path[:PATH_CHARACTERS_MAX]}: " if path else ""
        raise JsonError(f"{where}: {at}the key {_shown(bad)} holds a lone surrogate or a NUL")
    renamed = {writable(key): item for key, item in holder.items()}
    holder.clear()
    holder.update(renamed)


def _step(key: int | str) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if _PLAIN_KEY.fullmatch(key) else f"[{_shown(key)}]"


def _shown(key: str) -> str:
    return ascii(key if len(key) <= 40 else key[:39] + "…")


def _escape(found: re.Match[str]) -> str:
    return "\\x00" if found[0] == "\x00" else f"\\u{ord(found[0]):04x}"
