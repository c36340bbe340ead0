"""Stage order: the indices that a sampler chose for one batch, of any type (numbers, tuples, names, a tensor).

The fetch receives them, and the main process records them when it takes the batch. A sampler runs 1, 5 or 9 batches ahead with 0, 2 or 4
workers (docs/adr/0015).
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.digest.values import NoDigestError, fingerprint, gather

FIRST_MAX = 8


def order_fingerprint(indices: List[Any]) -> Optional[Fingerprint]:
    """A fingerprint with one row for each index; None without indices (an iterable dataset). Raises NoDigestError if one has no digest."""
    if all(item is None for item in indices):
        return None
    if all(isinstance(item, (bool, int, str)) for item in indices):
        return fingerprint(indices, rows=True)
    return gather([fingerprint(item) for item in indices])


def order_evidence(indices: List[Any]) -> Dict[str, Any]:
    """The first indices as evidence: numbers as they are, others as short text."""
    first = [item if isinstance(item, int) else str(item)[:32] for item in indices[:FIRST_MAX]]
    return {"first": first}


def as_list(index: Any) -> List[Any]:
    """The indices of a batch as a list of plain values; one alone (batch_size=None) is a list of one. Raises NoDigestError for a
    one-way iterator: reading it would use it up."""
    if isinstance(index, (list, range)):
        return [_plain(item) for item in index]
    if isinstance(index, tuple):
        # With batch_size=None a tuple is one index; a batch sampler that yields tuples reads the same as indices.
        return [_plain(item) for item in index]
    listed = getattr(index, "tolist", None)
    if listed is not None:
        plain = listed()
        return [_plain(item) for item in plain] if isinstance(plain, list) else [plain]
    if hasattr(index, "__next__"):
        raise NoDigestError("the sampler returned an iterator, which reading would use up")
    if isinstance(index, (set, frozenset, dict)):
        return [_plain(item) for item in index]
    return [index]


def _plain(item: Any) -> Any:
    """A number of numpy or torch as Python's: samplers differ in this, but datasets treat them alike."""
    if isinstance(item, (int, str, tuple, list)) or item is None:
        return item
    shape: Tuple[int, ...] = getattr(item, "shape", (1,))
    return item.item() if hasattr(item, "item") and len(shape) == 0 else item
