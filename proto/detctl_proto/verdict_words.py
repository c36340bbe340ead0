"""The words of a verdict, as types, and the exit code of each outcome (docs/cli.md). Standard library alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

OutcomeWord = Literal["identical", "different", "unverified"]
OriginWord = Literal["code", "environment", "hardware"]
KindWord = Literal["permutation", "content", "structure"]
StageWord = Literal[
    "code",
    "listing",
    "files",
    "rng",
    "init",
    "order",
    "sample",
    "batch",
    "forward",
    "loss",
    "backward",
    "collective",
    "update",
    "artifact",
]
STAGES: tuple[StageWord, ...] = get_args(StageWord)  # in causal order
# one-bit, one-element: of several elements exactly one differs. few-elements: a part of them, by more than rounding.
# rounding: many elements, few units in the last place each. reduced-precision: one side has only the mantissa bits of a
# shorter type, or the sides agree in about as many bits. scaled: one side is a multiple of the other. other: none of these.
PatternWord = Literal[
    "equal",
    "special-values",
    "permuted-rows",
    "one-bit",
    "one-element",
    "rounding",
    "reduced-precision",
    "scaled",
    "few-elements",
    "other",
]
ShortTypeWord = Literal["bfloat16", "tf32", "float32"]
SideWord = Literal["", "first", "second"]

EXIT_CODES: Mapping[OutcomeWord, int] = {"identical": 0, "different": 1, "unverified": 3}
