"""Checks that a deterministic training ends in the same weights at each level, and that racing kernels still race."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from checks import Check, Figures, Part, Place, expect
from together import at_once, recorded, uninstrumented

RACES = 6


@cache
def weights_without(place: Place) -> str:
    """Returns the weights of the uninstrumented deterministic training. It must repeat itself, or the checks prove nothing."""
    arguments = ["planted.py", "clean", place.device]
    first, second = at_once(place, [partial(uninstrumented, place, f"clean-{number}", arguments) for number in (0, 1)])
    expect(first == second, "the training without the probe does not repeat itself on this machine")
    return first


def at_level(level: str, place: Place) -> Figures:
    """Compares the final weights with the uninstrumented run's. At level module the run has its own Python, as users start it."""
    arguments = ["planted.py", "clean", place.device]
    run = recorded(place, f"clean-{level}", arguments, level=level, fresh=level == "module")
    expect(run.output == weights_without(place), f"other final weights under the probe at level {level}")
    return {"records": len(run.records)}


def racing(place: Place) -> Figures:
    """Counts the different endings of RACES runs, with and without the probe. The check fails only if the race stops."""
    arguments = ["planted.py", "index-add", place.device]

    def one(number: int, probed: bool) -> Any:
        name = f"race-{number}-{probed}"
        return recorded(place, name, arguments).output if probed else uninstrumented(place, name, arguments)

    runs = [partial(one, number, probed) for number in range(RACES) for probed in (False, True)]
    endings = at_once(place, runs)
    without, under = len(set(endings[::2])), len(set(endings[1::2]))
    figures = {"runs": RACES, "endings_without": without, "endings_under": under}
    expect((without > 1) == (under > 1), "the race shows on one side alone", figures)
    return figures


PART = Part(
    "neutrality",
    "final weights with the probe and without",
    seconds=60,
    cpu_seconds=150,
    checks=(
        *(Check(f"neutrality.{level}", partial(at_level, level), on_cpu=True) for level in ("step", "module", "op")),
        Check("neutrality.racing-kernels", racing),
    ),
)
