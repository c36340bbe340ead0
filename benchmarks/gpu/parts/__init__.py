"""Holds one file for each group of checks. They run in the order of `PARTS`: checks that others depend on come first."""

from __future__ import annotations

from checks import Part

from parts import (
    causes,
    digest,
    graphs_and_compile,
    interventions,
    known_answers,
    manifest,
    nccl,
    neutrality,
    overhead,
    synchronisation,
)

PARTS: tuple[Part, ...] = (
    manifest.PART,
    digest.PART,
    synchronisation.PART,
    graphs_and_compile.PART,
    neutrality.PART,
    known_answers.PART,
    causes.PART,
    interventions.PART,
    nccl.PART,
    overhead.PART,
)
