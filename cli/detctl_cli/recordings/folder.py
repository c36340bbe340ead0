"""What lies in a recorded folder. The format is the agent's (detctl_agent/run_folder.py); the contract alone reads it.

DIR/run.json, DIR/manifest.json, DIR/stdout, DIR/stderr
DIR/spool/log     8 bytes of magic, then: u32 length, u32 CRC-32 over length and payload, payload (IngestRequest)
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detctl_proto.redaction import redact_output

from detctl_cli.errors import CliError
from detctl_cli.exits import Exit

MAGIC = b"DETCTL\x00\x01"
RECORD_BYTES_MAX = 4 * 1024 * 1024
OUTPUT_TAIL_BYTES = 32 * 1024
_HEAD = struct.Struct("<II")
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Recording:
    """One folder. run, manifest: the JSON documents; sound: spool records that may be used; damage: empty or one line."""

    folder: Path
    run: dict[str, Any]
    manifest: dict[str, Any] = field(default_factory=dict)
    sound: int = 0
    damage: str = ""

    @property
    def output_tail(self) -> str:
        """The last of stdout and stderr, without credentials."""
        parts = [(name, _tail(self.folder / name)) for name in ("stdout", "stderr")]
        return redact_output("\n".join(f"--- {name} ---\n{text}" for name, text in parts if text))

    def payloads(self) -> Iterator[bytes]:
        """The sound records, in the order of writing."""
        return (payload for payload, _ in read_log(self.folder / "spool" / "log"))


def open_recording(folder: Path) -> Recording:
    """Reads and checks a folder. Raises CliError: 2 where it is no recording, 3 where it is one and unusable."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise CliError("not-found", f"{folder}: {what}", "detctl record -o DIR -- COMMAND makes one")
    path = folder / "run.json"
    if not path.exists():
        raise CliError("not-found", f"{folder}: holds no recording (run.json is missing)", _RECORD_HINT)
    run = _document(path)
    if run.get("schema") != "detctl.run/v1":
        raise CliError("version", f"{path}: schema {run.get('schema')!r} is not detctl.run/v1", "record it again")
    if run.get("state") != "ended":
        raise _unusable(f"{folder}: the recording has not ended (state {run.get('state')})")
    manifest_path = folder / "manifest.json"
    manifest = _document(manifest_path) if manifest_path.exists() else {}
    log = folder / "spool" / "log"
    sound, good_bytes = 0, len(MAGIC)
    for _, good_bytes in read_log(log):  # noqa: B007 - the last one's end counts
        sound += 1
    size = log.stat().st_size if log.exists() else 0
    expected = int(run.get("spool_records") or 0)
    damage = ""
    if sound < expected or (size and size != good_bytes):
        damage = f"{log}: damaged or cut after {sound} of {expected} records; what follows is not used"
    return Recording(folder, run, manifest, sound, damage)


def read_log(log: Path, start: int = len(MAGIC)) -> Iterator[tuple[bytes, int]]:
    """(payload, position behind it) from `start` up to the first that is cut or fails its CRC; nothing behind it may be used."""
    try:
        stream = open(log, "rb")  # noqa: SIM115 - closed by the with below
    except OSError:
        return
    with stream:
        if stream.read(len(MAGIC)) != MAGIC:
            return
        stream.seek(start)
        while len(head := stream.read(_HEAD.size)) == _HEAD.size:
            length, crc = _HEAD.unpack(head)
            if length > RECORD_BYTES_MAX:
                return
            payload = stream.read(length)
            if len(payload) < length or zlib.crc32(payload, zlib.crc32(_LENGTH.pack(length))) != crc:
                return
            yield payload, stream.tell()


_RECORD_HINT = "detctl record -o DIR -- COMMAND makes one"


def _unusable(message: str) -> CliError:
    return CliError("damaged", message, "record it again: detctl record -o DIR -- COMMAND", Exit.UNVERIFIED)


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise _unusable(f"{path}: damaged: {problem}") from None
    if not isinstance(document, dict):
        raise _unusable(f"{path}: damaged: no JSON object")
    return document


def _tail(path: Path) -> str:
    try:
        with open(path, "rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - OUTPUT_TAIL_BYTES))
            return stream.read().decode("utf-8", "replace").replace("\x00", "?")
    except OSError:
        return ""
