"""The settings of an optimizer's parameter groups: what they are, and which line of the user's code wrote each of them last."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from detctl_probe.digest.fingerprint import Fingerprint

DTYPE = "py:settings"
GROUPS_MAX = 64
LINES_MAX = 4  # lines that may have written a setting
_PLAIN = (bool, int, float)
_KINDS = frozenset((bool, int, float, str, type(None)))

Values = Tuple[Tuple[Tuple[str, Any], ...], ...]
Place = Mapping[str, Any]


def values_of(groups: Sequence[Mapping[str, Any]]) -> Values:
    """The plain settings of each group, in the group's order; tensors and parameters are left out."""
    kinds = _KINDS
    return tuple(
        tuple(
            (key, value)
            for key, value in group.items()
            if type(value) in kinds or (type(value) in (tuple, list) and key != "params" and _is_plain(value))
        )
        for group in groups
    )


def _is_plain(value: Sequence[Any]) -> bool:
    return len(value) <= 8 and all(isinstance(item, _PLAIN) for item in value)


def fingerprint(values: Values) -> Fingerprint:
    """The fingerprint of all settings, whatever the order of their keys."""
    text = repr([sorted((key, _comparable(value)) for key, value in group) for group in values])
    return Fingerprint(blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest(), DTYPE, (len(values),))


def _comparable(value: Any) -> str:
    return repr(list(value)) if isinstance(value, (tuple, list)) else repr(value)


def options(values: Values) -> List[Dict[str, Any]]:
    """The settings of the first groups, for the evidence of a record."""
    return [
        {key: list(value) if isinstance(value, tuple) else value for key, value in group}
        for group in values[:GROUPS_MAX]
    ]


def changed(before: Values, after: Values) -> List[Tuple[int, str]]:
    """(group, setting) of each setting that has another value than before, or that is new."""
    found: List[Tuple[int, str]] = []
    for g, group in enumerate(after):
        known = dict(before[g]) if g < len(before) else {}
        found += [(g, key) for key, value in group if key not in known or known[key] != value]
    return found


class Writers:
    """Who wrote the settings of one optimizer last.

    by: `constructor`, `load_state_dict`, `scheduler` or `assignment`. An assignment has `lines`: the lines of the user's code that set an
    item of this name; only if there is one, it is certain.
    """

    def __init__(self) -> None:
        self._found: Dict[Tuple[int, str], Dict[str, Any]] = {}
        self._new: Set[Tuple[int, str]] = set()  # written since the last report of all

    def wrote(self, group: int, key: str, by: str, place: Optional[Place], **more: Any) -> None:
        """Remembers the writer of a setting."""
        self._found[(group, key)] = {"by": by, **(place or {}), **more}
        self._new.add((group, key))

    def report(self, whole: bool) -> List[Dict[str, Any]]:
        """Each writer with what it wrote: {"by": …, "file": …, "line": …, "settings": ["group0.lr", …]}; of all settings, or of those that
        were written since the last report of all."""
        found: Dict[str, Dict[str, Any]] = {}
        for group, key in list(self._found) if whole else sorted(self._new):
            if group < GROUPS_MAX:
                writer = self._found[(group, key)]
                row = found.setdefault(repr(writer), {**writer, "settings": []})
                row["settings"].append("group%d.%s" % (group, key))
        if whole:
            self._new.clear()
        return list(found.values())
