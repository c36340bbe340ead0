"""Reads and checks a recorded folder. The agent defines its format (detctl_agent/state/run_folder.py).

DIR/run.json, DIR/manifest.json, DIR/stdout, DIR/stderr
DIR/spool/log     8 bytes of magic, then records: u32 length, u32 CRC-32 over length and payload, payload (IngestRequest)
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from detctl_proto.files.regular_file import RegularFileError, open_regular, printable, read_regular, read_tail
from detctl_proto.outside_json import JsonError, parse_object
from detctl_proto.recordings.recording_log import MAGIC, read_records
from detctl_proto.recordings.run_documents import MANIFEST_BYTES_MAX, RUN_BYTES_MAX, RUN_SCHEMA
from detctl_proto.security.redaction import redact_output

from detctl_cli.errors import CliError
from detctl_cli.exits import Exit

OUTPUT_TAIL_BYTES = 32 * 1024


@dataclass(frozen=True)
class Recording:
    """One folder. run, manifest: the JSON documents; intact: number of usable spool records; damage: empty or one line."""

    folder: Path
    run: dict[str, Any]
    manifest: dict[str, Any] = field(default_factory=dict)
    intact: int = 0
    damage: str = ""

    @property
    def output_tail(self) -> str:
        """Returns the end of stdout and stderr, without credentials."""
        parts = [(name, _tail(self.folder / name)) for name in ("stdout", "stderr")]
        return redact_output("\n".join(f"--- {name} ---\n{text}" for name, text in parts if text))

    def payloads(self) -> Iterator[bytes]:
        """Yields the intact records in the order of writing."""
        return (payload for payload, _ in read_log(self.folder / "spool" / "log"))


def open_recording(folder: Path) -> Recording:
    """Reads and checks a folder. Raises CliError: exit code 2 if it is not a recording of plain files, 3 if it is unusable."""
    name = printable(folder)
    if not folder.is_dir():
        what = "this is not a folder" if folder.exists() else "there is no such folder"
        raise CliError("not-found", f"{name}: {what}", _RECORD_HINT)
    path = folder / "run.json"
    run = read_document(path, RUN_BYTES_MAX)
    if run is None:
        raise CliError("not-found", f"{name}: this is not a recording, since run.json is missing", _RECORD_HINT)
    if run.get("schema") != RUN_SCHEMA:
        raise CliError(
            "version",
            f"{printable(path)}: the schema is {_shown(run.get('schema'))}, not {RUN_SCHEMA}",
            "record it again",
        )
    if run.get("state") != "ended":
        raise _unusable(f"{name}: the recording is incomplete (state {_shown(run.get('state'))})")
    _check(path, run)
    manifest = read_document(folder / "manifest.json", MANIFEST_BYTES_MAX) or {}
    log = folder / "spool" / "log"
    intact, good_bytes, size = 0, len(MAGIC), 0
    with _open_log(log) as stream:
        for _, good_bytes in read_records(stream):  # noqa: B007 - the last one's end counts
            intact += 1
        size = stream.seek(0, os.SEEK_END)
    expected = int(run.get("spool_records") or 0)
    damage = ""
    if intact < expected or (size and size != good_bytes):
        damage = f"{printable(log)}: the file is damaged after {intact} of {expected} records; the others are not used"
    return Recording(folder, run, manifest, intact, damage)


def read_log(log: Path, start: int = 0) -> Iterator[tuple[bytes, int]]:
    """Yields (payload, position after it) from `start` up to the first record that is cut or fails its CRC.

    A missing log is empty. Raises CliError if the log cannot be read as a file.
    """
    with _open_log(log) as stream:
        yield from read_records(stream, start)


def read_document(path: Path, bytes_max: int) -> dict[str, Any] | None:
    """Returns the JSON object in a file of a recording, None if the file is missing. Raises CliError.

    Bytes of recorded names that are not UTF-8 become escapes, so that such a name does not make the recording unusable.
    """
    try:
        content = read_regular(path, bytes_max)
    except RegularFileError as problem:
        if problem.is_missing:
            return None
        raise _not_a_file(problem) from None
    try:
        return parse_object(content, f"{printable(path)} is damaged: it", bytes_max, repair=True)
    except JsonError as problem:
        raise _unusable(str(problem)) from None


def _open_log(log: Path) -> BinaryIO:
    try:
        return open_regular(log, None)
    except RegularFileError as problem:
        if problem.is_missing:
            return io.BytesIO()
        raise _not_a_file(problem) from None


# The keys of run.json that detctl uses, and the check of each. Other keys and null are accepted.
def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 31


def _is_exit_code(value: object) -> bool:
    return type(value) is int and -(1 << 31) <= value < 1 << 31


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_KINDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    **dict.fromkeys(("spool_records", "ranks", "records"), (_is_count, "a count")),
    "exit_code": (_is_exit_code, "an exit code"),
    **dict.fromkeys(("machine", "end", "message", "level", "recipe", "folder"), (_is_text, "text")),
}


def _check(path: Path, run: Mapping[str, Any]) -> None:
    for key, (fits, kind) in _KINDS.items():
        value = run.get(key)
        if value is not None and not fits(value):
            raise _unusable(f"{printable(path)} is damaged: {key} is {_shown(value)}, which is not {kind}")


def _shown(value: object) -> str:
    text = ascii(value) if not isinstance(value, (dict, list)) else f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:59]}…"


def _not_a_file(problem: RegularFileError) -> CliError:
    return CliError("not-a-file", str(problem), "a recording consists of plain files")


_RECORD_HINT = "make a recording with detctl record -o DIR -- COMMAND"


def _unusable(message: str) -> CliError:
    return CliError("damaged", message, "record it again: detctl record -o DIR -- COMMAND", Exit.UNVERIFIED)


def _tail(path: Path) -> str:
    try:
        return read_tail(path, OUTPUT_TAIL_BYTES).decode("utf-8", "replace").replace("\x00", "?")
    except OSError:
        return ""
