"""Labels of runs: `gpu1/default/workers=0/twin-2`. Agent, coordinator and command line write and read them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

DEFAULT_ENVIRONMENT = "default"
BASE = "base"  # the variation of a run in which nothing was varied


class RunLabel(NamedTuple):
    """The four parts of a label; `kind` is twin, zoom or experiment."""

    machine: str
    environment: str
    variation: str
    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.machine}/{self.environment}/{self.variation}/{self.kind}-{self.number}"


def variation_text(varied: Iterable[tuple[str, str]]) -> str:
    """`lr=0.1,workers=0` of (name, value) pairs, `base` of none."""
    return ",".join(f"{name}={value}" for name, value in varied) or BASE


def parse_label(text: str) -> RunLabel | None:
    """The parts of a label; None for a text of another form. A value of the variation may hold slashes."""
    machine, _, rest = text.partition("/")
    environment, _, rest = rest.partition("/")
    variation, _, last = rest.rpartition("/")
    kind, _, number = last.rpartition("-")
    if (
        not (machine and environment and variation and kind and number.isascii() and number.isdecimal())
        or len(number) > 9
    ):
        return None
    return RunLabel(machine, environment, variation, kind, int(number))
