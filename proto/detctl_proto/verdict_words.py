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

EXIT_CODES: Mapping[OutcomeWord, int] = {"identical": 0, "different": 1, "unverified": 3}
