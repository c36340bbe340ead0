"""Batches of which it is not known yet whether the program takes them for training or for evaluation."""

from __future__ import annotations

from typing import Callable, List

UNDECIDED = ""  # the phase of a batch before the program has used it
UNDECIDED_MAX = 256


class UndecidedBatches:
    """Callbacks that wait for the phase of a batch, of one process."""

    def __init__(self) -> None:
        self._waiting: List[Callable[[str], None]] = []
        self._evaluated = False  # a model was called in evaluation since the last of them

    @property
    def undecided(self) -> bool:
        """Whether a batch waits."""
        return bool(self._waiting)

    def when_decided(self, callback: Callable[[str], None]) -> None:
        """callback(phase) runs when it is known whether the batch that was taken now is for training or for evaluation."""
        if len(self._waiting) >= UNDECIDED_MAX:
            self.decide()
        self._waiting.append(callback)

    def batch_taken(self) -> None:
        """The next batch is taken: those before it were for evaluation if a model was called in evaluation since."""
        if self._evaluated:
            self.decide()

    def called_in(self, phase: str) -> None:
        """A model is called, or backward runs. A call in evaluation may also be a teacher's in a step of the training, so it decides
        about a batch only when the next is taken."""
        if phase == "train":
            self._evaluated = False
            self.decide()
        elif self._waiting:
            self._evaluated = True

    def decide(self) -> None:
        """The batches that wait belong to what the program did since."""
        waiting, self._waiting = self._waiting, []
        phase, self._evaluated = "eval" if self._evaluated else "train", False
        for callback in waiting:
            callback(phase)
