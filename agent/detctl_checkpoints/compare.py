"""Compares two checkpoints leaf by leaf, in the order of the first. The document:

    {"schema": "detctl.checkpoints/v1", "outcome": "identical" | "different" | "unverified", "scheme": "n6.v1",
     "a": {"path", "format", "leaves"}, "b": {...}, "compared": {"tensors": 62, "values": 8},
     "sections": [{"section": "model", "tensors": 62, "differing": 2, "values": 0, "other_values": 0}],
     "differing": [{"name", "section", "kind", "dtype", "shape", "elements", "differing", "relative", "max_abs", "max_ulp", "digests"}],
     "values": [{"name", "section", "a", "b"}], "only_a": [...], "only_b": [...],
     "unread": [{"name", "why"}], "notes": [...]}

unread: what could not be read on a side; such a comparison is never identical.
"""

from __future__ import annotations

import functools
from typing import Any, Callable, Dict, List, Optional, Tuple

from detctl_probe.digest import n6

from detctl_checkpoints.content import Checkpoint, Leaf, Unread
from detctl_checkpoints.difference import is_tensor, plain_equal, tensor_difference
from detctl_checkpoints.folder import file_may_hold
from detctl_checkpoints.naming import SECTIONS, matched, section_of

SCHEMA = "detctl.checkpoints/v1"
TEXT_MAX = 200
Progress = Callable[[int, int], None]
Leaves = Dict[str, Callable[[], Leaf]]
_PROBLEMS = (RuntimeError, NotImplementedError, ValueError, TypeError, LookupError, OSError, MemoryError)


def compare(a: Checkpoint, b: Checkpoint, progress: Progress = lambda done, of: None) -> Dict[str, Any]:
    """Returns the document above."""
    notes = ["%s: %s" % (side.path, note) for side in (a, b) for note in side.notes]
    if a.format != b.format:
        notes.append("the two are saved in different formats (%s, %s) and compared by content" % (a.format, b.format))
    our_names, their_names, left_out = matched(a.leaves, b.leaves)
    notes += left_out
    ours: Leaves = {our_names[name]: read for name, read in a.leaves.items()}
    theirs: Leaves = {their_names[name]: read for name, read in b.leaves.items()}
    both = [name for name in ours if name in theirs]
    differing: List[Dict[str, Any]] = []
    values: List[Dict[str, Any]] = []
    unread: List[Dict[str, Any]] = []
    sections: Dict[str, Dict[str, Any]] = {
        name: {"section": name, "tensors": 0, "differing": 0, "values": 0, "other_values": 0} for name in SECTIONS
    }
    for done, name in enumerate(both):
        progress(done, len(both))
        left, right = _read(ours[name]), _read(theirs[name])
        why = _lost(left, right)
        if why is not None:
            if why:
                unread.append({"name": name, "why": why})
            else:
                notes.append("%s could not be read, and is the same byte for byte" % name.strip("()"))
            continue
        tensors = is_tensor(left) and is_tensor(right)
        section = section_of(name, tensors)
        counts = sections[section]
        counts["tensors" if tensors else "values"] += 1
        try:
            found = tensor_difference(left, right) if tensors else _value_difference(left, right)
        except _PROBLEMS as error:
            unread.append({"name": name, "why": "cannot be compared: %s" % _first_line(error)})
            continue
        if found is None:
            continue
        counts["differing" if tensors else "other_values"] += 1
        if tensors:
            differing.append({"name": name, "section": section, **found, "digests": [_digest(left), _digest(right)]})
        else:
            values.append({"name": name, "section": section, **found})
    only_a, lost_a = _alone(ours, theirs)
    only_b, lost_b = _alone(theirs, ours)
    unread += lost_a + lost_b
    for only, side, other in ((only_a, ours, b), (only_b, theirs, a)):
        if only and other.format == "safetensors":
            notes += _tied(only, side, set(both))
    different = bool(differing or values or only_a or only_b)
    return {
        "schema": SCHEMA,
        "outcome": "different" if different else "unverified" if unread else "identical",
        "scheme": n6.SCHEME,
        "a": {"path": a.path, "format": a.format, "leaves": len(a.leaves)},
        "b": {"path": b.path, "format": b.format, "leaves": len(b.leaves)},
        "compared": {key: sum(int(one[key]) for one in sections.values()) for key in ("tensors", "values")},
        "sections": [one for one in sections.values() if one["tensors"] or one["values"]],
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
    except _PROBLEMS as error:
        return Unread(_first_line(error))


def _lost(left: Leaf, right: Leaf) -> Optional[str]:
    """Why the two cannot be compared; "" if they need not be; None if they can."""
    lost = [one for one in (left, right) if isinstance(one, Unread)]
    if not lost:
        return None
    digests = {one.file_digest for one in lost}
    if len(lost) == 2 and len(digests) == 1 and digests != {""}:
        return ""
    return lost[0].why


def _alone(side: Leaves, other: Leaves) -> Tuple[List[str], List[Dict[str, Any]]]:
    """(names that the other side lacks, names that it may lack). The latter are unread here, or may lie in a file that could not be read
    there."""
    files = [name[1:-1] for name in other if name.startswith("(") and isinstance(_read(other[name]), Unread)]
    only: List[str] = []
    unread: List[Dict[str, Any]] = []
    for name, read in side.items():
        if name in other:
            continue
        there = next((file for file in files if file_may_hold(file, name)), None)
        if isinstance(read, functools.partial) and read.func is Unread:
            unread.append({"name": name, "why": _read(read).why})
        elif there is not None:
            unread.append({"name": name, "why": "the other side's %s could not be read" % there})
        else:
            only.append(name)
    return only, unread


def _tied(only: List[str], side: Leaves, both: "set[str]") -> List[str]:
    """Removes from `only` the names that share their memory with a name of both sides: safetensors stores such a tensor once."""
    places = {}
    for name in both:
        tensor: Any = _read(side[name])
        if is_tensor(tensor) and tensor.numel():
            places[_place(tensor)] = name
    notes = []
    for name in list(only):
        tensor = _read(side[name])
        twin = places.get(_place(tensor)) if is_tensor(tensor) and tensor.numel() else None
        if twin is not None:
            only.remove(name)
            notes.append("%s is %s under a second name, which safetensors stores once" % (name, twin))
    return notes


def _place(tensor: Any) -> Tuple[Any, ...]:
    try:
        return tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype
    except RuntimeError:
        return ()


def _value_difference(left: Leaf, right: Leaf) -> Optional[Dict[str, Any]]:
    if not is_tensor(left) and not is_tensor(right) and plain_equal(left, right):
        return None
    return {"a": _word(left), "b": _word(right)}


def _digest(tensor: Any) -> Optional[str]:
    """The n6.v1 digest in hexadecimal; None if the layout has none."""
    try:
        return n6.digest_tensor(tensor.detach()).hex()
    except _PROBLEMS:
        return None


def _word(value: Any) -> str:
    if is_tensor(value):
        return "a tensor of shape %s" % list(value.shape)
    text = repr(value)
    return text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + "…"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:TEXT_MAX] or type(error).__name__
