"""Finds where causes enter: differing stages all of whose parents agree (docs/concepts.md).

A parent explains a stage at step s when it differs at or before s and has not agreed again since; values that live from step
to step (parameters, optimizer state) explain the next step. A parent that nobody observed is replaced by its own parents,
so a gap in coverage does not make a root out of a consequence. Some edges are less obvious, and these are their reasons:
labels feed the loss without passing the model; collate functions and losses draw numbers; a gradient can differ though the
loss does not show it (thread-count); the order in which files are opened follows the listing and the sampler.
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

# Stages that the update of an earlier step feeds.
# What random states inside workers can feed.
# A part that feeds nothing: random states that differ and that nobody draws from.
IDLE = "idle"
WORKERS = "workers"
FED_BY_WORKERS = frozenset({Stage.FILES, Stage.SAMPLE, Stage.BATCH})

FED_BY_UPDATE = frozenset({Stage.FORWARD, Stage.LOSS, Stage.BACKWARD, Stage.COLLECTIVE, Stage.UPDATE})


@dataclass(frozen=True, order=True)
class Node:
    """A stage in a phase; ranks are folded together. `part` splits random states: "" of the main
    process, "workers" of DataLoader workers, "idle" where nobody draws from what differs."""

    stage: Stage
    phase: Phase = Phase.TRAIN
    part: str = ""


@dataclass(frozen=True)
class Extent:
    """Steps in which a node differs: from `step` on, up to `equal_from` (None: to the end)."""

    step: int
    equal_from: int | None = None

    def reaches(self, step: int) -> bool:
        """Whether it can explain a difference at `step`."""
        return self.step <= step and (self.equal_from is None or step < self.equal_from)

    def reached_before(self, step: int) -> bool:
        """Whether it can explain by what it left behind: it differed before `step`."""
        return self.step < step and (self.equal_from is None or step <= self.equal_from)


def explaining(node: Node, extents: Mapping[Node, Extent], observed: Collection[Node]) -> list[Node]:
    """The parents of a differing node that differ in time to explain it, in causal order."""
    step = extents[node].step
    found = {parent for parent in _parents(node, observed) if parent in extents and extents[parent].reaches(step)}
    if node.stage in FED_BY_UPDATE:
        update = Node(Stage.UPDATE)
        if update in extents and extents[update].reached_before(step):
            found.add(update)
    if node.stage in FED_BY_WORKERS:
        found.update(n for n in extents if n.part == WORKERS and extents[n].reaches(step))
    return sorted(found - {node})


def _parents(node: Node, observed: Collection[Node]) -> set[Node]:
    """Parents that somebody observed; unobserved ones replaced by theirs. Evaluation is also fed by training's state."""
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
    """Every stage that a stage can carry on to, by the graph alone; the update feeds the next step."""
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
    """Differing nodes that no parent explains, earliest first. Code is no root: what it changes shows in the other stages."""
    found = [n for n in extents if n.stage is not Stage.CODE and not explaining(n, extents, observed)]
    return sorted(found, key=lambda node: (extents[node].step, node))


def carried_on(root: Node, extents: Mapping[Node, Extent], observed: Collection[Node]) -> list[Node]:
    """Differing nodes that descend from a root, in causal order; the root itself is not among them."""
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
    """Differing nodes that neither decide the outcome nor can have led to one that does: benign. Code may lead anywhere.

    Stricter than `carried_on`: a stage that was different already when this one parted may hide what this one did to it.
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
    """Differing parents that may have added to a child's difference at any step."""
    candidates = {parent for parent in _parents(child, observed) if parent in extents}
    if child.stage in FED_BY_UPDATE and Node(Stage.UPDATE) in extents:
        candidates.add(Node(Stage.UPDATE))
    if child.stage in FED_BY_WORKERS:
        candidates |= {node for node in extents if node.part == WORKERS}
    end = extents[child].equal_from
    return {parent for parent in candidates if end is None or extents[parent].step < end}
