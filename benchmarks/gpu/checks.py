"""What a check is, and what it may answer. Imports the standard library alone, so that `--list` needs no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = "detctl.gpu-acceptance/v1"
PASSED, FAILED, NOT_APPLICABLE, TIMED_OUT, CRASHED = STATUSES = (
    "passed", "failed", "not-applicable", "timed-out", "crashed",
)  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]
SOURCES = tuple(str(ROOT / name) for name in ("proto", "agent", "coordinator"))

Figures = Mapping[str, Any]


class CheckFailedError(Exception):
    """The product does not do what the check asks; `figures` are kept."""

    def __init__(self, why: str, figures: Figures | None = None) -> None:
        super().__init__(why)
        self.figures = dict(figures or {})


class NotApplicableError(Exception):
    """This machine lacks what the check needs; the text says what."""


@dataclass(frozen=True)
class Place:
    """Where checks run. device: `cuda:0` or `cpu`; folder: theirs, on disk; seconds: for the whole part."""

    device: str
    folder: Path
    seconds: float

    @property
    def cuda(self) -> bool:
        return self.device.startswith("cuda")


@dataclass(frozen=True)
class Check:
    """`name` is stable: documentation refers to it. on_cpu: whether it says anything without a GPU."""

    name: str
    run: Callable[[Place], Figures | None]
    on_cpu: bool = False


@dataclass(frozen=True)
class Part:
    """Checks that share a process and a time limit. `seconds` on a GPU; `cpu_seconds`: on slow cores, for those that run there."""

    name: str
    what: str
    seconds: float
    checks: tuple[Check, ...]
    cpu_seconds: float = 60.0


def expect(true: bool, why: str, figures: Figures | None = None) -> None:
    """Raises CheckFailedError with `why` where a condition does not hold."""
    if not true:
        raise CheckFailedError(why, figures)


@dataclass
class Answer:
    """How one check ended, as it stands in the JSON document."""

    name: str
    part: str
    status: str
    why: str = ""
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name, "part": self.part, "status": self.status, "why": self.why,
            "seconds": round(self.seconds, 3), "figures": json.loads(json.dumps(self.figures, default=str)),
        }  # fmt: skip
