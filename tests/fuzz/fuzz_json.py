"""JSON from outside: the parser itself, and each schema behind it."""

from __future__ import annotations

import json

from harness import fuzz, instrumented, one_line

with instrumented(
    "detctl_proto", "detctl_coordinator.wire", "detctl_coordinator.storage", "detctl_agent.recording.records"
):
    from detctl_agent.recording import records
    from detctl_coordinator.errors.codes import RefusedCallError
    from detctl_coordinator.planning import imports
    from detctl_coordinator.storage import documents
    from detctl_coordinator.wire import checks, control
    from detctl_coordinator.wire import records as wire_records
    from detctl_probe.transport.frames import ProtocolError
    from detctl_proto.outside_json import JsonError, dump, parse
    from detctl_proto.v1 import audits_pb2, records_pb2

BYTES = 1 << 20


def target(data: bytes) -> None:
    for repair in (False, True):
        try:
            value = parse(data, "it", BYTES, repair=repair)
        except JsonError as error:
            one_line(str(error))
            continue
        text = dump(value, "it")
        assert parse(text, "it", BYTES) == value
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    try:
        records.json_object(data)
    except ProtocolError as error:
        one_line(str(error))
    try:
        run = documents.load_audit(data)
    except documents.DocumentError as error:
        one_line(str(error))
    else:
        documents.load_audit(documents.dump(documents.audit_to_json(run)))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return
    for door in (as_run, as_manifest, as_detail):
        try:
            door(text)
        except RefusedCallError as error:
            one_line(error.text)


def as_run(text: str) -> None:
    audit = imports.plan_import("host/default/base/twin-0", checks.json_object(text, BYTES, "run.json"), 0.0)
    documents.load_audit(documents.dump(documents.audit_to_json(audit)))
    audits_pb2.RunInfo(recipe=audit.request.recipe)


def as_manifest(text: str) -> None:
    documents.dump(control.manifest_of(text, "the manifest"))


def as_detail(text: str) -> None:
    seal = wire_records.seal_from_proto(records_pb2.Seal(detail_json=text))
    assert documents.seal_from_json(documents.load(documents.dump(documents.seal_to_json(seal)))) == seal


if __name__ == "__main__":
    fuzz(target)
