"""When the training imported torch and finished steps, in monotonic time of this host."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class TrainingTimes:
    """None: not seen. A run with several ranks has the times of the process that reported first."""

    import_began: float | None = None
    import_ended: float | None = None
    first_step_ended: float | None = None
    last_step_ended: float | None = None

    def imported(self, began: object, ended: object) -> None:
        """Notes what a process reported of its import of torch."""
        if self.import_ended is None and isinstance(began, float) and isinstance(ended, float) and began <= ended:
            self.import_began, self.import_ended = began, ended

    def step_ended(self, now: float) -> None:
        """Notes that a step has ended."""
        if self.first_step_ended is None:
            self.first_step_ended = now
        self.last_step_ended = now
