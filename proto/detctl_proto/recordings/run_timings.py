"""Where the time of a run went: RunTimings of the contract, run.json and `audit --timings`. Standard library alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class RunTimings:
    """Seconds by part, as agents.proto describes them; 0: the run has no such part, or its agent cannot see it."""

    preparing: float = 0.0
    manifest: float = 0.0
    known_answers: float = 0.0
    starting: float = 0.0
    importing: float = 0.0
    building: float = 0.0
    training: float = 0.0
    ending: float = 0.0
    sending: float = 0.0

    @property
    def total(self) -> float:
        """The seconds of all parts."""
        return sum(seconds for _, seconds in self.parts())

    def parts(self) -> Iterator[tuple[str, float]]:
        """Yields (part, seconds) in order of time."""
        for part in fields(self):
            yield part.name, getattr(self, part.name)

    @classmethod
    def of(cls, found: object) -> RunTimings:
        """Returns the timings of an object with the same attributes, such as a message. A value that is not a duration becomes 0."""
        return cls(**{part.name: _duration(getattr(found, part.name, 0.0)) for part in fields(cls)})


def _duration(value: object) -> float:
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        return 0.0
    return round(float(value), 4)
