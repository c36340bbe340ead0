"""What this process observes and what it does not: observers, parts that nobody watches, interventions. For the seal."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

UNOBSERVED_MAX = 1000


class Observer:
    """One row of the seal's `observers`."""

    def __init__(self, name: str, stage: str) -> None:
        self.name = name
        self.stage = stage
        self.installed = False
        self.fired = 0
        self.failed: Optional[str] = None


class Coverage:
    """Grows while the process runs. observers: by name."""

    def __init__(self) -> None:
        self.observers: Dict[str, Observer] = {}
        self._unobserved: Dict[Tuple[str, str], Dict[str, str]] = {}
        self._interventions: Dict[str, Dict[str, Any]] = {}

    def observer(self, name: str, stage: str) -> Observer:
        """Returns the row of an observer; the caller marks it installed, fired or failed."""
        return self.observers.setdefault(name, Observer(name, stage))

    def unobserved(self, stage: str, what: str, why: str) -> None:
        """Notes that nobody watches a part of a stage. The first reason stands."""
        if len(self._unobserved) < UNOBSERVED_MAX:
            self._unobserved.setdefault((stage, what), {"stage": stage, "what": what, "why": why})

    def intervention(self, name: str, value: str, acted: bool, detail: str, **facts: Any) -> None:
        """Notes what an intervention did. The last call for a name stands. detail: for people; facts: what later code decides on."""
        self._interventions[name] = {"name": name, "value": value, "acted": acted, "detail": detail, **facts}

    def forget_fired(self) -> None:
        """A forked child has observed nothing yet; its observers stay installed."""
        for row in self.observers.values():
            row.fired = 0

    def report(self) -> Dict[str, Any]:
        """The seal's keys `observers`, `unobserved` and `interventions`."""
        return {
            "observers": {
                row.name: {"stage": row.stage, "installed": row.installed, "fired": row.fired, "failed": row.failed}
                for row in self.observers.values()
            },
            "unobserved": list(self._unobserved.values()),
            "interventions": list(self._interventions.values()),
        }
