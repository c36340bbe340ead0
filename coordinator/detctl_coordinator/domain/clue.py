"""A clue: one fact in the evidence of a cause. It is not a pydantic model, so that attribution needs only the standard library."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Clue:
    """One fact in the evidence of a cause, as data. `kind`: the kind of the probe's note (`unseeded-rng`, `identity`, `unordered` …), or
    `listing`, `seeding`, `intervention`. Empty fields are unknown.

    `call`: dotted name of the called function; `generator`: the global generator that was used; `package`: the installed package that
    made the call; `value_kind`: what a seed looks like ("the clock"); `file` and `line`: the user's code, with logical folder names."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic reads it: unknown keys of a stored verdict are refused

    kind: str
    call: str = ""
    generator: str = ""
    package: str = ""
    value_kind: str = ""
    file: str = ""
    line: int | None = None

    @property
    def where(self) -> str:
        """`train.py:31`; only the file if the line is unknown; empty if both are."""
        return f"{self.file}:{self.line}" if self.file and self.line is not None else self.file
