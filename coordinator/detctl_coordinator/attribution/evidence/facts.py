"""Reads a run's data beside its fingerprints: the manifest completed by the probe's facts, notes, and interventions."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from detctl_proto.security.redaction import KEY_BYTES, RecordingKey, protected_manifest, variables_agree

from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.domain.clue import Clue

# Facts of the probe that have another name in the manifest's section "torch".
FACT_NAMES = {"torch": "version"}
_OF_PLACE = ("path", "file_system")  # keys of a row of section "storage"
# The key of digests that never leave this process; a verdict shows "value not recorded" for them.
_KEY = RecordingKey(secrets.token_bytes(KEY_BYTES))
# Facts that are not copied to section "torch": they belong to the rank, or have their own section.
NOT_TORCH = ("packages", "rank", "world_size")


class Location(TypedDict):
    """A place in the user's code. An empty `file`: unknown."""

    file: str
    line: int | None


@dataclass(frozen=True)
class Note:
    """Evidence that belongs to no fingerprint (frames.py, NOTE). `text` is for people; code decides on `kind` and `raw`."""

    kind: str
    text: str
    raw: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """All fields except the text, so that notes with the same facts are equal."""
        fields = {key: value for key, value in self.raw.items() if key != "text"}
        return json.dumps(fields, sort_keys=True, default=str)

    @property
    def clue(self) -> Clue:
        """The note's facts, in the form of the verdict."""
        raw = self.raw
        return Clue(
            kind=self.kind,
            call=str(raw.get("call") or ""),
            generator=str(raw.get("generator") or ""),
            package=str(raw.get("package") or ""),
            value_kind=str(raw.get("looks_like") or ""),
            **location_of(raw),
        )

    @property
    def where(self) -> str:
        """`train.py:31`, with logical folder names; empty if unknown."""
        return place(self.raw)

    @property
    def description(self) -> str:
        return f"{self.text} ({self.where})" if self.where and self.where not in self.text else self.text


def location_of(raw: Mapping[str, Any]) -> Location:
    """Returns file and line of a note or of a fingerprint's evidence, as the probe's caller() wrote them."""
    caller = raw.get("caller")
    if isinstance(caller, Mapping) and not raw.get("file"):
        raw = caller
    line = raw.get("line")
    return {"file": str(raw.get("file") or ""), "line": line if isinstance(line, int) else None}


def place(raw: Mapping[str, Any]) -> str:
    """Returns `file:line` of a note or of a fingerprint's evidence; only the file, or nothing, if the rest is unknown."""
    return Clue(kind="", **location_of(raw)).where


def notes_of(reader: RunReader) -> list[Note]:
    """Returns the notes of all ranks, each once."""
    found: dict[str, Note] = {}
    for seal in reader.seals().values():
        for raw in seal.detail.get("notes") or ():
            if isinstance(raw, Mapping):
                note = Note(str(raw.get("kind", "")), str(raw.get("text", "")), raw)
                found[note.identity] = note
    return list(found.values())


def interventions_of(reader: RunReader) -> list[Mapping[str, Any]]:
    """Returns the report of each intervention over all ranks. One that acted in any rank counts as acted."""
    rows: dict[str, Mapping[str, Any]] = {}
    for seal in reader.seals().values():
        for row in seal.detail.get("interventions") or ():
            if isinstance(row, Mapping):
                name = str(row.get("name", ""))
                if name not in rows or row.get("acted"):
                    rows[name] = row
    return list(rows.values())


def manifest_of(reader: RunReader) -> dict[str, Any]:
    """Returns the manifest. The probe's facts fill what its section "torch" lacks."""
    # Recordings of earlier versions hold all values; they are protected here as a recording of today is.
    read = [str(note.raw.get("name")) for note in notes_of(reader) if note.kind == "variable"]
    manifest = protected_manifest(reader.manifest(), _KEY, read)
    facts = _facts(reader)
    section = manifest.get("torch")
    torch = dict(section) if isinstance(section, Mapping) else {}
    for key, value in facts.items():
        if key not in NOT_TORCH:
            torch.setdefault(FACT_NAMES.get(key, key), value)
    if torch:
        manifest["torch"] = torch
    python = manifest.get("python")
    if isinstance(facts.get("packages"), Mapping) and not (isinstance(python, Mapping) and python.get("packages")):
        manifest["python"] = {**(python if isinstance(python, Mapping) else {}), "packages": facts["packages"]}
    return manifest


def _facts(reader: RunReader) -> Mapping[str, Any]:
    seals = reader.seals()
    for rank in sorted(seals):
        facts = seals[rank].detail.get("facts")
        if isinstance(facts, Mapping) and facts:
            return facts
    return {}


def value_at(manifest: Mapping[str, Any], *keys: str) -> Any:
    """Returns a nested value, or None."""
    value: Any = manifest
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def other_places(left: Mapping[str, Any], right: Mapping[str, Any]) -> str:
    """Returns a line if two recordings were made in different working folders, or with different home folders, else an empty text. Such
    runs do not prove that the code alone makes a difference: the folder and its file system may."""
    rows = [value_at(manifest, "storage", "cwd") for manifest in (left, right)]
    paths, kinds = ([str(row.get(key) or "") if isinstance(row, Mapping) else "" for row in rows] for key in _OF_PLACE)
    if not all(paths):
        return ""
    if paths[0] == paths[1]:
        return "The runs had different home folders." if variables_agree("HOME", left, right) is False else ""
    on = f" on {kinds[0]} and {kinds[1]}" if kinds[0] != kinds[1] else ""
    return f"The runs were recorded in different folders{on}: {paths[0]} and {paths[1]}."


def emulates(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Returns the hardware that an environment emulates, such as {"cpu": "default"}; empty: none."""
    section = value_at(manifest, "environment", "emulate")
    return {str(k): str(v) for k, v in section.items()} if isinstance(section, Mapping) else {}


def of_kind(notes: Iterable[Note], *kinds: str) -> list[Note]:
    return [note for note in notes if note.kind in kinds]
