"""Reads the tensors that a run kept for a transplant from its records (detctl_probe/intervene/keep.py), and decides who may have them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.domain.fingerprint import Phase, Stage, StreamKey
from detctl_coordinator.storage.reading.reader import StoredRun
from detctl_coordinator.storage.store import Store

SITE = "kept/"


@dataclass(frozen=True)
class TensorPart:
    """Some of the bytes of one tensor."""

    site: str
    dtype: str
    shape: tuple[int, ...]
    content: bytes


def may_take(audits: Iterable[Audit], machine: str, run_id: str) -> bool:
    """Returns whether a running audit instructs this machine to take tensors from this run. machine: "" for a caller that names none."""
    for audit in audits:
        if run_id not in audit.runs:
            continue
        for run in audit.runs.values():
            mine = not machine or run.spec.arm.machine == machine
            source = run.spec.interventions.get("transplant", "").partition(":")[2]
            if mine and source == run_id and not run.state.over:
                return True
    return False


def tensor_parts(run: StoredRun) -> Iterator[TensorPart]:
    """Yields the tensors of rank 0 in the order in which they were kept. Raises StoreError, DamagedError."""
    key = StreamKey(0, Stage.INIT, Phase.TRAIN)
    entries = run.entries(key, 0, run.streams().get(key, 0))
    for record in (record for entry in entries for record in run.records(key, entry.step)):
        if not record.site.startswith(SITE):
            continue
        kept = record.evidence
        try:
            content = base64.b64decode(str(kept["content"]), validate=True)
            shape = tuple(int(size) for size in kept["shape"])
            yield TensorPart(record.site.removeprefix(SITE).rpartition("#")[0], str(kept["dtype"]), shape, content)
        except (KeyError, TypeError, ValueError, binascii.Error):
            return  # later records cannot be trusted either; the machine reports how many tensors it received


def kept_tensors(store: Store, run_id: str) -> list[TensorPart]:
    """Returns all tensors that a run kept. Raises StoreError, DamagedError."""
    return list(tensor_parts(StoredRun(store, run_id)))
