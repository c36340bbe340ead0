"""A deterministic training ends in the same weights at each level; one with racing kernels disagrees no more and no less."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from checks import Check, Figures, Part, Place, expect
from together import at_once, bare, recorded

RACES = 6


@cache
def weights_without(place: Place) -> str:
    """Of the deterministic training, twice: it must repeat itself for the checks to say anything."""
    words = ["planted.py", "clean", place.device]
    first, second = at_once(place, [partial(bare, place, f"clean-{number}", words) for number in (0, 1)])
    expect(first == second, "the training without the probe does not repeat itself on this machine")
    return first


def at_level(level: str, place: Place) -> Figures:
    """Final weights against the bare training's; at level module in a Python of its own, as users start it."""
    words = ["planted.py", "clean", place.device]
    run = recorded(place, f"clean-{level}", words, level=level, fresh=level == "module")
    expect(run.output == weights_without(place), f"other final weights under the probe at level {level}")
    return {"records": len(run.records)}


def racing(place: Place) -> Figures:
    """How many different endings RACES runs have, without the probe and with it. Only a race that stops is a failure."""
    words = ["planted.py", "index-add", place.device]

    def one(number: int, probed: bool) -> Any:
        name = f"race-{number}-{probed}"
        return recorded(place, name, words).output if probed else bare(place, name, words)

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
