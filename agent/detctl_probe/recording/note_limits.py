"""Which notes are sent: equal ones once, and no more than a limit of each kind."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Set, Tuple

NOTES_BY_KIND_MAX = 100


class NoteLimits:
    """Remembers the notes of one process. Not thread-safe: the recorder holds its lock."""

    def __init__(self) -> None:
        self._seen: Set[Tuple[str, str, str, str]] = set()
        self._by_kind: Dict[str, int] = {}

    def admit(self, kind: str, text: str, fields: Mapping[str, Any]) -> bool:
        """Returns whether this note is to be sent, and counts it if so. Notes of one text at two places are two."""
        key = (kind, text, str(fields.get("file")), str(fields.get("line")))
        count = self._by_kind.get(kind, 0)
        if key in self._seen or count >= NOTES_BY_KIND_MAX:
            return False
        self._seen.add(key)
        self._by_kind[kind] = count + 1
        return True
