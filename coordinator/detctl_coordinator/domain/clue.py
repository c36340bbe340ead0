"""What the evidence of a cause names, as data. No model of pydantic, so that attribution needs the standard library alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Clue:
    """One thing that the evidence of a cause names, as data. `kind`: of the probe's note (`unseeded-rng`, `identity`, `unordered` …), or
    `listing`, `seeding`, `intervention`. Empty fields are not known.

    `call`: dotted name of what was called; `generator`: the global generator concerned; `package`: the installed package inside which it
    was called; `value_kind`: what a seed looks like ("the clock"); `file` and `line`: the user's code, with logical folder names."""

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
        """`train.py:31`; the file alone where the line is not known; empty where neither is."""
        return f"{self.file}:{self.line}" if self.file and self.line is not None else self.file
