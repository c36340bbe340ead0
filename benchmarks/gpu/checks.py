"""Defines checks and their answers. Imports only the standard library, so that `--list` needs no torch."""

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
    """detctl does not do what the check requires. `figures` go into the answer."""

    def __init__(self, why: str, figures: Figures | None = None) -> None:
        super().__init__(why)
        self.figures = dict(figures or {})


class NotApplicableError(Exception):
    """This machine lacks what the check needs; the text names it."""


@dataclass(frozen=True)
class Place:
    """What checks run on. device: `cuda:0` or `cpu`; folder: a folder on disk for their files; seconds: time for the whole part."""

    device: str
    folder: Path
    seconds: float

    @property
    def cuda(self) -> bool:
        return self.device.startswith("cuda")


@dataclass(frozen=True)
class Check:
    """One check. `name` is stable, because documentation refers to it. on_cpu: whether the check is useful without a GPU."""

    name: str
    run: Callable[[Place], Figures | None]
    on_cpu: bool = False


@dataclass(frozen=True)
class Part:
    """Checks that share a process and a time limit: `seconds` on a GPU, `cpu_seconds` on slow cores for the checks that run there."""

    name: str
    what: str
    seconds: float
    checks: tuple[Check, ...]
    cpu_seconds: float = 60.0


def expect(true: bool, why: str, figures: Figures | None = None) -> None:
    """Raises CheckFailedError with `why` if a condition does not hold."""
    if not true:
        raise CheckFailedError(why, figures)


@dataclass
class Answer:
    """How one check ended, as the JSON document holds it."""

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
