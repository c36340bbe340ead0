"""Records twins with planted causes, compares them, and checks outcome, origin, cause and operation.

As in detctl itself, runs at level module give the verdict, and runs at level op give the operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from checks import Check, Figures, NotApplicableError, Part, Place, expect
from comparing import Finding, RecordedRun, compared, run_of
from recording import Recording
from together import at_once, recorded

TRITON = "triton-autotune"


@dataclass(frozen=True)
class Planted:
    """One planted cause. cause, choices: the arguments of planted.py, one choice per configuration; empty: twins of one configuration.

    `causes`: the causes that are right; `operation`: a part of the operation's name; `peer`: twins of a second machine agree;
    `may_agree`: this machine may by chance not show the cause."""

    name: str
    cause: str
    causes: tuple[str, ...]
    origin: str
    operation: str
    choices: tuple[str, ...] = ()
    peer: bool = False
    may_agree: bool = False
    on_cpu: bool = False


PLANTED = (
    Planted("index-add", "index-add", ("nondeterministic-kernel",), "code", "index_add"),
    Planted("scatter", "scatter", ("nondeterministic-kernel",), "code", "scatter_add"),
    Planted("cudnn-benchmark", "cudnn-benchmark", ("nondeterministic-kernel",), "code", "convolution", may_agree=True),
    Planted("tf32", "tf32", ("precision-mode",), "environment", "mm", choices=("off", "on")),
    Planted(TRITON, TRITON, ("nondeterministic-kernel",), "code", "row_sum"),
    Planted(
        "attention",
        "attention",
        ("config-drift",),
        "environment",
        "scaled_dot_product",
        choices=("math", "flash"),
        on_cpu=True,
    ),
    Planted("bit-flip", "bit-flip", ("hardware-fault",), "hardware", "faulty", peer=True, on_cpu=True),
    Planted("dropout-seed", "dropout-seed", ("unseeded-rng",), "code", "dropout|bernoulli", on_cpu=True),
)


def runs_at(place: Place, planted: Planted, level: str) -> list[RecordedRun]:
    """Records two runs of each configuration at level module. At level op, twins have two runs, and configurations one each."""
    twins = (0, 1) if level == "module" or not planted.choices else (0,)
    needed: list[tuple[str, int, str]] = [
        ("gpu1", twin, choice) for choice in planted.choices or ("",) for twin in twins
    ]
    if planted.peer and level == "module":
        needed += [("gpu2", 0, ""), ("gpu2", 2, "")]  # twins with even numbers have no fault

    def one(machine: str, twin: int, choice: str) -> Recording:
        arguments = ["planted.py", planted.cause, place.device, *([choice] if choice else [])]
        return recorded(place, f"{planted.name}-{level}-{machine}-{twin}-{choice}", arguments, level=level, twin=twin)

    recordings = at_once(place, [partial(one, *each) for each in needed])
    return [
        run_of(recording, machine, twin, {planted.cause: choice} if choice else None)
        for recording, (machine, twin, choice) in zip(recordings, needed, strict=True)
    ]


def check(planted: Planted, place: Place) -> Figures:
    """Fails if any part of the finding is not what was planted."""
    if planted.name == TRITON:
        try:
            import triton  # noqa: F401 - imported only to see whether it exists
        except ImportError as error:
            raise NotApplicableError(f"no Triton: {error}") from error
    found = compared(runs_at(place, planted, "module"))
    figures = {**found.figures(), "operation": "", "at": ""}
    if planted.may_agree and found.outcome == "identical":
        return {**figures, "note": "the twins happened to agree on this machine"}
    closer = compared(runs_at(place, planted, "op"))
    figures.update(operation=closer.operation, at=closer.at)
    for wrong in wrongs(planted, found, closer):
        expect(False, wrong, figures)
    return figures


def wrongs(planted: Planted, found: Finding, closer: Finding) -> list[str]:
    """Returns what is not right, one line each."""
    lines: list[Any] = [
        found.outcome != "different" and f"outcome {found.outcome}: {'; '.join(found.because)}",
        found.cause not in (*planted.causes, "unknown")
        and f"cause {found.cause or 'none'} instead of {' or '.join(planted.causes)}",
        # Without the values of level op, the size of a difference is only estimated, and no kernel is named.
        not {found.cause, closer.cause}.intersection(planted.causes)
        and f"cause {closer.cause or 'none'} at level op instead of {' or '.join(planted.causes)}",
        found.origin != planted.origin and f"origin {found.origin} instead of {planted.origin}",
        not any(word in closer.operation for word in planted.operation.split("|"))
        and f"operation {closer.operation or 'none'} instead of {planted.operation}",
    ]
    return [line for line in lines if line]


PART = Part(
    "causes",
    "planted causes, and what detctl finds",
    seconds=110,
    cpu_seconds=200,
    checks=tuple(Check(f"causes.{one.name}", partial(check, one), on_cpu=one.on_cpu) for one in PLANTED),
)
