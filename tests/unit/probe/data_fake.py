"""A recorder in memory, for the data half of the probe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from detctl_probe.recording.costs import Costs
from detctl_probe.recording.coverage import Observer
from detctl_probe.settings import Settings


@dataclass
class FakeRecorder:
    """Keeps what it receives: (stage, site, fingerprint, occurrence, evidence)."""

    settings: Settings = field(default_factory=lambda: Settings(socket=""))
    role: str = "main"
    recording: bool = True
    busy: bool = False
    records: list[tuple[Any, ...]] = field(default_factory=list)
    notes: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    gaps: list[tuple[str, str, str]] = field(default_factory=list)
    interventions: dict[str, tuple[str, bool, str]] = field(default_factory=dict)
    observers: dict[str, Observer] = field(default_factory=dict)
    begun: int = 0
    costs: Costs = field(default_factory=Costs)
    keeps_evidence: bool = True

    def record(
        self, stage: str, site: str, value: Any, *, occurrence: Any = None, phase: Any = None, evidence: Any = None
    ) -> None:
        self.records.append((stage, site, value, occurrence, evidence))

    def note(self, kind: str, text: str, **fields: Any) -> None:
        self.notes.append((kind, text, fields))

    def unobserved(self, stage: str, what: str, why: str) -> None:
        self.gaps.append((stage, what, why))

    def intervention(self, name: str, value: str, acted: bool, detail: str) -> None:
        self.interventions[name] = (value, acted, detail)

    def observer(self, name: str, stage: str) -> Observer:
        return self.observers.setdefault(name, Observer(name, stage))

    def logical(self, path: str) -> str:
        return path.replace("/mnt/data", "{data}")

    def takes(self, stage: str) -> bool:
        return self.recording

    def begin(self) -> None:
        self.begun += 1

    def replay(self, seen: list[Any]) -> None:
        self.records.extend(seen)

    def drain(self) -> list[Any]:
        return []

    @contextmanager
    def working(self, stage: str = "") -> Iterator[None]:
        yield
