"""Returns an audit, a run or a machine as JSON text, for `detctl show ID`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping
from typing import Any

from detctl_proto.recordings.run_documents import RUN_SCHEMA
from detctl_proto.security.redaction import KEY_BYTES, RecordingKey, protected_manifest, redact_document
from detctl_proto.syntax.names import is_name

from detctl_coordinator import limits
from detctl_coordinator.domain.fingerprint import Phase, Stage
from detctl_coordinator.domain.machine import Machine
from detctl_coordinator.domain.run import RunRecord
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.storage.documents import audit_to_json, machine_to_json, run_to_json, seal_to_json
from detctl_coordinator.storage.store import Store
from detctl_coordinator.wire.verdict_summary import verdict_of

# Older versions stored manifests with all values, so manifests are protected again when they are shown.
_KEY = RecordingKey(secrets.token_bytes(KEY_BYTES))


def show(store: Store, name: str, machines: Mapping[str, Machine], alive: Collection[str]) -> tuple[str, str]:
    """Returns (kind, JSON without credentials). Raises RefusedCallError (NOT_FOUND)."""
    if is_name(name):
        if (run := store.run(name)) is not None:
            seals = {str(rank): _seal(seal_to_json(seal)) for rank, seal in sorted(store.seals(name).items())}
            document = {**_run(run), "schema": RUN_SCHEMA, "label": run.spec.label, "seals": seals}
            document["manifest"] = protected_manifest(document["manifest"], _KEY)
            return "run", json.dumps(redact_document(document))
        if (audit := store.audit(name)) is not None:
            document = audit_to_json(audit)
            document["runs"] = [_run(one) for one in audit.runs.values()]
            for shown in document["runs"]:
                shown.pop("manifest")  # `show RUN` prints it; an audit of a hundred runs would take megabytes
            del document["verdict_json"]
            return "audit", json.dumps(redact_document({**document, "verdict": verdict_of(audit)}))
        if (machine := machines.get(name)) is not None:
            document = machine_to_json(machine)
            del document["beat"]
            document |= {"schema": "detctl.machine/v1", "connected": name in alive}
            return "machine", json.dumps(redact_document(document))
    text = f"no audit, run or machine has the name {limits.clean(name, 80)!r}; see detctl audits, detctl runs and detctl machines"
    raise RefusedCallError(Code.NOT_FOUND, text)


def _run(run: RunRecord) -> dict[str, Any]:
    """Returns the run's document without the digest of its holder's secret."""
    document = run_to_json(run)
    del document["secret_digest"]
    return document


def _seal(seal: dict[str, Any]) -> dict[str, Any]:
    """Returns the seal's document with its streams by name."""
    streams = {
        f"{Stage(stage).word}/{Phase(phase).word}": {"steps": steps, "count": count, "chain": chain}
        for _, stage, phase, steps, count, chain in seal["streams"]
    }
    return {**seal, "streams": streams}
