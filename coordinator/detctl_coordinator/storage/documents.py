"""Converts audits, runs, seals, machines and tokens to JSON documents and back.

pydantic validates the dataclasses of domain/; this module only describes where a document differs from its dataclass. A damaged document
raises one DocumentError about itself. Audits and seals name their schema (`detctl.audit/v1`). Within a version keys may be added: readers
ignore unknown keys, and missing keys take their defaults. Texts that `load` returns can be put into a message: lone surrogates that an
older detctl stored (file names that are not UTF-8) become escapes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, TypeVar

from detctl_proto.outside_json import DEPTH_MAX, JsonError, describe_faults, parse_object
from detctl_proto.outside_json import dump as dump_json
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.domain.fingerprint import Seal
from detctl_coordinator.domain.identity import Token
from detctl_coordinator.domain.machine import Machine
from detctl_coordinator.domain.run import Arm, RunOutcome, RunRecord
from detctl_coordinator.domain.widths import Finite
from detctl_coordinator.storage.store import DocumentError, NamedRows, RejectedDataError, Rows, Unreadable

AUDIT_SCHEMA = "detctl.audit/v1"
SEAL_SCHEMA = "detctl.seal/v1"

# A stored document contains the documents of messages some levels deep.
STORED_DEPTH_MAX = DEPTH_MAX + 16

_WORKING = ("run_id", "attempt", "step", "records")
# Fields that version 1 got later. They are written if they are set, so that a document of before is written again as it was.
_LATER = frozenset({"beside", "failure", "notes", "side_by_side", "stop_on_failure", "stopped_by", "strict", "timings"})

_SCALARS = (str, int, float)  # most values, and enums that JSON can write

Json = dict[str, Any]
T = TypeVar("T")
D = TypeVar("D")


class LogEntry(TypedDict):
    """An entry of the log."""

    at: Finite
    who: str
    event: str
    text: str
    audit: str
    machine: str
    detail: dict[str, Any]


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in (Audit, Seal, Machine, Token, LogEntry)}


def audit_to_json(audit: Audit) -> Json:
    """Returns the document of an audit, with its runs."""
    runs = [run_to_json(run) for run in audit.runs.values()]
    return {"schema": AUDIT_SCHEMA, **_fields(audit), "request": _fields(audit.request), "runs": runs}


def audit_from_json(document: Mapping[str, Any]) -> Audit:
    """Inverse of `audit_to_json`. Raises DocumentError."""
    _check_schema(document, AUDIT_SCHEMA)
    return _built(Audit, _audit_fields, document, "an audit's document")


def run_to_json(run: RunRecord) -> Json:
    """Returns the document of a run, which is part of its audit's document."""
    spec: Json = {}
    for name, value in _fields(run.spec).items():
        spec |= _fields(value) if isinstance(value, Arm) else {name: value}
    return {**_fields(run), "spec": spec, "outcome": None if run.outcome is None else _outcome(run.outcome)}


def _outcome(outcome: RunOutcome) -> Json:
    document = _fields(outcome)
    for name in ("failure", "timings"):
        if (part := getattr(outcome, name)) is not None:
            document[name] = _fields(part)
    return document


def seal_to_json(seal: Seal) -> Json:
    """Returns the document of a seal. Resending a seal must give the same bytes, so the order of keys must not change."""
    streams = [[s.key.rank, int(s.key.stage), int(s.key.phase), s.steps, s.count, s.chain.hex()] for s in seal.streams]
    return {"schema": SEAL_SCHEMA, **_fields(seal), "streams": streams}


def seal_from_json(document: Mapping[str, Any]) -> Seal:
    """Inverse of `seal_to_json`. Raises DocumentError."""
    _check_schema(document, SEAL_SCHEMA)
    return _built(Seal, _seal_fields, document, "a seal")


def machine_to_json(machine: Machine) -> Json:
    """Returns the document of a machine."""
    recipes = [_fields(recipe) for recipe in machine.recipes.values()]
    working, watched = [], []
    for run in machine.working:
        fields = _fields(run)
        if run.side_by_side is not None:
            fields["side_by_side"] = _fields(run.side_by_side)
        working.append([fields.pop(name) for name in _WORKING])
        watched.append(fields)
    document = {**_fields(machine), "recipes": recipes, "working": working}
    if machine.notes:
        document["notes"] = [_fields(note) for note in machine.notes]
    return {**document, "watched": watched} if any(any(fields.values()) for fields in watched) else document


def machine_from_json(document: Mapping[str, Any]) -> Machine:
    """Inverse of `machine_to_json`. Raises DocumentError."""
    return _built(Machine, _machine_fields, document, "a machine's document")


def token_to_json(token: Token) -> Json:
    """Returns the document of a token."""
    return _fields(token)


def token_from_json(document: Mapping[str, Any]) -> Token:
    """Inverse of `token_to_json`. Raises DocumentError."""
    return _built(Token, dict, document, "a token's document")


def log_entry_from_json(document: Mapping[str, Any]) -> LogEntry:
    """Returns an entry of the log after checking its types. Raises DocumentError."""
    return _built(LogEntry, dict, document, "a log entry")


