"""The words of a verdict, as types. They stand apart from its models, so that attribution needs the standard library alone."""

from __future__ import annotations

from typing import Literal

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
