"""One thing that doctor has to say."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["warn", "info", "ok"]
_ORDER: dict[str, int] = {"warn": 0, "info": 1, "ok": 2}


@dataclass(frozen=True)
class Finding:
    """level: warn changes or may change a result; info is worth knowing; ok was checked. file and line where there is a source."""

    level: Level
    rule: str
    what: str
    why: str = ""
    fix: str = ""
    file: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        """`train.py:31`, or empty."""
        return f"{self.file}:{self.line}" if self.file and self.line else self.file

    def to_dict(self) -> dict[str, Any]:
        """JSON values; file and line are null where there is none."""
        return {**asdict(self), "file": self.file or None, "line": self.line or None}


def in_order(findings: list[Finding]) -> list[Finding]:
    """Warnings first; in the order of the source below."""
    return sorted(findings, key=lambda finding: (_ORDER[finding.level], finding.file, finding.line))
