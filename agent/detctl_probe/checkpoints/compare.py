"""Leaf by leaf, in the order of the first checkpoint.

    {"schema": "detctl.checkpoints/v1", "outcome": "identical" | "different" | "unverified",
     "a": {"path", "format", "leaves"}, "b": {...}, "compared": {"tensors": 62, "values": 8},
     "differing": [{"name", "kind", "dtype", "shape", "elements", "differing", "relative", "max_abs", "max_ulp"}],
     "values": [{"name", "a", "b"}], "only_a": [...], "only_b": [...],
     "unread": [{"name", "why"}], "notes": [...]}

unread: what could not be read on a side; such a comparison is never identical.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from detctl_probe.checkpoints.content import Checkpoint, Leaf, Unread
from detctl_probe.checkpoints.difference import is_tensor, plain_equal, tensor_difference

SCHEMA = "detctl.checkpoints/v1"
TEXT_MAX = 200
Progress = Callable[[int, int], None]


def compare(a: Checkpoint, b: Checkpoint, progress: Progress = lambda done, of: None) -> Dict[str, Any]:
    """The document above."""
    notes = ["%s: %s" % (side.path, note) for side in (a, b) for note in side.notes]
    if a.format != b.format:
        notes.append("saved in different formats (%s, %s): compared by content" % (a.format, b.format))
    prefixes = _prefixes(a.leaves, b.leaves)
    if prefixes is not None:
        notes.append("names compared without %s" % " and ".join(repr(one) for one in prefixes if one))
    ours, theirs = _named(a, prefixes and prefixes[0]), _named(b, prefixes and prefixes[1])
    differing: List[Dict[str, Any]] = []
    values: List[Dict[str, Any]] = []
    unread: List[Dict[str, Any]] = []
    kinds = [0, 0]
    both = [name for name in ours if name in theirs]
    for done, name in enumerate(both):
        progress(done, len(both))
        left, right = _read(ours[name]), _read(theirs[name])
        lost = next((one.why for one in (left, right) if isinstance(one, Unread)), None)
        if lost is not None:
            unread.append({"name": name, "why": lost})
        elif is_tensor(left) and is_tensor(right):
            kinds[0] += 1
            try:
                found = tensor_difference(left, right)
            except (RuntimeError, NotImplementedError, KeyError) as error:
                unread.append({"name": name, "why": "cannot be compared: %s" % str(error).splitlines()[0]})
                continue
            if found is not None:
                differing.append({"name": name, **found})
        else:
            kinds[1] += 1
            if is_tensor(left) or is_tensor(right) or not plain_equal(left, right):
                values.append({"name": name, "a": _word(left), "b": _word(right)})
    only_a, only_b = [n for n in ours if n not in theirs], [n for n in theirs if n not in ours]
    different = bool(differing or values or only_a or only_b)
    outcome = "different" if different else "unverified" if unread else "identical"
    return {
        "schema": SCHEMA,
        "outcome": outcome,
        "a": {"path": a.path, "format": a.format, "leaves": len(a.leaves)},
        "b": {"path": b.path, "format": b.format, "leaves": len(b.leaves)},
        "compared": {"tensors": kinds[0], "values": kinds[1]},
        "differing": differing,
        "values": values,
        "only_a": only_a,
        "only_b": only_b,
        "unread": unread,
        "notes": notes,
    }


def _read(read: Callable[[], Leaf]) -> Leaf:
    try:
        return read()
    except (RuntimeError, ValueError, OSError) as error:
        return Unread(str(error).splitlines()[0] if str(error) else type(error).__name__)


def _named(side: Checkpoint, prefix: Optional[str]) -> Dict[str, Callable[[], Leaf]]:
    """Leaves, those below the prefix without it; the others (an optimizer's) keep their names and have no counterpart."""
    if not prefix:
        return side.leaves
    return {name[len(prefix) :] if name.startswith(prefix) else name: read for name, read in side.leaves.items()}


def _prefixes(a: Iterable[str], b: Iterable[str]) -> Optional[Tuple[str, str]]:
    """("model.", "") where the first side keeps under a name what the second has by itself; None: names fit, or do not at all."""
    ours, theirs = set(a), set(b)
    if ours & theirs:
        return None
    best: Tuple[int, Tuple[str, str]] = (0, ("", ""))
    for flip, (whole, bare) in enumerate(((ours, theirs), (theirs, ours))):
        for prefix in {name.split(".")[0] + "." for name in whole if "." in name}:
            shared = len({name[len(prefix) :] for name in whole if name.startswith(prefix)} & bare)
            if shared > best[0]:
                best = (shared, ("", prefix) if flip else (prefix, ""))
    return best[1] if best[0] else None


def _word(value: Any) -> str:
    if is_tensor(value):
        return "a tensor of shape %s" % list(value.shape)
    text = repr(value)
    return text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + "…"
