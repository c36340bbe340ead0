"""Compares two runs stage by stage: which stages differ, from which step on, where the differences enter and propagate to."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from detctl_proto.verdict_words import KindWord

from detctl_coordinator.comparison.alignment import SiteDifference, align, kind_of
from detctl_coordinator.comparison.continued import align_continuation
from detctl_coordinator.comparison.first_divergence import (
    Lasting,
    Side,
    StreamDifference,
    compare_streams,
    compared_steps,
)
from detctl_coordinator.comparison.generators import used_generators
from detctl_coordinator.comparison.ranks.ranks import match_ranks
from detctl_coordinator.comparison.ranks.world_size import MERGED, UnitedBatches, compare_merged, compare_united
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.roots import (
    DECIDING,
    PREPARED,
    UNUSED,
    UPDATE,
    WORKERS,
    Extent,
    Node,
    affected_by,
    harmless,
    roots,
)
from detctl_coordinator.comparison.sampled_streams import SampledStream, notes_on
from detctl_coordinator.comparison.steps.continuation import Continuation, find_continuation
from detctl_coordinator.comparison.steps.coverage import blind_stages
from detctl_coordinator.comparison.steps.shifted import ShiftedRun, steps_of_both
from detctl_coordinator.comparison.steps.window import common_steps, known_steps
from detctl_coordinator.comparison.updates.before_step import first_update, is_before_step, settings_first
from detctl_coordinator.comparison.updates.training import equal_updates
from detctl_coordinator.domain.fingerprint import Fingerprint, Phase, Stage, StreamKey

INPUT = "input["  # of a batch that a module was called with (detctl_probe/observe/model/modules.py)
KEPT = "kept/"  # sites of values that the probe keeps (detctl_probe/intervene): they do not belong to the training
# Number of artifact steps whose fingerprints are read to distinguish tensors from other content.
ARTIFACT_STEPS_MAX = 64


@dataclass(frozen=True)
class NodeDifference:
    """One stage (in one phase) that differs, at its first differing step. `since`: the earliest step at which it may have begun,
    if earlier steps were left out to keep a budget."""

    node: Node
    step: int
    equal_from: int | None
    kind: KindWord
    sites: tuple[SiteDifference, ...]  # of the first rank that differs
    deciding: bool
    rank: int
    since: int
    ranks: tuple[int, ...] = ()  # all that differ at `step`; `rank` is the first of them

    @property
    def lasting(self) -> Lasting:
        return "persistent" if self.equal_from is None else "transient"

    @property
    def lead(self) -> SiteDifference | None:
        """The first differing fingerprint in program order."""
        return self.sites[0] if self.sites else None

    @property
    def site(self) -> str:
        return f"{self.node.stage.word}/{self.lead.site}" if self.lead and self.lead.site else self.node.stage.word

    @property
    def evaluation(self) -> bool:
        """Whether it is a value of the model or of the data in evaluation. A saved artifact is not."""
        return self.node.phase is Phase.EVAL and self.node.stage in DECIDING - {Stage.ARTIFACT}

    @property
    def drawn_from(self) -> bool:
        """Whether it is the state of generators from which the program draws."""
        return self.node.stage is Stage.RNG and self.node.part != UNUSED

    @property
    def other_names(self) -> bool:
        """Whether it is a folder that both runs list, with missing or extra names, not only moved ones."""
        found = (site for site in self.sites if site.left is not None and site.right is not None)
        return self.node.stage is Stage.LISTING and any(site.kind != "permutation" for site in found)

    @property
    def inputs(self) -> bool:
        """Whether it is a batch that a module was called with, in a loop without loader. Another module may have made it."""
        return self.node.stage is Stage.BATCH and bool(self.sites) and all(d.site.startswith(INPUT) for d in self.sites)

    @property
    def description(self) -> str:
        """What differs and for how long, in one line."""
        parts = [self.lead.description] if self.lead is not None else []
        if self.node.part == UNUSED:
            parts = ["the state differs in each process, but the program never draws from it"]
        if self.equal_from is not None:
            parts.append(f"equal again from step {self.equal_from} on")
        if self.node.phase is Phase.EVAL:
            parts.append("in evaluation")
        return "; ".join(part for part in parts if part)


@dataclass(frozen=True)
class PairComparison:
    """The result of comparing two runs. `incomparable`: why they cannot be compared; empty: they were."""

    left: RunReader
    right: RunReader
    limit: int | None = None
    differences: Mapping[Node, NodeDifference] = field(default_factory=dict)
    observed: frozenset[Node] = frozenset()
    one_sided: Mapping[Stage, str] = field(default_factory=dict)  # stages that only one run recorded -> why
    incomparable: str = ""
    notes: tuple[str, ...] = ()
    united: UnitedBatches | None = None  # set if the numbers of ranks differ: only this was compared
    updates_equal: int | None = None  # updates of the training, if all of them and all losses were recorded and agree
    continuation: Continuation | None = (
        None  # set if one run continues the other: both show the steps of the longer one
    )

    @cached_property
    def extents(self) -> dict[Node, Extent]:
        return {node: Extent(d.since, d.equal_from, d.other_names, d.inputs) for node, d in self.differences.items()}

    @property
    def different(self) -> bool:
        """Whether a stage that decides the outcome differs (docs/adr/0016)."""
        return any(d.deciding for d in self.differences.values())

    @property
    def equal(self) -> bool:
        """Whether the runs were compared and no stage that decides the outcome differs."""
        return not self.incomparable and not self.different

    @cached_property
    def _harmless(self) -> list[Node]:
        deciding = {node for node, d in self.differences.items() if d.deciding}
        return harmless(self.extents, self.observed, deciding)

    @property
    def benign(self) -> list[NodeDifference]:
        """The differences without effect. A generator from which the program draws is among them only if nothing decides."""
        found = [self.differences[node] for node in self._harmless]
        return [d for d in found if not (self.different and d.drawn_from)]

    def with_evaluation(self) -> PairComparison:
        """Returns the comparison in which a difference in evaluation decides, also if the training agrees."""
        counted = {node: replace(d, deciding=d.deciding or d.evaluation) for node, d in self.differences.items()}
        return replace(self, differences=counted)

    @cached_property
    def roots(self) -> list[NodeDifference]:
        """The places where differences enter that may affect a deciding stage, earliest first."""
        left_out = set(self._harmless)
        return [self.differences[n] for n in roots(self.extents, self.observed) if n not in left_out]

    def affected_by(self, root: NodeDifference) -> list[Node]:
        return affected_by(root.node, self.extents, self.observed)

    @property
    def first(self) -> NodeDifference | None:
        """The difference with the smallest (step, stage) that is not benign, or else the first benign one."""
        left_out = set(self._harmless)
        ranked = [d for d in self.differences.values() if d.node not in left_out] or list(self.differences.values())
        return min(ranked, key=lambda d: (d.step, d.node), default=None)


def compare_pair(
    left: RunReader, right: RunReader, limit: int | None = None, *, strict: bool = False
) -> PairComparison:
    """Returns the comparison of two runs over their common steps, at most those below `limit`. Raises DamagedError.

    `strict`: a difference in evaluation decides, also if the training agrees."""
    reason = incomparable(left, right)
    if reason:
        return PairComparison(left, right, limit, incomparable=reason)
    continuation = find_continuation(left, right)
    if continuation is not None:
        left, right = align_continuation(left, right, continuation)
        limit = steps_of_both(left, right)
    limit = common_steps([known_steps(left), known_steps(right), limit])
    if continuation is not None and limit is not None and limit <= continuation.step:
        return PairComparison(left, right, limit, continuation=continuation)  # one ends where the other begins
    matched = match_ranks(left, right)
    if matched is None:
        return _another_world_size(left, right, limit)
    notes = []
    if matched.moved:
        moved = ", ".join(f"{a} is {b}" for a, b in matched.moved.items())
        notes.append(f"ranks are numbered in another order: rank {moved} in the second run")
    one_sided = _one_sided(left, right)
    ours, theirs = left.streams(), right.streams()
    left_ranks = {b: a for a, b in matched.pairs.items()}
    keys = {k for k in ours if k.rank in matched.pairs}
    keys |= {StreamKey(left_ranks[k.rank], k.stage, k.phase) for k in theirs if k.rank in left_ranks}
    found: dict[Node, list[StreamDifference]] = {}
    sampled: list[SampledStream] = []
    observed: set[Node] = set()
    for key in sorted(keys):
        if key.stage in one_sided:
            continue
        observed.add(Node(key.stage, key.phase))
        other = StreamKey(matched.pairs[key.rank], key.stage, key.phase)
        sides = Side.of(left, key, limit), Side.of(right, other, limit)
        difference = compare_streams(*sides)
        if not (sides[0].schedule.whole and sides[1].schedule.whole):
            sampled.append(SampledStream(*sides, difference))
            if difference is None and not any(a and b for _, a, b in compared_steps(*sides, 0)):
                one_sided.setdefault(key.stage, f"{key.stage.word} was not recorded in any step by both runs")
        if difference is not None:
            found.setdefault(Node(key.stage, key.phase), []).append(difference)
    notes += dict.fromkeys(notes_on(sampled, limit))
    differences: dict[Node, NodeDifference] = {}
    for node, group in found.items():
        differences |= {d.node: d for d in _node_differences(left, right, node, group, limit)}
    training = {node.stage for node in differences if node.phase is Phase.TRAIN and node != PREPARED} | set(one_sided)
    updates = equal_updates(left, right, matched.pairs, limit, training)
    if updates is not None and not strict:
        differences = _decided_by_training(differences)
    return PairComparison(
        left,
        right,
        limit,
        differences,
        frozenset(observed),
        one_sided,
        "",
        tuple(notes),
        updates_equal=updates,
        continuation=continuation,
    )


def _decided_by_training(differences: Mapping[Node, NodeDifference]) -> dict[Node, NodeDifference]:
    """Returns the differences of runs whose updates and losses agree. Those in evaluation decide only if something else does,
    because then they may have led to it. A tensor in an artifact decides also in evaluation."""
    if any(d.deciding and not d.evaluation for d in differences.values()):
        return dict(differences)
    return {node: replace(d, deciding=False) for node, d in differences.items()}


def incomparable(left: RunReader, right: RunReader) -> str:
    """Returns why two runs cannot be compared; empty: they can."""
    for what, a, b in (("digest scheme", left.scheme, right.scheme), ("level", left.level, right.level)):
        if a and b and a != b:
            return f"their {what}s differ ({a} vs {b}), so they cannot be compared; record both again with one version of detctl"
    return ""


def _one_sided(left: RunReader, right: RunReader) -> dict[Stage, str]:
    result: dict[Stage, str] = {}
    for reader, other in ((left, right), (right, left)):
        present = {key.stage for key in other.streams()}
        for stage, why in blind_stages(reader).items():
            if stage in present:
                result[stage] = f"{stage.word} was not recorded in {reader.run.spec.label} ({why})"
    return result


def _another_world_size(left: RunReader, right: RunReader, limit: int | None) -> PairComparison:
    united = compare_united(left, right, limit)
    notes = [
        "the numbers of ranks differ, so the rows of all ranks and the weights merged over all ranks were compared"
    ]
    nodes, steps = [Node(Stage.BATCH)], {Stage.BATCH: united.first_step}
    for stage in MERGED:
        merged = compare_merged(left, right, limit, stage)
        if merged.why:
            notes.append(f"{stage.word} was not compared: {merged.why}")
            continue
        nodes.append(Node(stage))
        steps[stage] = merged.first_step
        if merged.first_step is not None:
            notes.append(
                f"{stage.word}: {merged.site} is the first to differ, at step {merged.first_step}; sums over another number of ranks "
                "round differently"
            )
    differences = {
        node: NodeDifference(node, step, None, "content", (), True, 0, step)
        for node in nodes
        if (step := steps[node.stage]) is not None
    }
    return PairComparison(left, right, limit, differences, frozenset(nodes), {}, "", tuple(notes), united)


def _node_differences(
    left: RunReader, right: RunReader, node: Node, group: list[StreamDifference], limit: int | None
) -> list[NodeDifference]:
    """Returns one difference of a node. Random states are split into used ones (main process, workers) and unused ones, and the update
    into what optimizers have before their step and the rest."""
    whole = _node_difference(left, right, node, group, limit)
    if node == UPDATE and any(is_before_step(site.site) for site in whole.sites):
        return _parts_of_update(left, right, whole, group, limit)
    if node.stage is Stage.LISTING and not whole.sites and all(d.differing_steps == 1 for d in group):
        return []  # the same names in the same order, in a folder with another path
    if node.stage is Stage.INIT and not whole.sites:
        return []  # values that were kept for a closer look
    if node.stage is not Stage.RNG:
        return [whole]
    parts: list[NodeDifference] = []
    for stream in group:
        sides = Side.of(left, stream.left, limit), Side.of(right, stream.right, limit)
        for part, used in zip(("", WORKERS), used_generators(*sides, stream), strict=True):
            if used is not None and all(p.node.part != part for p in parts):
                kind = kind_of(used.sites)
                part_node = Node(node.stage, node.phase, part)
                rank = stream.left.rank
                parts.append(
                    NodeDifference(part_node, used.step, whole.equal_from, kind, used.sites, False, rank, used.step)
                )
    return parts or [replace(whole, node=Node(node.stage, node.phase, UNUSED))]


def _parts_of_update(
    left: RunReader, right: RunReader, whole: NodeDifference, group: list[StreamDifference], limit: int | None
) -> list[NodeDifference]:
    """Returns what differs before a step, which decides nothing, and the first update that differs, if there is one."""
    sites = settings_first(whole.sites)
    parts = [replace(whole, node=PREPARED, sites=sites, kind=kind_of(sites), deciding=False, equal_from=None)]
    sides = [(Side.of(left, d.left, limit), Side.of(right, d.right, limit), d) for d in group]
    updates = [found for ours, theirs, d in sides if (found := first_update(ours, theirs, d)) is not None]
    if updates:
        update = _node_difference(left, right, UPDATE, updates, limit)
        sites = tuple(site for site in update.sites if not is_before_step(site.site))
        parts.append(replace(update, sites=sites, kind=kind_of(sites)))
    return parts


def _node_difference(
    left: RunReader, right: RunReader, node: Node, group: list[StreamDifference], limit: int | None
) -> NodeDifference:
    first = min(group, key=lambda d: (d.step, d.left.rank))
    aligned = align(_records(left, first.left, first.step), _records(right, first.right, first.step))
    sites = tuple(site for site in aligned if not site.site.startswith(KEPT))
    ends = [d.equal_from for d in group]
    equal_from = None if None in ends else max(end for end in ends if end is not None)
    deciding = node.stage in DECIDING
    if node.stage is Stage.ARTIFACT and isinstance(left, ShiftedRun):
        # A resumed run may save other files, such as a new best model, because it does not know what was saved before.
        apart = min(
            (found for d in group if (found := _saved_by_both(left, right, d, limit)) is not None),
            key=lambda found: found[0].step,
            default=None,
        )
        deciding = apart is not None
        if apart is not None:
            first, sites = apart
    elif node.stage is Stage.ARTIFACT:
        deciding = any(_tensors_differ(left, right, d, limit) for d in group)
    kind = "structure" if first.structural else kind_of(sites)
    earliest = min(d.since for d in group)
    ranks = tuple(sorted(d.left.rank for d in group if d.step == first.step))
    return NodeDifference(node, first.step, equal_from, kind, sites, deciding, first.left.rank, earliest, ranks)


def _records(reader: RunReader, key: StreamKey, step: int) -> list[Fingerprint]:
    return reader.records(key, step) if key in reader.streams() else []


def _saved_by_both(
    left: RunReader, right: RunReader, d: StreamDifference, limit: int | None
) -> tuple[StreamDifference, tuple[SiteDifference, ...]] | None:
    """Returns the first step in which both runs saved a tensor that differs, and what differs of all that both saved; None: there is none
    among the first ARTIFACT_STEPS_MAX differing steps."""
    differing = _differing_steps(Side.of(left, d.left, limit), Side.of(right, d.right, limit))
    for step in itertools.islice(differing, ARTIFACT_STEPS_MAX):
        sites = align(_records(left, d.left, step), _records(right, d.right, step))
        both = tuple(site for site in sites if site.left is not None and site.right is not None)
        if any(site.is_tensor for site in both):
            return replace(d, step=step, structural=False), both
    return None


def _differing_steps(left: Side, right: Side) -> Iterator[int]:
    return (step for step, a, b in compared_steps(left, right, 0) if a is None or b is None or a.sum != b.sum)


def _tensors_differ(left: RunReader, right: RunReader, d: StreamDifference, limit: int | None) -> bool:
    """Returns whether a tensor differs in a saved artifact. True if there are more than ARTIFACT_STEPS_MAX differing steps."""
    differing = _differing_steps(Side.of(left, d.left, limit), Side.of(right, d.right, limit))
    for examined, step in enumerate(differing, 1):
        sites = align(_records(left, d.left, step), _records(right, d.right, step))
        if examined > ARTIFACT_STEPS_MAX or not sites or any(site.is_tensor for site in sites):
            return True
    return False
