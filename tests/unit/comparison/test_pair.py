"""Two runs, stage by stage: roots, where differences propagate, benign differences, and a single fingerprint that differs."""

from __future__ import annotations

import math
from dataclasses import replace

from detctl_coordinator.comparison.first_divergence import Side, compare_streams, first_chain_difference
from detctl_coordinator.comparison.pair import compare_pair
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.domain.fingerprint import Phase, Stage, StreamKey

from tests.support.memory_runs import MemoryRun, RunBuilder, digest_of

DOWNSTREAM = ("forward", "loss", "backward", "update")
UPDATE = StreamKey(0, Stage.UPDATE)


def stage_names(nodes: list[Node]) -> list[str]:
    return [node.stage.word for node in nodes]


def test_bisection_reads_logarithmically_many_entries() -> None:
    steps = 4096
    left = RunBuilder()
    right = RunBuilder("gpu2")
    for step in range(steps):
        left.add("update", step, "w", step)
        right.add("update", step, "w", step if step < 2717 else -step)
    a, b = left.ended("exit", steps=steps).build(), right.ended("exit", steps=steps).build()
    sides = Side(a, UPDATE, steps), Side(b, UPDATE, steps)
    assert first_chain_difference(*sides) == 2717
    assert a.entry_reads == b.entry_reads <= 2 + math.log2(steps)
    assert a.record_reads == b.record_reads == 0


def test_equal_streams_cost_one_entry_each() -> None:
    a, b = RunBuilder().train(64).build(), RunBuilder("gpu2").train(64).build()
    assert first_chain_difference(Side(a, UPDATE, 64), Side(b, UPDATE, 64)) is None
    assert a.entry_reads == b.entry_reads == 1


def test_one_extra_record_is_structure_there_and_equal_from_the_next_step_on() -> None:
    a = RunBuilder().train(8).build()
    b = RunBuilder("gpu2").train(8).add("forward", 3, "net.head", "extra").build()
    pair = compare_pair(a, b)
    difference = pair.differences[Node(Stage.FORWARD)]
    assert (difference.step, difference.kind, difference.equal_from) == (3, "structure", 4)
    assert difference.lasting == "transient"
    assert stage_names(list(pair.differences)) == ["forward"]
    key = StreamKey(0, Stage.FORWARD)
    assert a.index[key][7].chain != b.index[key][7].chain  # chains never meet again, sums do


def test_a_lone_evaluation_in_one_run_is_over_once_both_train_on() -> None:
    lone = RunBuilder("gpu2").train(8).add("forward", 3, "net", "x", phase="EVAL").build()
    node = Node(Stage.FORWARD, Phase.EVAL)
    assert compare_pair(RunBuilder().train(8).build(), lone).differences[node].equal_from == 4
    last = RunBuilder("gpu2").train(8).add("forward", 7, "net", "x", phase="EVAL").build()
    assert compare_pair(RunBuilder().train(8).build(), last).differences[node].equal_from is None
    other = [
        RunBuilder(name).train(8).add("forward", 3, "net", name, phase="EVAL").build() for name in ("gpu1", "gpu2")
    ]
    assert compare_pair(*other).differences[node].equal_from is None  # both evaluated once, and it never was the same


def test_last_difference_is_persistent() -> None:
    a, b = RunBuilder().train(4).build(), RunBuilder("gpu2").train(4).change("update", 3, "x").build()
    assert compare_pair(a, b).differences[Node(Stage.UPDATE)].lasting == "persistent"


def test_the_same_records_in_another_program_order_are_equal() -> None:
    a = RunBuilder().train(2).add("backward", 1, "a", 1).add("backward", 1, "b", 2).build()
    b = RunBuilder("gpu2").train(2).add("backward", 1, "b", 2).add("backward", 1, "a", 1).build()
    key = StreamKey(0, Stage.BACKWARD)
    assert a.index[key][1].chain != b.index[key][1].chain
    assert compare_streams(Side(a, key, 2), Side(b, key, 2)) is None
    assert not compare_pair(a, b).differences


