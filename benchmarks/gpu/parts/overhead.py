"""Measures the whole step's time of one training, observed in several ways, beside an uninstrumented run: medians and quartiles.

All sides of a model are processes that live at the same time. They take turns, in another order in each round.
"""

from __future__ import annotations

import contextlib
import json
import random
import select
import statistics
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from checks import Check, Figures, NotApplicableError, Part, Place, expect
from recording import Training, start

SIDES = ("bare", "step", "module", "op", "debugmode", "md5")
SLOW = ("op", "debugmode", "md5")  # one step per block is enough for sides that take several times as long
STEPS, CPU_STEPS = 12, 1
ROUNDS_MAX = 15
SIDE_BYTES = 12 << 30  # device memory of the GPT with AdamW in float32
FIRST_SHARE_MAX = 0.15  # share of the part's time that one step of a slow side may take
PARAMETERS_MIN = {"resnet50": 25_000_000, "gpt": 300_000_000}


class Side:
    """One training process that follows orders."""

    def __init__(self, training: Training, name: str, steps: int) -> None:
        self.training = training
        self.name = name
        self.steps = steps
        self.seconds: dict[int, float] = {}  # seconds of a step, by round
        self.peak_bytes = 0
        self.parameters: int = self._read()["parameters"]

    def run(self, number: int | None, seconds: float | None = None) -> bool:
        """Runs a block of steps and counts it for the round. Returns False if it is not done in time, which ends the side."""
        stdin, stdout = self.training.process.stdin, self.training.process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(f"{self.steps}\n")
        stdin.flush()
        if not select.select([stdout], [], [], seconds)[0]:
            self.training.process.kill()
            return False
        answer = self._read()
        if number is not None:
            self.seconds[number] = answer["seconds"] / self.steps
        self.peak_bytes = answer["peak_bytes"]
        return True

    def _read(self) -> Any:
        assert self.training.process.stdout is not None
        line = self.training.process.stdout.readline()
        if not line:
            errors = (self.training.folder / "err").read_text("utf-8", "replace")
            raise RuntimeError(f"the training died: {errors[-600:]}")
        return json.loads(line)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Returns (lower quartile, median, upper quartile)."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def sides_that_fit(place: Place) -> tuple[str, ...]:
    """Returns all of SIDES, or as many of the first ones as the device's memory holds at the same time."""
    if not place.cuda:
        return SIDES
    import torch

    count = int(torch.cuda.mem_get_info()[0] / SIDE_BYTES)
    if count < 2:
        raise NotApplicableError(f"two trainings need {2 * SIDE_BYTES >> 30} GB of free device memory")
    return SIDES[:count]


def measured(model: str, place: Place) -> Figures:
    """Runs rounds until half of the part's time is used, at least two. Overhead is a side's time / that of `bare` in the round, less 1."""
    end = time.monotonic() + place.seconds * (0.4 if place.cuda else 0.1)
    size = "full" if place.cuda else "small"
    trainings: list[Training] = []
    too_slow: dict[str, str] = {}
    try:
        names = sides_that_fit(place)
        for side in names:
            level = side if side in ("step", "module", "op") else None
            arguments = ["timed.py", model, side, place.device, size]
            trainings.append(start(arguments, place.folder / f"{model}-{side}", level=level, pipes=True))
        steps = STEPS if place.cuda else CPU_STEPS
        sides = [Side(one, name, 1 if name in SLOW else steps) for one, name in zip(trainings, names, strict=True)]
        for side in list(sides):  # this compiles, and fills caches
            if not side.run(None, place.seconds * FIRST_SHARE_MAX if side.name in SLOW else None):
                too_slow[side.name] = f"more than {place.seconds * FIRST_SHARE_MAX:.0f} s a step"
                sides.remove(side)
        for number in range(ROUNDS_MAX):
            if number >= 2 and time.monotonic() > end:
                break
            order = [side for side in sides if number < 2 or side.name not in SLOW]
            random.Random(number).shuffle(order)
            for side in order:
                side.run(number)
    finally:
        for training in trainings:
            if training.process.stdin is not None and not training.process.stdin.closed:
                with contextlib.suppress(BrokenPipeError):
                    training.process.stdin.close()
        for training in trainings:
            training.ended(60)
    base = sides[0].seconds
    figures: dict[str, Any] = {"parameters": sides[0].parameters, "rounds": len(base), "bare_ms": _ms(base.values())}
    for side in sides[1:]:
        low, middle, high = quartiles([seconds / base[number] - 1 for number, seconds in side.seconds.items()])
        figures[side.name] = f"{middle:+.1%} ({low:+.1%} to {high:+.1%})"
        figures[f"{side.name}_ms"] = _ms(side.seconds.values())
        figures[f"{side.name}_more_mb"] = round((side.peak_bytes - sides[0].peak_bytes) / 2**20, 1)
    if place.cuda:
        expect(sides[0].parameters >= PARAMETERS_MIN[model], f"only {sides[0].parameters} parameters", figures)
    return {**figures, **too_slow}


def _ms(seconds: Iterable[float]) -> list[float]:
    return [round(1000 * value, 2) for value in quartiles(list(seconds))]


PART = Part(
    "overhead",
    "step time at each level beside an uninstrumented run, DebugMode and md5",
    seconds=150,
    cpu_seconds=240,
    checks=tuple(Check(f"overhead.{model}", partial(measured, model), on_cpu=True) for model in ("resnet50", "gpt")),
)