def dump(document: Mapping[str, Any]) -> str:
    """Returns compact ASCII JSON. Raises RejectedDataError for a value that could not be read again."""
    try:
        return dump_json(document, "a document for the store")
    except JsonError as error:
        raise RejectedDataError(str(error)) from None


def load(text: str | bytes) -> Json:
    """Inverse of `dump`. Raises DocumentError."""
    try:
        return parse_object(text, "a document in the store", sys.maxsize, repair=True, depth_max=STORED_DEPTH_MAX)
    except JsonError as error:
        raise DocumentError(str(error)) from None


def load_audit(text: str | bytes) -> Audit:
    """Returns an audit from its stored text. Raises DocumentError."""
    return audit_from_json(load(text))


def readable(kind: str, rows: Iterable[tuple[str, D]], read: Callable[[D], T]) -> NamedRows[T]:
    """Returns what `read` makes of (name, stored value), by name and in order, with the rows that it cannot read."""
    found: dict[str, T] = {}
    bad = []
    for name, stored in rows:
        try:
            found[name] = read(stored)
        except DocumentError as error:
            bad.append(Unreadable(kind, name, str(error)))
    return NamedRows(found, bad)


def read_machines(rows: NamedRows[Mapping[str, Any]]) -> NamedRows[Machine]:
    """Returns the machines by name. A machine whose document cannot be read counts as gone until its agent writes a new one."""
    found = readable("machine", rows.items(), machine_from_json)
    return NamedRows(found, (*rows.unreadable, *found.unreadable))


def read_tokens(rows: NamedRows[Mapping[str, Any]]) -> NamedRows[Token]:
    """Returns the tokens by id. A token whose document cannot be read admits nobody; the other tokens still work."""
    found = readable("token", rows.items(), token_from_json)
    return NamedRows(found, (*rows.unreadable, *found.unreadable))


def readable_runs(chosen: Iterable[tuple[str, str]], audits: NamedRows[Audit]) -> Rows[RunRecord]:
    """Returns the runs of (run id, audit id) from the documents of their audits."""
    why = {bad.name: bad.text for bad in audits.unreadable}
    records, bad = [], []
    for run_id, audit_id in chosen:
        if audit_id in why:
            bad.append(Unreadable("run", run_id, why[audit_id]))
        elif audit_id in audits and (record := audits[audit_id].runs.get(run_id)) is not None:
            records.append(record)
    return Rows(records, bad)


def load_log_entry(number: int, text: str | bytes) -> Json:
    """Returns an entry of the log, or a replacement with the reason why the entry cannot be read."""
    try:
        return load(text)
    except DocumentError as error:
        return {**unreadable_entry(number, str(error))}


def unreadable_entry(number: int, why: str) -> LogEntry:
    """Returns what the log shows in place of an entry that cannot be read."""
    shown = Unreadable("log entry", str(number), why).text
    return {"at": 0.0, "who": "", "event": "unreadable", "text": shown, "audit": "", "machine": "", "detail": {}}


def _fields(record: object) -> Json:
    """Returns the fields of a dataclass with lists for tuples. Nested dataclasses are left to the caller."""
    return {name: _plain(value) for name, value in vars(record).items() if value or name not in _LATER}


def _plain(value: Any) -> Any:
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value.value if isinstance(value, Enum) else value


def _audit_fields(document: Mapping[str, Any]) -> Json:
    runs = [_run_fields(run) for run in document.get("runs", ())]
    return {**document, "state": document["state"], "runs": {run["spec"]["run_id"]: run for run in runs}}


def _run_fields(document: Mapping[str, Any]) -> Json:
    spec = document["spec"]
    configuration = {name: spec[name] for name in ("machine", "environment", "variation") if name in spec}
    return {**document, "state": document["state"], "spec": {**spec, "arm": configuration}}


def _seal_fields(document: Mapping[str, Any]) -> Json:
    streams = [
        {"key": {"rank": rank, "stage": stage, "phase": phase}, "steps": steps, "count": count, "chain": bytes.fromhex(chain)}
        for rank, stage, phase, steps, count, chain in document["streams"]
    ]  # fmt: skip
    return {**document, "streams": streams}


def _machine_fields(document: Mapping[str, Any]) -> Json:
    working = [dict(zip(_WORKING, row, strict=True)) for row in document["working"]]
    for fields, watched in zip(working, document.get("watched", ()), strict=False):  # an older detctl wrote none
        fields |= watched
    return {**document, "recipes": {recipe["name"]: recipe for recipe in document["recipes"]}, "working": working}


def _built(kind: type[T], fields: Callable[[Mapping[str, Any]], Json], document: Mapping[str, Any], what: str) -> T:
    """Returns the domain value of a document; `fields`: the document in the shape of its dataclass. Raises DocumentError."""
    try:
        value: T = _ADAPTERS[kind].validate_python(fields(document))
        return value
    except ValidationError as error:
        raise DocumentError(describe_faults(f"{what} in the store is damaged", error.errors())) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DocumentError(f"{what} in the store is damaged: {error!r}") from error


def _check_schema(document: Mapping[str, Any], schema: str) -> None:
    found = str(document.get("schema", "no schema"))
    if found != schema:
        raise DocumentError(f"the store holds a document of {found}; this detctl reads {schema}: upgrade detctl")
