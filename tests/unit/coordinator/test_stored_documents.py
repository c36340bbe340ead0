"""stored_documents.json was written by the version before pydantic read the documents: it must load, and be written again as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from detctl_coordinator.domain.audit import AuditState
from detctl_coordinator.domain.fingerprint import Phase, SealedStream, Stage, StreamKey
from detctl_coordinator.domain.identity import Role
from detctl_coordinator.domain.machine import Recipe, Working
from detctl_coordinator.domain.run import Arm, RunOutcome, RunState
from detctl_coordinator.storage import documents
from detctl_coordinator.storage.store import DocumentError

STORED: dict[str, Any] = json.loads((Path(__file__).parent / "stored_documents.json").read_text())


def test_an_audit_with_its_runs() -> None:
    audit = documents.audit_from_json(STORED["audit"])
    assert audit.state is AuditState.DONE and audit.version == 4 and audit.stop_after_step == 12
    assert audit.request.vary == (("seed", ("1", "2")),) and audit.request.joiners == ("bob",)
    first, second = audit.runs.values()
    assert first.spec.arm == Arm("gpu1", "cuda", (("env:OMP_NUM_THREADS", "2"), ("lr", "0.1")))
    assert first.state is RunState.SEALED and first.spec.step_to is None and first.spec.purpose == "zoom"
    assert first.outcome == RunOutcome("exit", -9, "m", "tail\n", 2, 3.5)
    assert second.spec.arm == Arm("gpu2") and second.outcome is None and second.spec.step_to == 32
    assert documents.audit_to_json(audit) == STORED["audit"]
    assert documents.run_to_json(first) == STORED["run"] == STORED["audit"]["runs"][0]


def test_a_seal_is_written_with_the_same_bytes() -> None:
    """A store refuses a seal that is sent again if one byte differs, also after an upgrade."""
    seal = documents.seal_from_json(STORED["seal"])
    assert seal.streams[0] == SealedStream(StreamKey(1, Stage.INIT, Phase.TRAIN), 1, 5, bytes(range(16)))
    assert documents.dump(documents.seal_to_json(seal)) == documents.dump(STORED["seal"])


def test_a_machine_and_a_token() -> None:
    machine = documents.machine_from_json(STORED["machine"])
    assert machine.working == (Working("a1.000", 1, 3, 99),) and not machine.connected
    assert isinstance(machine.recipes["digits"], Recipe) and machine.recipes["digits"].command == ("python", "train.py")
    assert documents.dump(documents.machine_to_json(machine)) == documents.dump(STORED["machine"])
    token = documents.token_from_json(STORED["token"])
    assert token.role is Role.SUBMITTER
    assert documents.dump(documents.token_to_json(token)) == documents.dump(STORED["token"])


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("audit", "state", "asleep"),
        ("audit", "version", -1),
        ("audit", "runs", [{"spec": {"run_id": []}, "state": "done"}]),
        ("audit", "runs", 3),
        ("seal", "rank", 2**32),
        ("seal", "streams", [[0, 99, 0, 1, 1, "00"]]),
        ("seal", "streams", [[0, 0, 0, 1, 1, "xx"]]),
        ("seal", "streams", [[0, 0]]),
        ("machine", "working", [["a", 1]]),
        ("machine", "recipes", [{"command": []}]),
        ("machine", "parallel_runs", 2**32),
        ("machine", "last_seen_unix_s", float("inf")),
        ("token", "role", "emperor"),
        ("token", "expires_unix_s", None),
    ],
)
def test_a_damaged_value_is_one_clear_error(kind: str, key: str, value: object) -> None:
    read: Any = getattr(documents, f"{kind}_from_json")
    with pytest.raises(DocumentError, match="in the store is damaged") as caught:
        read({**STORED[kind], key: value})
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(("kind", "key"), [("audit", "state"), ("seal", "streams"), ("token", "digest")])
def test_a_missing_key_is_one_clear_error(kind: str, key: str) -> None:
    read: Any = getattr(documents, f"{kind}_from_json")
    with pytest.raises(DocumentError, match="in the store is damaged"):
        read({name: value for name, value in STORED[kind].items() if name != key})
