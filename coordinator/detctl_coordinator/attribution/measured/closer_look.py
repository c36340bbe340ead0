"""What a zoom showed, as evidence about the root for which it was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from detctl_coordinator.attribution.measured.drawing_operations import draws
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.domain.fingerprint import Stage

if TYPE_CHECKING:  # comparison on a bare GPU machine lacks pydantic
    from detctl_coordinator.domain.verdict import MeasuredElements, Zoom

IN_LOOP = "loop:"  # prefix of the sites of operations outside of modules, losses and optimizers


@dataclass(frozen=True)
class Looked:
    """A zoom. `node`, `step`: the root that it was made for. `twins`: whether the two runs were twins."""

    zoom: Zoom
    node: Node
    step: int
    twins: bool

    def concerns(self, node: Node, step: int, *, twins: bool) -> bool:
        """Returns whether this is evidence about a root. Twins may diverge in another step each time, but in the same stage."""
        if (node, twins) != (self.node, self.twins) or (not twins and step != self.step):
            return False
        if self.zoom.stage is None or (self.zoom.site or "").startswith(IN_LOOP):
            return True  # an operation of the loop itself has the stage of what ran before it
        return Stage[self.zoom.stage.upper()] <= node.stage

    @property
    def elements(self) -> MeasuredElements | None:
        return self.zoom.elements

    @property
    def same_operation(self) -> bool:
        """Whether one operation took the same and gave something else."""
        return self.zoom.op is not None and self.zoom.inputs_equal is True

    @property
    def other_input(self) -> bool:
        """Whether the first operation to differ already takes other values, which no operation made."""
        return self.zoom.op is None and self.zoom.inputs_equal is False

    @property
    def drew_otherwise(self) -> bool:
        """Whether an operation drew other random numbers, although all that it takes is equal: its generator was in another state."""
        return self.same_operation and draws(self.zoom.op)

    @property
    def shows_rounding(self) -> bool:
        """Whether the difference is rounding, and not the consequence of another setting: many elements, few units in the last place."""
        return self.elements is not None and self.elements.pattern == "rounding" and not self.proportional

    @property
    def shows_other(self) -> bool:
        """Whether the measured difference is of a kind that neither rounding nor another order of a sum makes."""
        one = self.elements
        if self.proportional:
            return True
        if one is None or one.pattern in ("equal", "rounding", "reduced-precision"):
            return False
        return not (one.pattern in ("one-bit", "one-element") and one.few_ulps)

    @property
    def proportional(self) -> bool:
        """Whether the runs changed a value by multiples of each other, as by another learning rate."""
        return self.zoom.change is not None and self.zoom.change.proportional
