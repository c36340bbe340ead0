"""Marks the threads that are inside the probe, so that observers do not watch what the probe itself does."""

from __future__ import annotations

import threading

from detctl_probe.recording.costs import Costs


class Depth(threading.local):
    """How many `Working` blocks the current thread is in."""

    count = 0


class Working:
    """A `with` block in which this thread works for the probe; its time counts as the probe's cost of a stage. Blocks nest."""

    __slots__ = ("_costs", "_depth", "_outer", "_stage")

    def __init__(self, depth: Depth, costs: Costs, stage: str) -> None:
        self._depth = depth
        self._costs = costs
        self._stage = stage

    def __enter__(self) -> None:
        self._depth.count += 1
        self._outer = self._costs.enter(self._stage)

    def __exit__(self, *_: object) -> None:
        self._depth.count -= 1
        self._costs.leave(self._outer)
