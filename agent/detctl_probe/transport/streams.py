"""One stream of a process: a stage in a phase, folded by step. The seal holds its row, which the reader must find too."""

from __future__ import annotations

from typing import Dict, Optional, Union

from detctl_probe.transport import chain as chains


class Stream:
    """steps: entries closed; count: records in them; chain: 16 bytes over them; fold: of the current step."""

    def __init__(self) -> None:
        self.steps = 0
        self.count = 0
        self.chain = chains.ZERO
        self.fold: Optional[chains.StepFold] = None

    def take(self, hash_: bytes) -> bool:
        """Adds a record's hash to the current step; returns whether it is the step's first."""
        first = self.fold is None
        if self.fold is None:
            self.fold = chains.StepFold()
        self.fold.take(hash_)
        return first

    def close(self, step: int) -> None:
        """The step has ended: its entry joins the chain, unless it had no record."""
        if self.fold is not None:
            self.chain = chains.chain(self.chain, step, self.fold.digest)
            self.steps += 1
            self.count += self.fold.count
            self.fold = None

    def total(self) -> Dict[str, Union[int, str]]:
        """The stream's row in the seal."""
        return {"steps": self.steps, "count": self.count, "chain": self.chain.hex()}
