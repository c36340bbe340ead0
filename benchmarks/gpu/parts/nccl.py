"""Checks collectives on the device, on one rank and on two; with gloo on a machine without a GPU."""

from __future__ import annotations

from functools import partial

from checks import Check, Figures, NotApplicableError, Part, Place, expect
from recording import Recording
from together import at_once, recorded


def ranks(count: int, place: Place) -> Figures:
    """Checks that the collectives of every rank are recorded, and that the result of an all_reduce is the same on each."""
    if place.cuda:
        import torch

        if torch.cuda.device_count() < count:
            raise NotApplicableError(f"this machine has {torch.cuda.device_count()} GPU")
    rendezvous = place.folder / f"rendezvous-{count}"

    def one(rank: int) -> Recording:
        device = f"cuda:{rank}" if place.cuda else "cpu"
        variables = {"RANK": str(rank), "WORLD_SIZE": str(count)}
        arguments = ["collective.py", device, str(rendezvous)]
        return recorded(place, f"ranks-{count}-{rank}", arguments, variables=variables)

    runs = at_once(place, [partial(one, rank) for rank in range(count)])
    seen = [[r for r in run.records if r.stage == "collective"] for run in runs]
    figures = {"ranks": count, "records": len(seen[0])}
    expect(all(seen), "a rank recorded no collective", figures)
    expect(len({run.output for run in runs}) == 1, "the ranks end in different weights", figures)
    outcomes = [
        [(r.step, r.site, r.digest) for r in rows if "all_reduce" in r.site and r.site.endswith("out")] for rows in seen
    ]
    expect(
        all(outcome == outcomes[0] for outcome in outcomes), "ranks record different results of an all_reduce", figures
    )
    return figures


PART = Part(
    "nccl",
    "collectives under the probe",
    seconds=50,
    cpu_seconds=150,
    checks=(
        Check("nccl.one-rank", partial(ranks, 1), on_cpu=True),
        Check("nccl.two-ranks", partial(ranks, 2), on_cpu=True),
    ),
)
