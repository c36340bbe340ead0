"""One finding of `detctl doctor`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["warn", "info", "ok"]
_ORDER: dict[str, int] = {"warn": 0, "info": 1, "ok": 2}


@dataclass(frozen=True)
class Finding:
    """One finding. level: warn may change a result, info is worth knowing, ok was checked. file, line: its place in a source, if any."""

    level: Level
    rule: str
    what: str
    why: str = ""
    fix: str = ""
    file: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        """Returns `train.py:31`, or an empty text."""
        return f"{self.file}:{self.line}" if self.file and self.line else self.file

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values. file and line are null if there is no source."""
        return {**asdict(self), "file": self.file or None, "line": self.line or None}


def in_order(findings: list[Finding]) -> list[Finding]:
    """Returns the findings with warnings first, and within a level in the order of the source."""
    return sorted(findings, key=lambda finding: (_ORDER[finding.level], finding.file, finding.line))
