"""Checks features of torch that a probe could break: each training ends in the same weights with and without the probe."""

from __future__ import annotations

import json
from functools import partial

from checks import Check, Figures, NotApplicableError, Part, Place, expect
from together import at_once, recorded, uninstrumented

from parts.synchronisation import failures

ON_CPU = ("autocast", "grad-scaler", "dataloader-workers", "checkpointing", "sdpa-math", "sdpa-flash")
FEATURES = {
    "graphs.capture-and-replay": "graph",
    "compile.default": "compile-default",
    "compile.reduce-overhead": "compile-reduce-overhead",
    "compile.max-autotune": "compile-max-autotune",
    "features.autocast": "autocast",
    "features.grad-scaler": "grad-scaler",
    "features.streams": "streams",
    "features.pinned-memory": "pinned",
    "features.dataloader-workers": "dataloader-workers",
    "features.checkpointing": "checkpointing",
    "features.sdpa-math": "sdpa-math",
    "features.sdpa-flash": "sdpa-flash",
    "features.sdpa-efficient": "sdpa-efficient",
    "features.sdpa-cudnn": "sdpa-cudnn",
}
LACKING = ("No available kernel", "not compiled with", "no available")


def same_weights(feature: str, place: Place) -> Figures:
    """Compares an uninstrumented run with one at level module."""
    arguments = ["features.py", feature, place.device]

    def without() -> str:
        try:
            return uninstrumented(place, f"{feature}-bare", arguments)
        except RuntimeError as error:
            if feature.startswith("sdpa-") and any(text in str(error) for text in LACKING):
                raise NotApplicableError(f"torch has no such attention kernel here: {str(error)[-200:]}") from error
            raise

    if feature.startswith(("sdpa-", "compile-")):
        # One after the other: the first shows whether the kernel exists, or leaves its autotuning results to the second.
        text, run = without(), None
    else:
        text, run = at_once(place, [without, lambda: recorded(place, feature, arguments)])  # type: ignore[list-item]  # two kinds
    run = run or recorded(place, feature, arguments)
    ours, theirs = (json.loads(out.splitlines()[-1])["weights"] for out in (run.output, text))
    expect(ours == theirs, "other final weights under the probe")
    expect(not failures(run), f"an observer failed: {failures(run)[:1]}")
    stages = sorted({record.stage for record in run.records})
    assert run.seal is not None
    return {"records": len(run.records), "steps": run.seal["steps_finished"], "stages": " ".join(stages)}


PART = Part(
    "graphs-and-compile",
    "features of torch: the same weights with the probe and without",
    seconds=130,
    cpu_seconds=150,
    checks=tuple(
        Check(name, partial(same_weights, feature), on_cpu=feature in ON_CPU) for name, feature in FEATURES.items()
    ),
)
