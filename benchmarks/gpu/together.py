"""Runs several trainings at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from checks import Place
from recording import Recording, start

T = TypeVar("T")
TRAINING_S = 150.0


def at_once(place: Place, work: Sequence[Callable[[], T]]) -> list[T]:
    """Returns the results of all, in order; four run at a time with a GPU, else two. Raises the exception of the first that failed."""
    with ThreadPoolExecutor(4 if place.cuda else 2) as pool:
        return [future.result() for future in [pool.submit(one) for one in work]]


def recorded(
    place: Place,
    name: str,
    arguments: Sequence[str],
    *,
    level: str = "module",
    twin: int = 0,
    interventions: dict[str, str] | None = None,
    variables: dict[str, str] | None = None,
    fresh: bool = False,
) -> Recording:
    """Runs one training of trainings/ under the probe, in a folder of that name. Raises RuntimeError if it failed."""
    more = {"ACCEPTANCE_TWIN": str(twin), **(variables or {})}
    training = start(
        arguments, place.folder / name, level=level, interventions=interventions, variables=more, fresh=fresh
    )
    made = training.wait(min(TRAINING_S, place.seconds))
    if made.exit_code or made.seal is None:
        raise RuntimeError(f"{' '.join(arguments)} under the probe ended with {made.exit_code}: {made.errors[-600:]}")
    return made


def uninstrumented(
    place: Place, name: str, arguments: Sequence[str], *, twin: int = 0, variables: dict[str, str] | None = None
) -> str:
    """Returns the standard output of an uninstrumented run of the training. Raises RuntimeError if it failed."""
    more = {"ACCEPTANCE_TWIN": str(twin), **(variables or {})}
    training = start(arguments, place.folder / name, level=None, variables=more)
    code = training.ended(min(TRAINING_S, place.seconds))
    if code:
        errors = (training.folder / "err").read_text("utf-8", "replace")
        raise RuntimeError(f"{' '.join(arguments)} without the probe ended with {code}: {errors[-600:]}")
    return (training.folder / "out").read_text()
