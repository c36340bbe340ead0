"""PYTHONHASHSEED: whether string hashing can differ between two runs, and whether differing values could be hashes."""

from __future__ import annotations

from typing import Any

from detctl_coordinator.attribution.evidence.facts import value_at
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence
from detctl_coordinator.attribution.evidence.reordering import INTEGERS
from detctl_coordinator.domain.fingerprint import Stage


def hash_seed(manifest: dict[str, Any]) -> str | None:
    """Returns the variable's value; None: unset."""
    value = value_at(manifest, "variables", "PYTHONHASHSEED")
    return None if value is None else str(value)


def hash_seed_is_fixed(evidence: Evidence) -> bool:
    """Returns whether both runs fix the hash seed, to any value."""
    return all(hash_seed(s.manifest) not in (None, "", "random") for s in (evidence.left, evidence.right))


def integers_may_be_hashes(evidence: Evidence) -> bool:
    """Returns whether only integers differ in the data and the hash seed is not fixed. Then `hash(name) % n` explains them as
    well as a generator does."""
    if evidence.stage not in (Stage.SAMPLE, Stage.BATCH) or hash_seed_is_fixed(evidence):
        return False
    if evidence.source.known and not any(place.items == "hashed" for place in evidence.source.orders):
        return False  # nothing in the program depends on a hash
    dtypes = [d.left.dtype.removeprefix("torch.") for d in evidence.root.sites if d.left is not None]
    return bool(dtypes) and all(dtype.startswith(INTEGERS) for dtype in dtypes)
