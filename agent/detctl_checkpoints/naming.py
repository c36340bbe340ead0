"""Matches the names of two checkpoints: wrappers of a model, and the key that holds it in a file, do not count."""

from __future__ import annotations

from typing import Dict, Iterable, List, Optional, Set, Tuple

# DDP, torch.compile, FSDP and activation checkpointing put these before a name (docs/adr/0014).
WRAPPERS = frozenset(("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))
# Keys under which a file keeps the model beside other values.
HOLDERS = ("model", "state_dict", "model_state_dict", "model_state", "module", "net", "network", "weights")
# If a side has more top-level keys than this (layers without a holder), they are not tried: a holder would hold every weight.
HOLDERS_MAX = 12
SECTIONS = ("model", "optimizer", "schedule", "rng", "other")


def section_of(name: str, is_tensor: bool) -> str:
    """One of SECTIONS, by the top-level key; a tensor that belongs to no other section belongs to the model."""
    first = name.partition(".")[0].lower()
    if first == "opt" or "optim" in first:
        return "optimizer"
    if "sched" in first or "scaler" in first or first == "native_amp":
        return "schedule"
    if "rng" in first or "random" in first:
        return "rng"
    return "model" if is_tensor else "other"


def matched(a: Iterable[str], b: Iterable[str]) -> Tuple[Dict[str, str], Dict[str, str], List[str]]:
    """(names to compare by name, for each side; notes on what was removed from them). Nothing is removed if that matches no more names."""
    ours, theirs = list(a), list(b)
    best: Tuple[Dict[str, str], Dict[str, str]] = ({name: name for name in ours}, {name: name for name in theirs})
    notes: List[str] = []
    wrappers = _wrappers(ours + theirs)
    for unwrap in (False, True) if wrappers else (False,):
        for our_holder in [None] + _holders(ours, theirs):
            for their_holder in [None] + _holders(theirs, ours):
                tried = (_renamed(ours, our_holder, unwrap), _renamed(theirs, their_holder, unwrap))
                if _shared(tried) > _shared(best):
                    best, notes = tried, _notes((our_holder, their_holder), wrappers if unwrap else [])
    return best[0], best[1], notes


def _notes(holders: Tuple[Optional[str], Optional[str]], wrappers: List[str]) -> List[str]:
    left_out = sorted({repr(one + ".") for one in list(holders) + wrappers if one is not None})
    return ["names are compared without %s" % " and ".join(left_out)]


def _shared(sides: Tuple[Dict[str, str], Dict[str, str]]) -> int:
    return len(set(sides[0].values()) & set(sides[1].values()))


def _holders(side: List[str], others: List[str]) -> List[str]:
    """Top-level keys that may hold the model: the usual ones, and any key if the sides share no name."""
    found: Set[str] = {name.partition(".")[0] for name in side if "." in name}
    if set(side) & set(others):
        found &= set(HOLDERS)
    return sorted(found, key=lambda one: (one not in HOLDERS, one))[:HOLDERS_MAX]


def _renamed(names: List[str], holder: Optional[str], unwrap: bool) -> Dict[str, str]:
    """Name -> name without holder and wrappers; a name that would then be another's stays as it is."""
    found: Dict[str, str] = {}
    taken = set(names)
    for name in names:
        short = name
        if holder is not None and name.startswith(holder + "."):
            short = name[len(holder) + 1 :]
        if unwrap:
            parts = short.split(".")
            short = ".".join([part for part in parts[:-1] if part not in WRAPPERS] + parts[-1:])
        if short != name and short in taken:
            short = name
        taken.add(short)
        found[name] = short
    return found


def _wrappers(names: List[str]) -> List[str]:
    return sorted({part for name in names for part in name.split(".")[:-1]} & WRAPPERS)
