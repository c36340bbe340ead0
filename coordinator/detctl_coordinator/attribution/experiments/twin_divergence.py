"""Where the runs of one trial diverge, and whether a setting moved that. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from detctl_coordinator.comparison.pair import NodeDifference, PairComparison
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.domain.fingerprint import Stage

# All pairs of this many runs are compared, and each further run with the first one.
ALL_PAIRS_OF = 3


@dataclass(frozen=True)
class TwinDivergence:
    """The comparisons of runs with equal settings. At least one of them differs."""

    pairs: tuple[PairComparison, ...]

    @property
    def pair(self) -> PairComparison:
        """The first pair that diverges."""
        return next(pair for pair in self.pairs if pair.different)

    @property
    def always(self) -> bool:
        """Whether all pairs diverge."""
        return all(pair.different for pair in self.pairs)

    @property
    def many(self) -> bool:
        """Whether more than one pair was compared, so that chance is not taken for a difference that is always there."""
        return len(self.pairs) > 1

    @property
    def _first(self) -> NodeDifference:
        """The first difference that decides the outcome, over all pairs."""
        found = (d for pair in self.pairs for d in pair.differences.values() if d.deciding)
        return min(found, key=lambda d: (d.step, d.node))

    @property
    def place(self) -> str:
        """`step 0 · backward`: where the runs diverge first."""
        return f"step {self.step} · {self.first_stage.word}"

    @property
    def step(self) -> int:
        return self._first.step

    @property
    def first_stage(self) -> Stage:
        return self._first.node.stage

    @property
    def roots(self) -> list[NodeDifference]:
        return self.pair.roots

    def _steps_of(self, node: Node) -> list[int | None]:
        """The step from which on a node differs, in each pair; None: it agrees there."""
        found = [pair.differences.get(node) for pair in self.pairs]
        return [None if one is None else one.step for one in found]

    def moved_by(self, after: TwinDivergence) -> bool:
        """Returns whether a difference of these runs is gone in the runs of another trial: a value that decides the outcome differs in all
        pairs here from one and the same step on, and in no pair there at that step.

        Chance hardly ever does both, since it would begin at several steps here, or at this step there."""
        for node in {node for pair in self.pairs for node, d in pair.differences.items() if d.deciding}:
            steps = self._steps_of(node)
            if None in steps or len(set(steps)) > 1:
                continue
            step = steps[0]
            assert step is not None
            if all(later is None or later > step for later in after._steps_of(node)):
                return True
        return False


def pairs_to_compare(runs: Sequence[RunReader]) -> list[tuple[RunReader, RunReader]]:
    """Returns all pairs of the first runs, and each further run with the first."""
    return [*combinations(runs[:ALL_PAIRS_OF], 2), *((runs[0], run) for run in runs[ALL_PAIRS_OF:])]