def test_listing_permutation_is_the_root_and_carries_on() -> None:
    a = RunBuilder().train().build()
    b = RunBuilder("gpu2").train()
    b.rows[0] = replace(b.rows[0], digest=digest_of("other order"), rows=b.rows[0].rows[::-1])  # type: ignore[index]
    pair = compare_pair(a, b.carry("sample", "batch", *DOWNSTREAM).build())
    assert [root.node.stage for root in pair.roots] == [Stage.LISTING]
    assert pair.roots[0].kind == "permutation"
    assert stage_names(pair.affected_by(pair.roots[0])) == ["sample", "batch", *DOWNSTREAM]
    assert pair.first is pair.roots[0]


def test_two_causes_are_two_roots() -> None:
    a = RunBuilder().train().build()
    b = RunBuilder("gpu2").train().carry("sample", "batch", *DOWNSTREAM, step=0)
    pair = compare_pair(a, b.change("rng", 3, "x").change("init", 0, "w").build())
    # init agrees with nothing before it; sample too; rng diverges alone at step 3
    assert [(root.node.stage, root.step) for root in pair.roots] == [
        (Stage.INIT, 0),
        (Stage.SAMPLE, 0),
        (Stage.RNG, 3),
    ]
    assert pair.benign == []


def test_a_random_state_that_parts_last_and_reaches_nothing_is_benign() -> None:
    pair = compare_pair(RunBuilder().train().build(), RunBuilder("gpu2").train().change("rng", 3, "x").build())
    assert [d.node.stage for d in pair.benign] == [Stage.RNG] and not pair.roots


def test_an_update_explains_the_next_step_and_not_its_own() -> None:
    a = RunBuilder().train().build()
    late = RunBuilder("gpu2").train().change("update", 1, "x").carry("forward", "loss", "backward", step=2).build()
    assert [root.node.stage for root in compare_pair(a, late).roots] == [Stage.UPDATE]
    same_step = RunBuilder("gpu2").train().change("update", 1, "x").change("forward", 1, "x").build()
    assert [root.node.stage for root in compare_pair(a, same_step).roots] == [Stage.FORWARD]


def test_a_parent_that_agrees_again_explains_nothing_later() -> None:
    a = RunBuilder().train(8).build()
    b = RunBuilder("gpu2").train(8).change("batch", 2, "x", onward=False).carry("forward", step=5).build()
    assert [root.node.stage for root in compare_pair(a, b).roots] == [Stage.BATCH, Stage.FORWARD]


def test_an_unobserved_stage_is_bridged() -> None:
    a = RunBuilder().train().drop("sample").build()
    b = RunBuilder("gpu2").train().drop("sample").carry("order", "batch", *DOWNSTREAM).build()
    assert [root.node.stage for root in compare_pair(a, b).roots] == [Stage.ORDER]


def test_benign_differences_do_not_decide() -> None:
    a = RunBuilder().train().build()
    b = RunBuilder("gpu2").train().carry("listing", "order", "sample").build()
    pair = compare_pair(a, b)
    assert not pair.different
    assert stage_names([d.node for d in pair.benign]) == ["listing", "order", "sample"]


def test_an_unseeded_generator_that_nobody_draws_from_is_no_root() -> None:
    def run(machine: str, value: str) -> RunBuilder:
        builder = RunBuilder(machine).train()
        for step in range(4):
            builder.add("rng", step, "random", value)
        return builder

    pair = compare_pair(run("gpu1", "a").build(), run("gpu2", "b").carry("init", *DOWNSTREAM).build())
    assert [root.node.stage for root in pair.roots] == [Stage.INIT]
    assert [d.node.part for d in pair.benign] == ["unused"]


def test_a_draw_from_a_seeded_generator_is_found_behind_an_idle_one() -> None:
    def run(machine: str, value: str) -> RunBuilder:
        builder = RunBuilder(machine).train(16)
        for step in range(16):
            builder.add("rng", step, "random", value)
        return builder

    b = run("gpu2", "b")
    for at, row in enumerate(b.rows):
        if row.stage is Stage.RNG and row.site == "torch" and row.step >= 9:
            b.rows[at] = replace(row, digest=digest_of(("drawn", row.step)))
    pair = compare_pair(run("gpu1", "a").build(), b.carry(*DOWNSTREAM, step=9).build())
    assert [(root.node.stage, root.step) for root in pair.roots] == [(Stage.RNG, 9)]


