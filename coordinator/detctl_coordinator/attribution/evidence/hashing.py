"""PYTHONHASHSEED: whether hashing can have differed between two runs, and whether what differs could be hashes."""

from __future__ import annotations

from typing import Any

from detctl_coordinator.attribution.evidence.evidence import Evidence
from detctl_coordinator.attribution.evidence.facts import value_at
from detctl_coordinator.attribution.evidence.moved import COUNTED
from detctl_coordinator.domain.fingerprint import Stage


def hash_seed(manifest: dict[str, Any]) -> str | None:
    """The variable's value; None where it is unset."""
    value = value_at(manifest, "variables", "PYTHONHASHSEED")
    return None if value is None else str(value)


def pinned(evidence: Evidence) -> bool:
    """Fixed in both runs (to whatever value)."""
    return all(hash_seed(s.manifest) not in (None, "", "random") for s in (evidence.left, evidence.right))


def counts_may_be_hashes(evidence: Evidence) -> bool:
    """Only whole numbers differ in the data and hashing was not fixed: `hash(word) % n` looks just like a private generator."""
    if evidence.stage not in (Stage.SAMPLE, Stage.BATCH) or pinned(evidence):
        return False
    dtypes = [d.left.dtype.removeprefix("torch.") for d in evidence.root.sites if d.left is not None]
    return bool(dtypes) and all(dtype.startswith(COUNTED) for dtype in dtypes)
