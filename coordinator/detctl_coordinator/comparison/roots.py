"""Finds roots, which are the differing stages whose parents all agree (docs/concepts.md).

A parent explains a stage at step s if it differs at or before s and has not become equal again since. Values that persist from step to
step (parameters, optimizer state) explain the next step. A parent that was not recorded is replaced by its own parents, so that a gap in
coverage does not turn a consequence into a root. Reasons for the less obvious edges: labels affect the loss without passing through
the model; collate functions and losses draw random numbers; a gradient can differ although the loss is equal (thread-count); the order
in which files are opened depends on the listing and the sampler.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from detctl_coordinator.domain.fingerprint import Phase, Stage

# These stages decide the outcome (docs/adr/0016); artifact only if a tensor in it differs.
DECIDING = frozenset(
    {
        Stage.INIT,
        Stage.BATCH,
        Stage.FORWARD,
        Stage.LOSS,
        Stage.BACKWARD,
        Stage.COLLECTIVE,
        Stage.UPDATE,
        Stage.ARTIFACT,
    }
)

PARENTS: Mapping[Stage, tuple[Stage, ...]] = {
    Stage.CODE: (),
    Stage.LISTING: (),
    Stage.FILES: (Stage.LISTING, Stage.ORDER, Stage.RNG),
    Stage.RNG: (),
    Stage.INIT: (Stage.RNG,),
    Stage.ORDER: (Stage.RNG,),
    Stage.SAMPLE: (Stage.LISTING, Stage.FILES, Stage.RNG, Stage.ORDER),
    Stage.BATCH: (Stage.SAMPLE, Stage.ORDER, Stage.RNG),
    Stage.FORWARD: (Stage.INIT, Stage.BATCH, Stage.RNG),
    Stage.LOSS: (Stage.FORWARD, Stage.BATCH, Stage.INIT, Stage.RNG),
    Stage.BACKWARD: (Stage.LOSS, Stage.FORWARD, Stage.BATCH, Stage.INIT),
    Stage.COLLECTIVE: (Stage.BACKWARD, Stage.LOSS, Stage.FORWARD),
    Stage.UPDATE: (Stage.COLLECTIVE, Stage.BACKWARD, Stage.INIT),
    Stage.ARTIFACT: (Stage.UPDATE, Stage.INIT),
}

UNUSED = "unused"  # the part of random states that differ and are never used, so that they affect nothing
WORKERS = "workers"
BEFORE_STEP = (
    "before-step"  # what an optimizer has before its step: the part of stage update that decides nothing alone
)
# Stages that random states inside workers affect.
FED_BY_WORKERS = frozenset({Stage.FILES, Stage.SAMPLE, Stage.BATCH})
# Stages that the update of an earlier step affects.
FED_BY_UPDATE = frozenset({Stage.FORWARD, Stage.LOSS, Stage.BACKWARD, Stage.COLLECTIVE, Stage.UPDATE})


# The stages of an evaluation that its score depends on. A score may choose the checkpoint that is kept, and the best score lasts.
SCORING = frozenset({Stage.BATCH, Stage.FORWARD, Stage.LOSS})


@dataclass(frozen=True)
class Node:
    """A stage in a phase, over all ranks. `part` splits random states: "" for the main process, "workers" for DataLoader workers,
    "unused" for generators that differ and are never used. It also splits the update: "before-step" for what an optimizer has then.

    Nodes are in causal order."""

    stage: Stage
    phase: Phase = Phase.TRAIN
    part: str = ""

    def __lt__(self, other: Node) -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[Stage, Phase, bool, str]:
        return self.stage, self.phase, self.part != BEFORE_STEP, self.part


UPDATE, PREPARED = Node(Stage.UPDATE), Node(Stage.UPDATE, part=BEFORE_STEP)


@dataclass(frozen=True)
class Extent:
    """The steps in which a node differs: from `step` up to, not including, `equal_from` (None: to the end). other_names: the node is
    a listing with missing or extra names, so that there are other samples to order. inputs: the node is a batch that a module was called
    with, which another module may have made."""

    step: int
    equal_from: int | None = None
    other_names: bool = False
    inputs: bool = False

    def reaches(self, step: int) -> bool:
        """Returns whether it can explain a difference at `step`."""
        return self.step <= step and (self.equal_from is None or step < self.equal_from)

    def reached_before(self, step: int) -> bool:
        """Returns whether it can explain a difference at `step` through a lasting effect: it differed before `step`."""
        return self.step < step and (self.equal_from is None or step <= self.equal_from)


def explaining(node: Node, extents: Mapping[Node, Extent], observed: Collection[Node]) -> list[Node]:
    """Returns the parents that explain a differing node, in causal order."""
    step = extents[node].step
    found = {parent for parent in _parents(node, observed) if parent in extents and extents[parent].reaches(step)}
    fed_by_update = node.stage in FED_BY_UPDATE or extents[node].inputs
    if fed_by_update and UPDATE in extents and extents[UPDATE].reached_before(step):
        found.add(UPDATE)
    if node.stage in FED_BY_WORKERS:
        found.update(n for n in extents if n.part == WORKERS and extents[n].reaches(step))
    if node.stage is Stage.ORDER:
        found.update(n for n in extents if extents[n].other_names and extents[n].reaches(step))
    if node == UPDATE and PREPARED in extents and extents[PREPARED].reaches(step):
        found.add(PREPARED)
    if node.stage is Stage.ARTIFACT:
        found |= {score for score in _scores(extents) if extents[score].step <= step}
    return sorted(found - {node})


def _scores(extents: Mapping[Node, Extent]) -> set[Node]:
    """Returns the nodes of evaluations that differ."""
    return {node for node in extents if node.phase is Phase.EVAL and node.stage in SCORING}


def _parents(node: Node, observed: Collection[Node]) -> set[Node]:
    """Returns the recorded parents; others are replaced by their own parents. Training also affects evaluation."""
    result: set[Node] = set()
    todo, seen = list(PARENTS[node.stage]), set[Stage]()
    while todo:
        stage = todo.pop()
        if stage in seen:
            continue
        seen.add(stage)
        here = {n for n in (Node(stage, node.phase), Node(stage, Phase.TRAIN)) if n in observed}
        if here:
            result |= here
        else:
            todo.extend(PARENTS[stage])
    return result


def descendants(stage: Stage) -> set[Stage]:
    """Returns every stage that a stage can affect, according to the graph, with the update affecting the next step."""
    children = {child: set(parents) for child, parents in PARENTS.items()}
    for child in FED_BY_UPDATE:
        children[child].add(Stage.UPDATE)
    reached: set[Stage] = set()
    todo = [stage]
    while todo:
        parent = todo.pop()
        new = {child for child, parents in children.items() if parent in parents} - reached
        reached |= new
        todo.extend(new)
    return reached


def roots(extents: Mapping[Node, Extent], observed: Collection[Node]) -> list[Node]:
    """Returns the differing nodes that no parent explains, earliest first. Code never counts as a root, since its effects appear in
    the other stages."""
    found = [n for n in extents if n.stage is not Stage.CODE and not explaining(n, extents, observed)]
    return sorted(found, key=lambda node: (extents[node].step, node))


def affected_by(root: Node, extents: Mapping[Node, Extent], observed: Collection[Node]) -> list[Node]:
    """Returns the differing nodes that a root explains, directly or not, in causal order and without the root itself."""
    children: dict[Node, list[Node]] = {}
    for node in extents:
        for parent in explaining(node, extents, observed):
            children.setdefault(parent, []).append(node)
    reached: set[Node] = set()
    todo = [root]
    while todo:
        for child in children.get(todo.pop(), ()):
            if child not in reached:
                reached.add(child)
                todo.append(child)
    return sorted(reached - {root})


def harmless(extents: Mapping[Node, Extent], observed: Collection[Node], deciding: Collection[Node]) -> list[Node]:
    """Returns the benign nodes: they differ, but neither decide the outcome nor can have affected a node that does. Code can affect
    any node.

    This is stricter than `affected_by`: a stage that already differed may hide the effect of a node that diverges later.
    """
    reaching = set(deciding)
    todo = list(deciding)
    while todo:
        child = todo.pop()
        for parent in _possible_parents(child, extents, observed) - reaching:
            reaching.add(parent)
            todo.append(parent)
    if deciding:
        reaching |= {node for node in extents if node.stage is Stage.CODE}
    return [node for node in sorted(extents) if node not in reaching]


def _possible_parents(child: Node, extents: Mapping[Node, Extent], observed: Collection[Node]) -> set[Node]:
    """Returns the differing parents that may have contributed to a child's difference at any step."""
    candidates = {parent for parent in _parents(child, observed) if parent in extents}
    if (child.stage in FED_BY_UPDATE or extents[child].inputs) and UPDATE in extents:
        candidates.add(UPDATE)
    if child == UPDATE and PREPARED in extents:
        candidates.add(PREPARED)
    if child.stage in FED_BY_WORKERS:
        candidates |= {node for node in extents if node.part == WORKERS}
    if child.stage is Stage.ORDER:
        candidates |= {node for node in extents if extents[node].other_names}
    if child.stage is Stage.ARTIFACT:
        candidates |= _scores(extents)
    end = extents[child].equal_from
    return {parent for parent in candidates if end is None or extents[parent].step < end}