def test_tensors_in_an_artifact_decide_and_other_content_does_not() -> None:
    def run(machine: str, dtype: str, value: int) -> RunBuilder:
        return RunBuilder(machine).train().add("artifact", 3, "model.pt/epoch", value, dtype=dtype)

    plain = compare_pair(run("gpu1", "py:float", 1).build(), run("gpu2", "py:float", 2).build())
    assert not plain.different and stage_names([d.node for d in plain.benign]) == ["artifact"]
    assert compare_pair(run("gpu1", "float32", 1).build(), run("gpu2", "float32", 2).build()).different


def evaluated(machine: str, value: object) -> RunBuilder:
    return RunBuilder(machine).train().add("forward", 3, "net", value, phase="eval")


def test_evaluation_alone_is_benign_if_every_update_and_loss_agrees() -> None:
    a, b = evaluated("gpu1", 1).build(), evaluated("gpu2", 2).build()
    pair = compare_pair(a, b)
    assert not pair.different and pair.updates_equal == 4
    assert [d.node for d in pair.benign] == [Node(Stage.FORWARD, Phase.EVAL)] and not pair.roots
    assert compare_pair(a, b, strict=True).different and pair.with_evaluation().different


def test_evaluation_decides_if_the_training_was_not_recorded_whole() -> None:
    for stage in ("loss", "update"):
        a, b = evaluated("gpu1", 1).drop(stage).build(), evaluated("gpu2", 2).drop(stage).build()
        pair = compare_pair(a, b)
        assert pair.different and pair.updates_equal is None, stage
        a, b = evaluated("gpu1", 1), evaluated("gpu2", 2)
        a.detail["unobserved"].append({"stage": stage, "what": "a part", "why": "it has no values"})
        assert compare_pair(a.build(), b.build()).different, stage


def test_evaluation_decides_beside_anything_else_that_does() -> None:
    """It may have led to it: an early stop, a schedule, the choice of a checkpoint."""
    b = evaluated("gpu2", 2).carry("update", step=3).build()
    pair = compare_pair(evaluated("gpu1", 1).build(), b)
    assert pair.updates_equal is None and Node(Stage.FORWARD, Phase.EVAL) in [d.node for d in pair.roots]
    saved = [evaluated(f"gpu{i}", i).add("artifact", 3, "best.pt/w", i, phase="eval").build() for i in (1, 2)]
    pair = compare_pair(*saved)
    assert pair.different and pair.updates_equal == 4 and not pair.benign


def test_a_generator_that_is_drawn_from_is_not_benign_if_anything_decides() -> None:
    a = RunBuilder().train().build()
    b = (
        RunBuilder("gpu2")
        .train()
        .change("rng", 3, "x")
        .change("artifact", 3, "x")
        .change("update", 0, "w", onward=False)
    )
    pair = compare_pair(a, b.build())
    assert pair.different and all(not d.drawn_from for d in pair.benign)
    alone = compare_pair(a, RunBuilder("gpu2").train().change("rng", 2, "x").build())
    assert [d.drawn_from for d in alone.benign] == [True]


def test_a_shorter_run_is_structure_when_it_ended_by_itself_and_a_shorter_window_when_not() -> None:
    long = RunBuilder().train(8).build()
    short = compare_pair(long, RunBuilder("gpu2").train(5).build())
    assert short.different and short.first is not None
    assert (short.first.step, short.first.kind) == (5, "structure")
    cut = compare_pair(long, RunBuilder("gpu2").train(5).ended("stop", reason="stop").build())
    assert not cut.differences and cut.limit == 5


def test_schemes_and_levels_never_mix() -> None:
    a, b = RunBuilder().train().build(), RunBuilder("gpu2").train().build()
    b.scheme = "n7.v1"
    assert "scheme" in compare_pair(a, b).incomparable
    b.scheme, b.level = "n6.v1", "step"
    assert "level" in compare_pair(a, b).incomparable


