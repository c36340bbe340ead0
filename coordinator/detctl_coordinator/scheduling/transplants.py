"""What a run kept for a transplant, read back from its records (detctl_probe/intervene/keep.py), and who may have it."""

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
class Part:
    """A part of the bytes of one tensor."""

    site: str
    dtype: str
    shape: tuple[int, ...]
    content: bytes


def may_take(audits: Iterable[Audit], machine: str, run_id: str) -> bool:
    """Whether an audit under way tells this machine to take from this run of its own. machine empty: a caller that names none."""
    for audit in audits:
        if run_id not in audit.runs:
            continue
        for run in audit.runs.values():
            mine = not machine or run.spec.arm.machine == machine
            source = run.spec.interventions.get("transplant", "").partition(":")[2]
            if mine and source == run_id and not run.state.over:
                return True
    return False


def parts_of(run: StoredRun) -> Iterator[Part]:
    """In the order in which they were kept, of rank 0. Raises StoreError, DamagedError."""
    key = StreamKey(0, Stage.INIT, Phase.TRAIN)
    entries = run.entries(key, 0, run.streams().get(key, 0))
    for record in (record for entry in entries for record in run.records(key, entry.step)):
        if not record.site.startswith(SITE):
            continue
        told = record.evidence
        try:
            content = base64.b64decode(str(told["content"]), validate=True)
            shape = tuple(int(size) for size in told["shape"])
            yield Part(record.site.removeprefix(SITE).rpartition("#")[0], str(told["dtype"]), shape, content)
        except (KeyError, TypeError, ValueError, binascii.Error):
            return  # what follows cannot be trusted either; the machine tells how many tensors it was given


def kept_by(store: Store, run_id: str) -> list[Part]:
    """All parts that a run kept. Raises StoreError, DamagedError."""
    return list(parts_of(StoredRun(store, run_id)))
