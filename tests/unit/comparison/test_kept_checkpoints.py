"""An evaluation that differs explains a checkpoint that differs: its score may have chosen the checkpoint."""

from __future__ import annotations

import pytest
from detctl_coordinator.comparison.roots import Extent, Node, affected_by, explaining, harmless, roots
from detctl_coordinator.domain.fingerprint import Phase, Stage

ARTIFACT = Node(Stage.ARTIFACT)
ORDER, BATCH, FORWARD = (Node(stage, Phase.EVAL) for stage in (Stage.ORDER, Stage.BATCH, Stage.FORWARD))
OBSERVED = {Node(stage) for stage in Stage} | {ORDER, BATCH, FORWARD}
SHUFFLED = {ORDER: Extent(6, 7), BATCH: Extent(6, 7), FORWARD: Extent(6, 7)}


@pytest.mark.parametrize("step", [6, 12])
def test_an_evaluation_explains_a_checkpoint_of_its_step_and_of_later_ones(step: int) -> None:
    extents = {**SHUFFLED, ARTIFACT: Extent(step)}
    assert FORWARD in explaining(ARTIFACT, extents, OBSERVED)
    assert roots(extents, OBSERVED) == [ORDER]
    assert ARTIFACT in affected_by(ORDER, extents, OBSERVED)
    assert harmless(extents, OBSERVED, [ARTIFACT]) == []


def test_a_later_evaluation_does_not() -> None:
    extents = {**SHUFFLED, ARTIFACT: Extent(5, 6)}
    assert roots(extents, OBSERVED) == [ARTIFACT, ORDER]


def test_an_evaluation_alone_stays_harmless() -> None:
    assert harmless(SHUFFLED, OBSERVED, []) == [ORDER, BATCH, FORWARD]


def test_what_a_module_was_called_with_may_come_from_another_whose_weights_differ() -> None:
    update, batch = Node(Stage.UPDATE), Node(Stage.BATCH)
    of_loader = {update: Extent(3), batch: Extent(5)}
    assert roots(of_loader, {update, batch}) == [update, batch]
    assert roots({**of_loader, batch: Extent(5, inputs=True)}, {update, batch}) == [update]
    assert roots({**of_loader, batch: Extent(3, inputs=True)}, {update, batch}) == [batch]
