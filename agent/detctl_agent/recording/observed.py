"""Collects, while frames arrive, which files a training opened and which lines of its source the probe named. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detctl_probe.transport.frames import STAGE_NUMBERS

from detctl_agent.recording.records import Record

CODE, LISTING, FILES, RNG = (STAGE_NUMBERS[name] for name in ("code", "listing", "files", "rng"))
LAST_STAGE = max(CODE, LISTING, FILES, RNG)  # of those that are looked at
FILES_MAX = 20_000
SOURCES_MAX = 500
LINES_MAX = 500
FOLDERS_MAX = 200
EVIDENCE_BYTES_MAX = 16 * 1024
_SOURCE = "py:source"


@dataclass(frozen=True)
class OpenedFile:
    """A data file as the training first opened it. Its size and time of change show whether it is still the same. path: where it is, if
    no declared place holds it."""

    bytes: int
    mtime_ns: int
    path: str = ""


@dataclass(frozen=True)
class SourceFile:
    """A source file of the training. path: where the training read it. digest: BLAKE2b, 16 bytes, of its content then."""

    path: str
    digest: bytes


@dataclass
class Observed:
    """What one run opened and executed. files: logical name -> the file. sources: logical name -> the file, the main script first.
    lines: (logical name, line) in the order in which they came. folders: logical names of listed folders. left_out: number of files
    beyond FILES_MAX."""

    files: dict[str, OpenedFile] = field(default_factory=dict)
    sources: dict[str, SourceFile] = field(default_factory=dict)
    lines: dict[tuple[str, int], None] = field(default_factory=dict)
    folders: dict[str, None] = field(default_factory=dict)
    left_out: int = 0

    def add(self, record: Record) -> None:
        """Takes a record of one of the first stages."""
        if record.evidence is None or len(record.evidence) > EVIDENCE_BYTES_MAX:
            return
        try:
            evidence = json.loads(record.evidence)
        except (ValueError, RecursionError):
            return
        if not isinstance(evidence, dict):
            return
        if record.stage == FILES:
            self._file(evidence)
        elif record.stage == CODE:
            path = evidence.get("path")
            if record.identity.dtype == _SOURCE and isinstance(path, str) and len(self.sources) < SOURCES_MAX:
                self.sources.setdefault(record.identity.site, SourceFile(path, record.digest))
        else:
            if record.stage == LISTING and len(self.folders) < FOLDERS_MAX:
                self.folders.setdefault(record.identity.site)
            self.place(evidence)

    def place(self, facts: Mapping[str, Any]) -> None:
        """Takes the file and line of a note, or of a fingerprint's evidence. A note of a file that is held open counts as opened."""
        if facts.get("kind") == "file-held":
            self._file(facts)
            return
        caller = facts.get("caller")
        if isinstance(caller, Mapping) and not facts.get("file"):
            facts = caller
        file, line = facts.get("file"), facts.get("line")
        if isinstance(file, str) and isinstance(line, int) and line > 0 and len(self.lines) < LINES_MAX:
            self.lines.setdefault((file, line))

    def _file(self, evidence: Mapping[str, Any]) -> None:
        name = evidence.get("file")
        numbers = [evidence.get(key) for key in ("bytes", "mtime_ns")]
        if not isinstance(name, str) or not all(isinstance(number, int) for number in numbers) or name in self.files:
            return
        if len(self.files) >= FILES_MAX:
            self.left_out += 1
            return
        path = evidence.get("path") if not name.startswith("{") else ""
        size, changed = (int(number) for number in numbers if number is not None)
        self.files[name] = OpenedFile(size, changed, path if isinstance(path, str) else "")