def test_moved_ranks_are_matched_and_reported() -> None:
    def rank(builder: RunBuilder, number: int, data: str) -> None:
        for step in range(3):
            builder.add("batch", step, "0", (data, step), rank=number)
            builder.add("update", step, "w", step, rank=number)

    a, b = RunBuilder(), RunBuilder("gpu2")
    for builder, order in ((a, ("x", "y", "z")), (b, ("y", "z", "x"))):
        for number, data in enumerate(order):
            rank(builder, number, data)
        builder.ended("exit", steps=3)
    pair = compare_pair(a.build(), b.build())
    assert not pair.differences
    assert "rank 0 is 2" in pair.notes[0]


def test_other_world_sizes_compare_the_rows_of_all_ranks() -> None:
    def run(machine: str, ranks: list[list[str]]) -> RunBuilder:
        builder = RunBuilder(machine)
        for number, rows in enumerate(ranks):
            builder.add("batch", 0, "0", rows=rows, rank=number)
        return builder.ended("exit", steps=1)

    two, one = run("gpu1", [["a", "b"], ["c", "d"]]).build(), run("gpu2", [["a", "c", "b", "d"]]).build()
    pair = compare_pair(two, one)
    assert pair.united is not None and pair.united.first_step is None and not pair.different
    assert compare_pair(two, run("gpu2", [["a", "c", "b", "e"]]).build()).different


def test_other_world_sizes_compare_weights_whose_shards_add_up() -> None:
    def run(machine: str, shards: list[bytes], whole: str = "w", **evidence: object) -> MemoryRun:
        builder = RunBuilder(machine)
        for rank, digest in enumerate(shards):
            builder.add("batch", 0, "0", rows=["x"] if rank == 0 else [], rank=rank)
            for stage in ("init", "update"):
                more = {"evidence": {"shard": evidence}} if evidence else {}
                builder.add(stage, 0, "w", rank=rank, digest=digest, **more)
                builder.add(stage, 0, "replica", whole, rank=rank)
        return builder.ended("exit", steps=1).build()

    a, b = (12).to_bytes(8, "little") + bytes(8), (2**64 - 5).to_bytes(8, "little") + bytes(8)
    added = (7).to_bytes(8, "little") + bytes(8)
    one, two = run("gpu1", [added]), run("gpu2", [a, b], counts=True)
    pair = compare_pair(one, two)
    assert not pair.different and {node.stage for node in pair.observed} == {Stage.BATCH, Stage.INIT, Stage.UPDATE}
    assert {n.stage for n in compare_pair(one, run("gpu2", [a, a], counts=True)).differences} == {
        Stage.INIT,
        Stage.UPDATE,
    }
    assert compare_pair(one, run("gpu2", [a, b], "other", counts=True)).different

    inner = compare_pair(one, run("gpu2", [a, b], placements="Shard(dim=1)"))
    assert {node.stage for node in inner.observed} == {Stage.BATCH}
    assert any("sharded as Shard(dim=1)" in note for note in inner.notes)


def test_a_stage_that_one_side_could_not_watch_is_left_out_and_named() -> None:
    a = RunBuilder().train().build()
    b = RunBuilder("gpu2").train().drop("listing")
    b.detail["observers"] = {"listings": {"stage": "listing", "installed": True, "failed": "self-check"}}
    pair = compare_pair(a, b.build())
    assert not pair.differences and "self-check" in pair.one_sided[Stage.LISTING]


def test_a_folder_that_lies_elsewhere_is_the_same_folder() -> None:
    a, b = RunBuilder().train(), RunBuilder("gpu2").train()
    b.rows[0] = replace(b.rows[0], site="{arg1}")
    assert not compare_pair(a.build(), b.build()).differences
    moved = b.rows[0].rows
    assert moved is not None
    b.rows[0] = replace(b.rows[0], digest=digest_of("moved"), rows=moved[::-1])
    pair = compare_pair(a.build(), b.carry("sample", "batch", *DOWNSTREAM).build())
    assert [(root.node.stage, root.kind) for root in pair.roots] == [(Stage.LISTING, "permutation")]
