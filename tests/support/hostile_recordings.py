"""What somebody can make of a recorded folder: each a name and a function that changes a copy of a sound one."""

from __future__ import annotations

import copy
import json
import os
import random
import socket
import struct
import zlib
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any

from detctl_proto.recordings.recording_log import MAGIC
from detctl_proto.v1 import agents_pb2

Change = Callable[[Path], object]
FILES = ("run.json", "manifest.json", "spool/log", "stdout", "stderr")
# As JSON: what Python's json would write itself, and what it would not.
VALUES = (
    "null", "true", "-1", "1.5", "1" + "0" * 30, "1e999", "-Infinity", "NaN", '""', '"x"', '"\\ud800"', '"a\\u0000b"', '"\\u001b[31m\\n"',
    "[]", "{}", '[null, 1, "x"]', '{"x": {"y": []}}', "[" * 3000 + "]" * 3000, "9" * 5000,
)  # fmt: skip


def special_files() -> Iterator[tuple[str, Change]]:
    """Each file of a recording as something that is not a file, and as one of a kind that nobody expects."""
    for name in (*FILES, "spool"):
        for kind, make in _KINDS.items():
            yield f"{name}: {kind}", lambda folder, name=name, make=make: make(_gone(folder / name))


def json_values(documents: dict[str, Any], keys: Container[str] | None = None) -> Iterator[tuple[str, Change]]:
    """Every value of a JSON file at the first two levels replaced by each of VALUES, or left out; keys: only these of the first level."""
    for name, document in documents.items():
        for path in (path for path in _paths(document) if keys is None or path[0] in keys):
            for text in VALUES:
                yield f"{name}: {'.'.join(path)} = {text[:20]}", _with_value(name, document, path, text)
            yield f"{name}: without {'.'.join(path)}", _with_value(name, document, path, None)
        for text in (*VALUES, "", "{", '{"a": 1', "\ufeff{}", '{"schema": "detctl.run/v1", "schema": 1}'):
            yield f"{name} is {text[:20]!r}", lambda folder, n=name, t=text: (folder / n).write_text(t, "utf-8")
        yield f"{name} is not UTF-8", lambda folder, n=name: (folder / n).write_bytes(b'{"a": "\xff\xfe"}')


def spools(log: bytes, dice: random.Random) -> Iterator[tuple[str, Change]]:
    """Cut, flipped, and whole records of whatever content, with their check sums right."""
    yield "an empty log", lambda folder: _log(folder).write_bytes(b"")
    yield "the head alone", lambda folder: _log(folder).write_bytes(MAGIC)
    for size in sorted({dice.randrange(len(log)) for _ in range(12)}):
        yield f"cut at {size}", lambda folder, size=size: _log(folder).write_bytes(log[:size])
    for _ in range(12):
        changed = bytearray(log)
        changed[dice.randrange(len(log))] ^= 1 << dice.randrange(8)
        yield "one bit flipped", lambda folder, data=bytes(changed): _log(folder).write_bytes(data)
    records = list(_payloads(log))
    for payload in (b"", b"\xff" * 20, dice.randbytes(400), b"\x0a\x00", b"\x12\x00", records[0][:-3], records[-1] * 3):
        yield f"a record of {payload[:8]!r}", lambda folder, p=payload: _log(folder).write_bytes(MAGIC + framed(p))
    for number in range(len(records)):
        for change in (_numbers, _garbage, _names):
            message = agents_pb2.IngestRequest.FromString(records[number])
            change(message, dice)
            data = MAGIC + b"".join(
                map(framed, [*records[:number], message.SerializeToString(), *records[number + 1 :]])
            )
            yield f"record {number} with other {change.__name__}", lambda folder, d=data: _log(folder).write_bytes(d)


def framed(payload: bytes) -> bytes:
    length = struct.pack("<I", len(payload))
    return length + struct.pack("<I", zlib.crc32(payload, zlib.crc32(length))) + payload


def _numbers(message: agents_pb2.IngestRequest, dice: random.Random) -> None:
    part = message.segment if message.WhichOneof("kind") == "segment" else message.seal
    for field in part.DESCRIPTOR.fields:
        if field.cpp_type in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64) and not getattr(field, "is_repeated", False):
            try:
                setattr(part, field.name, dice.choice([0, 1, 7, (1 << 32) - 1]))
            except (TypeError, AttributeError):
                continue  # a list


def _garbage(message: agents_pb2.IngestRequest, dice: random.Random) -> None:
    if message.WhichOneof("kind") == "segment":
        message.segment.columns = zlib.compress(dice.randbytes(300))
    else:
        message.seal.detail_json = dice.choice(["{", "[]", "[" * 3000, '{"facts": 1, "notes": {}, "process": []}'])


def _names(message: agents_pb2.IngestRequest, dice: random.Random) -> None:
    if message.WhichOneof("kind") == "segment":
        message.segment.scheme = message.segment.level = "\x00\x1b[31m"
    else:
        message.seal.reason = "\x00\x1b[31m" * 100


def _payloads(log: bytes) -> Iterator[bytes]:
    at = len(MAGIC)
    while at < len(log):
        length = struct.unpack_from("<I", log, at)[0]
        yield log[at + 8 : at + 8 + length]
        at += 8 + length


def _paths(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for key, value in document.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, inner) for inner in list(value)[:3])


def _with_value(name: str, document: dict[str, Any], path: tuple[str, ...], text: str | None) -> Change:
    def change(folder: Path) -> None:
        marked = copy.deepcopy(document)
        holder = marked
        for key in path[:-1]:
            holder = holder[key]
        if text is None:
            del holder[path[-1]]
        else:
            holder[path[-1]] = "@here@"
        (folder / name).write_text(json.dumps(marked).replace('"@here@"', text or ""), "utf-8")

    return change


def _log(folder: Path) -> Path:
    return folder / "spool" / "log"


def _gone(path: Path) -> Path:
    if path.is_dir():
        for inner in path.iterdir():
            inner.unlink()
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    return path


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's name may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _sparse(path: Path) -> None:
    with open(path, "wb") as stream:
        stream.truncate(1 << 40)


_KINDS: dict[str, Change] = {
    "missing": lambda path: None,
    "a named pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "a socket": _socket,
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to another file": lambda path: path.symlink_to("/etc/hostname"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "empty": lambda path: path.write_bytes(b""),
    "a TiB of zeros": _sparse,
    "bytes": lambda path: path.write_bytes(bytes(range(256)) * 10),
}
