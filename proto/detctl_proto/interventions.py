"""What the probe can change inside a training (detctl_probe/intervene), and the values of each. Standard library alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from detctl_proto.syntax.names import NAME


@dataclass(frozen=True)
class Intervention:
    """`takes` describes the pattern for people; `requestable`: users may set it by name, others are for experiments alone."""

    pattern: str
    takes: str
    requestable: bool = True

    def accepts(self, value: str) -> bool:
        """Whether the probe acts on this value."""
        return re.fullmatch(self.pattern, value, re.ASCII) is not None


_COMPUTED = "(init|forward|loss|backward|collective|update)"
_KEPT = r"(init|batch|rng)(\+(init|batch|rng)){0,2}"

INTERVENTIONS: Mapping[str, Intervention] = {
    "attention": Intervention("math", "math"),
    "bare": Intervention("[0-9]{1,9}", "a step", requestable=False),
    "completion": Intervention("asked", "asked"),
    "ddp_buckets": Intervention("one", "one"),
    "deterministic": Intervention("on", "on"),
    "fault": Intervention("(ulp|swap):[0-9]{1,9}", "ulp:STEP or swap:BATCH", requestable=False),
    "identity": Intervention("frozen", "frozen"),
    "keep": Intervention(_KEPT, "init, batch or rng, several with + between", requestable=False),
    "listing": Intervention("sorted|shuffled(:[0-9]{1,9})?", "sorted, shuffled or shuffled:SEED"),
    "precision": Intervention("highest", "highest"),
    "seed": Intervention("[0-9]{1,9}(:steps)?", "N (at the start) or N:steps (at each step too)"),
    "threads": Intervention("[1-9][0-9]{0,2}", "a number from 1 to 999"),
    "transplant": Intervention(f"{_KEPT}:{NAME.pattern}", "init:RUN, batch:RUN or rng:RUN", requestable=False),
    "values": Intervention(
        rf"{_COMPUTED}(\+{_COMPUTED}){{0,5}}",
        "computed stages with + between, such as loss+backward",
        requestable=False,
    ),
    "worker_seeds": Intervention("[0-9]{1,9}", "a number"),
    "workers": Intervention("[0-9]{1,3}", "a number from 0 to 999"),
}
REQUESTABLE = frozenset(name for name, one in INTERVENTIONS.items() if one.requestable)
# These carry values of a training to another machine: only a recipe whose owner allows it takes them.
TRANSPLANTS = frozenset(("keep", "transplant"))
# This sends values of a training to the coordinator, which measures their difference: only if the recipe's owner allows it.
VALUES = "values"
