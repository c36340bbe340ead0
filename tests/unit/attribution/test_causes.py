"""Each cause of issue 1 from runs that carry its signature, through the whole of judge()."""

from __future__ import annotations

from dataclasses import replace

import pytest
from detctl_coordinator.attribution.verdict.changes import change_of

from tests.support.judged_runs import EVERYTHING, MODEL, Make, across, first, judged, within
from tests.support.memory_runs import MemoryRun, RunBuilder, digest_of, sketch_of

WORKERS = (("param:workers", "2"),)


def permuted_listing(builder: RunBuilder) -> RunBuilder:
    row = builder.rows[0]
    assert row.rows is not None
    evidence = {"call": "os.listdir", "file": "{cwd}/train.py", "line": 31}
    builder.rows[0] = replace(row, digest=digest_of("moved"), rows=row.rows[::-1], evidence=evidence)
    return builder


def test_filesystem_order() -> None:
    verdict = across(lambda b: permuted_listing(b).carry("sample", "batch", *MODEL))
    assert first(verdict) == ("filesystem-order", "environment", "listing", 0)
    assert (verdict.outcome, verdict.origin, verdict.causes[0].kind) == ("different", "environment", "permutation")
    assert len(verdict.causes) == 1 and "train.py:31" in verdict.causes[0].fix
    assert verdict.causes[0].carried_on_to == ["sample", "batch", *MODEL]
    assert verdict.groups == [
        ["gpu1/default/base/twin-0", "gpu1/default/base/twin-1"],
        ["gpu2/default/base/twin-0", "gpu2/default/base/twin-1"],
    ]
    assert verdict.machines["gpu1"].repeats_itself and verdict.machines["gpu2"].repeats_itself


def test_sorted_later_is_benign() -> None:
    verdict = across(permuted_listing)
    assert verdict.outcome == "identical" and verdict.benign[0].stage == "listing"
    assert not verdict.causes and verdict.first_divergence is None


def test_unseeded_rng_names_its_line() -> None:
    def unseeded(b: RunBuilder, twin: int) -> RunBuilder:
        b.note(
            "unseeded-rng", "the global generator of torch is used", generator="torch", file="{cwd}/train.py", line=7
        )
        return b.carry("rng", *EVERYTHING, value=twin)

    verdict = within(unseeded)
    assert first(verdict) == ("unseeded-rng", "code", "rng", 0)
    assert verdict.origin == "code" and verdict.causes[0].fix == "Seed torch before {cwd}/train.py:7."
    assert verdict.machines["gpu1"].repeats_itself is False


def test_a_seed_that_the_program_has_and_did_not_set_stays_in_the_fix() -> None:
    """`if args.seed is not None: torch.manual_seed(args.seed)`, started without --seed."""

    def unseeded(b: RunBuilder, twin: int) -> RunBuilder:
        b.note("unseeded-rng", "torch is used", generator="torch", file="{cwd}/train.py", line=7)
        b.fact("source", {"lines": [], "orders": [], "calls": ["torch.manual_seed"], "loaders": []})
        return b.carry("rng", *EVERYTHING, value=twin)

    cause = within(unseeded).causes[0]
    assert cause.cause == "unseeded-rng"
    assert "torch.manual_seed(seed)" in cause.change[0]
    assert "was not made" in cause.fix and "--seed" in cause.fix


def test_initial_values_without_a_draw_that_was_seen() -> None:
    verdict = within(lambda b, twin: b.carry("init", *MODEL, value=twin))
    assert first(verdict) == ("unknown", "code", "init", 0)


def test_a_generator_of_a_package_is_seeded_where_the_package_is_called() -> None:
    text = "numpy.random.RandomState without a seed takes one from the system, inside optuna"

    def unseeded(b: RunBuilder, twin: int) -> RunBuilder:
        b.note("unseeded-rng", text, call="numpy.random.RandomState", package="optuna", file="{cwd}/train.py", line=7)
        return b.carry("batch", *MODEL, value=twin)

    cause = within(unseeded).causes[0]
    assert (cause.cause, cause.fix) == ("unseeded-rng", "Pass a seed to optuna at {cwd}/train.py:7.")
    assert change_of(cause.cause, cause.clues) == []  # how optuna takes a seed is not known


@pytest.mark.parametrize(("noted", "cause"), [(True, "unseeded-rng"), (False, "unknown")])
def test_a_learning_rate_that_was_drawn_is_shown_and_blamed_on_what_draws_unseeded(noted: bool, cause: str) -> None:
    def searched(b: RunBuilder, twin: int) -> RunBuilder:
        if noted:
            b.note("unseeded-rng", "random.Random without a seed", call="random.Random", file="{cwd}/train.py", line=7)
        for step in range(4):
            b.add("update", step, "group0.lr", twin, evidence={"options": {"lr": 0.1 + twin, "momentum": 0.9}})
        return b

    found = within(searched).causes[0]
    assert (found.cause, found.stage) == (cause, "update")
    assert "group0.lr differs: 0.1 vs 1.1" in found.evidence
    assert not any("momentum" in line for line in found.evidence)


def test_a_learning_rate_that_an_option_sets_is_not_blamed_on_what_draws_unseeded() -> None:
    runs = []
    for name, rate in (("one", "0.1"), ("two", "0.2")):
        builder = RunBuilder("gpu1", audit=name, run_id=name).train().asked(parameters={"lr": rate})
        builder.fact("recipe/parameters/lr", rate)
        builder.note("unseeded-rng", "random.Random without a seed", call="random.Random", file="{cwd}/a.py", line=7)
        for step in range(4):
            builder.add("update", step, "group0.lr", rate, evidence={"options": {"lr": float(rate)}})
        runs.append(builder.build())
    assert [cause.cause for cause in judged(*runs).causes] == ["config-drift"]


def test_weights_that_were_drawn_before_the_first_seed() -> None:
    def late(b: RunBuilder, twin: int) -> RunBuilder:
        text = "the global generator of torch was drawn from before torch.manual_seed was first called"
        b.note("drawn-before-seed", text, generator="torch", file="{cwd}/train.py", line=21)
        return b.carry("init", *MODEL, value=twin)

    cause = within(late).causes[0]
    assert cause.cause == "unseeded-rng" and "start of the script" in cause.fix
    assert any("before torch.manual_seed" in line and "train.py:21" in line for line in cause.evidence)
    assert not any("private generator" in line for line in cause.evidence)


def test_no_worker_init_fn_reaches_a_generator_that_a_worker_makes() -> None:
    def made(b: RunBuilder, twin: int) -> RunBuilder:
        text = "random.Random without a seed takes one from the system"
        b.note("unseeded-rng", text, call="random.Random", role="worker", file="{cwd}/train.py", line=12)
        return b.carry("sample", "batch", *MODEL, value=twin)

    cause = within(made).causes[0]
    assert cause.cause == "worker-seeding"
    assert cause.fix.startswith(
        "Seed the generator at {cwd}/train.py:12, and derive the seed from torch.initial_seed()"
    )
    assert change_of(cause.cause, cause.clues)[1] == "+ random.Random(torch.initial_seed() % 2**32)"


def test_worker_seeding() -> None:
    def seeded_main(b: RunBuilder, twin: int) -> RunBuilder:
        for step in range(4):
            b.add("rng", step, "worker0/numpy", (twin, step))
        return b.carry("sample", "batch", *MODEL, value=twin)

    assert first(within(seeded_main))[:2] == ("worker-seeding", "code")


def test_identity_seed_from_the_clock() -> None:
    def clock(b: RunBuilder, twin: int) -> RunBuilder:
        evidence = {"value": str(1_700_000_000 + twin), "file": "{cwd}/train.py", "line": 3}
        b.add("rng", 0, "seed/torch.manual_seed", twin, evidence=evidence, dtype="py:int")
        b.note("identity", "the seed of torch.manual_seed looks like the clock", file="{cwd}/train.py", line=3)
        return b.carry("rng", *EVERYTHING, value=twin)

    verdict = within(clock)
    assert first(verdict)[:3] == ("identity-seed", "code", "rng")
    assert any("train.py:3" in line for line in verdict.causes[0].evidence)


def test_identity_seed_from_the_host_is_code_though_twins_agree() -> None:
    def host(b: RunBuilder) -> RunBuilder:
        value = {"value": b.spec.arm.machine, "file": "{cwd}/train.py", "line": 3}
        return b.add("rng", 0, "seed/random.seed", b.spec.arm.machine, evidence=value, dtype="py:str")

    verdict = across(lambda b: b.carry("rng", *EVERYTHING), both=host)
    assert first(verdict)[:2] == ("identity-seed", "code") and verdict.origin == "code"


def test_a_seed_that_comes_from_a_variable_names_the_variable_and_its_line() -> None:
    def seeded(b: RunBuilder) -> RunBuilder:
        name = b.spec.arm.machine
        value = {"value": name, "file": "{cwd}/train.py", "line": 3}
        return reads("NODE_NAME", name)(b).add("rng", 0, "seed/random.seed", name, evidence=value, dtype="py:str")

    verdict = across(lambda b: b.carry("rng", *EVERYTHING), both=seeded)
    assert [c.cause for c in verdict.causes] == ["identity-seed"]
    assert any(
        "NODE_NAME differs: gpu1 vs gpu2, read at {cwd}/train.py:5" in line for line in verdict.causes[0].evidence
    )


def test_extra_rng_draw() -> None:
    def draws(b: RunBuilder, twin: int) -> RunBuilder:
        return b.carry("rng", "order", *MODEL, step=2) if twin == 1 else b

    verdict = within(draws)
    assert first(verdict) == ("extra-rng-draw", "code", "rng", 2)
    assert any("weights were still equal" in line for line in verdict.causes[0].evidence)


def test_a_run_that_ends_earlier_has_drawn_nothing_more() -> None:
    runs = [RunBuilder("gpu1", twin).train(steps=4).build() for twin in (0, 1)]
    runs += [RunBuilder("gpu2", twin).train(steps=2).build() for twin in (0, 1)]
    verdict = judged(*runs)
    assert verdict.outcome == "different" and "extra-rng-draw" not in [cause.cause for cause in verdict.causes]


def test_twins_of_different_length_are_reported() -> None:
    runs = [RunBuilder("gpu1", twin).train(steps=4 - twin).build() for twin in (0, 1)]
    cause = judged(*runs).causes[0]
    assert cause.cause == "unknown" and "not by the clock" in cause.fix
    assert cause.evidence[0] == "The second run exits after 3 steps, and the other continues."


def test_hash_order() -> None:
    def hashed(b: RunBuilder, twin: int) -> RunBuilder:
        b.facts["variables"] = {}
        for at, row in enumerate(b.rows):
            if row.stage.word == "order" and twin and row.rows:
                b.rows[at] = replace(row, digest=digest_of(("set", row.step)), rows=row.rows[::-1])
        return b.carry("sample", "batch", *MODEL, value=twin)

    assert first(within(hashed)) == ("hash-order", "code", "order", 0)


def test_library_version_names_both() -> None:
    def newer(b: RunBuilder) -> RunBuilder:
        b.fact("python/packages/torch", "2.15.0").fact("torch/version", "2.15.0")
        return b.carry("init", *MODEL)

    verdict = across(newer, environment="newest", machine="gpu1")
    assert first(verdict)[:2] == ("library-version", "environment") and verdict.origin == "environment"
    assert any("2.13.0 vs 2.15.0" in line for line in verdict.causes[0].evidence)


def test_worker_count_varied_on_purpose() -> None:
    def two(b: RunBuilder) -> RunBuilder:
        b.asked(parameters={"workers": "2"}).fact("recipe/parameters/workers", "2")
        b.carry("sample", "batch", *MODEL).change("rng", 1, "drawn elsewhere")
        return b.change("code", 0, "--workers 2")

    verdict = across(
        two,
        both=lambda b: (
            b.asked(parameters={"workers": "0"}).add("code", 0, "command", "x").fact("recipe/parameters/workers", "0")
        ),
        machine="gpu1",
        variation=WORKERS,
    )
    assert [c.cause for c in verdict.causes] == ["worker-count"]
    assert verdict.origin == "environment"


def test_config_drift_comes_last() -> None:
    def drifted(b: RunBuilder) -> RunBuilder:
        return b.fact("recipe/parameters/lr", "0.2").carry("update").carry("forward", "loss", "backward", step=1)

    verdict = across(drifted, both=lambda b: b.fact("recipe/parameters/lr", "0.1"))
    assert first(verdict) == ("config-drift", "environment", "update", 0)
    narrower = across(
        lambda b: drifted(b).fact("recipe/source_digest", "s2"), both=lambda b: b.fact("recipe/parameters/lr", "0.1")
    )
    assert first(narrower)[0] == "code-version"


def test_thread_count() -> None:
    def threads(b: RunBuilder) -> RunBuilder:
        b.fact("variables/OMP_NUM_THREADS", "1").fact("torch/threads", 1)
        return b.carry("backward", "update").carry("forward", "loss", step=1)

    verdict = across(threads)
    assert first(verdict) == ("thread-count", "environment", "backward", 0)
    assert any("forward pass is bit-identical" in line for line in verdict.causes[0].evidence)


def slow_cpu(b: RunBuilder) -> RunBuilder:
    return b.fact("torch/cpu_capability", "DEFAULT").carry("init", *MODEL)


def test_cpu_isa_native_is_hardware() -> None:
    verdict = across(slow_cpu)
    assert first(verdict) == ("cpu-isa", "hardware", "init", 0) and verdict.origin == "hardware"


def test_cpu_isa_by_variable_is_environment() -> None:
    verdict = across(lambda b: slow_cpu(b).fact("variables/ATEN_CPU_CAPABILITY", "default"))
    assert first(verdict)[:2] == ("cpu-isa", "environment") and verdict.origin == "environment"


def test_cpu_isa_emulated_is_hardware_and_reported() -> None:
    def emulated(b: RunBuilder) -> RunBuilder:
        b.fact("environment/emulate", {"cpu": "default"}).fact("variables/ATEN_CPU_CAPABILITY", "default")
        return slow_cpu(b)

    verdict = across(emulated, environment="old", machine="gpu1")
    assert first(verdict)[:2] == ("cpu-isa", "hardware") and verdict.origin == "hardware"
    assert verdict.emulated[0].emulates == {"cpu": "default"} and "EMULATED" in verdict.summary[0]


def test_hardware_alone_is_never_named() -> None:
    verdict = across(lambda b: b.fact("machine/cpu_model", "other").carry(*MODEL))
    assert first(verdict)[0] == "unknown"
    assert verdict.origin is None and verdict.not_separated == ["environment", "hardware"]


@pytest.mark.parametrize(("value", "cause"), [(2.25, "hardware-fault"), (2.3, "unknown")])
def test_hardware_fault_needs_the_mark_of_a_bit(value: float, cause: str) -> None:
    def run(machine: str, twin: int, sketched: list[float]) -> MemoryRun:
        b = RunBuilder(machine, twin).train().fact("torch/flags", {"deterministic_algorithms": True})
        b.add("forward", 3, "head", sketched, sketch=sketch_of(sketched))
        return b.build()

    good = [1.0, 2.0]
    verdict = judged(run("gpu1", 0, good), run("gpu1", 1, [1.0, value]), run("gpu2", 0, good), run("gpu2", 1, good))
    assert first(verdict)[0] == cause
    assert verdict.origin == ("hardware" if cause == "hardware-fault" else "code")


def test_two_causes_show_in_one_pass() -> None:
    def both(b: RunBuilder) -> RunBuilder:
        permuted_listing(b).carry("sample", "batch", *MODEL)
        return slow_cpu(b)

    verdict = across(both)
    assert [c.cause for c in verdict.causes] == ["filesystem-order", "cpu-isa"]
    assert verdict.origin == "environment"


def test_what_twins_disagree_on_is_not_blamed_on_machines() -> None:
    def run(machine: str, twin: int) -> MemoryRun:
        b = RunBuilder(machine, twin).train().carry("rng", "init", *MODEL, value=(machine, twin))
        return (permuted_listing(b).carry("sample", "batch") if machine == "gpu2" else b).build()

    verdict = judged(*(run(machine, twin) for machine in ("gpu1", "gpu2") for twin in (0, 1)))
    assert {c.cause for c in verdict.causes} == {"filesystem-order", "unseeded-rng"}


def test_a_harmless_random_state_of_twins_hides_nothing() -> None:
    def noisy(b: RunBuilder) -> RunBuilder:
        for step in range(4):
            b.add("rng", step, "random", (b.spec.label, step))
        return b

    verdict = across(slow_cpu, both=noisy)
    assert first(verdict)[:3] == ("cpu-isa", "hardware", "init")


def test_concurrency() -> None:
    def raced(b: RunBuilder, twin: int) -> RunBuilder:
        for at, row in enumerate(b.rows):
            if row.stage.word == "batch" and row.step == 2 and twin and row.rows:
                b.rows[at] = replace(row, digest=digest_of("raced"), rows=row.rows[::-1])
        return b.carry(*MODEL, step=2, value=twin)

    verdict = within(raced)
    assert first(verdict) == ("concurrency", "code", "batch", 2) and verdict.causes[0].kind == "permutation"


def test_worker_count_is_read_from_the_loaders_where_no_option_is_called_so() -> None:
    def loaded(number: int) -> Make:
        return lambda b: b.add("order", 0, "loader2", "order", evidence={"workers": number})

    def change(b: RunBuilder) -> RunBuilder:
        b.rows[-1] = replace(b.rows[-1], evidence={"workers": 2})
        return b.fact("recipe/parameters/n", "2").carry("sample", "batch", *MODEL)

    verdict = across(change, both=lambda b: loaded(0)(b).fact("recipe/parameters/n", "0"))
    assert first(verdict)[:3] == ("worker-count", "environment", "sample")
    assert verdict.causes[0].evidence[:2] == [
        "The number of active DataLoader workers differs: 0 vs 2.",
        "parameter n differs: 0 vs 2",
    ]


def test_filesystem_order_and_an_extra_draw_later_show_together() -> None:
    verdict = across(lambda b: permuted_listing(b).carry("sample", "batch", *MODEL).carry("rng", step=2))
    assert [(c.cause, c.step) for c in verdict.causes] == [("filesystem-order", 0), ("extra-rng-draw", 2)]


def test_an_extra_draw_inside_a_step_shows_in_the_forward_pass_first() -> None:
    verdict = within(lambda b, twin: b.carry(*MODEL, step=2).carry("rng", step=3) if twin else b)
    assert first(verdict) == ("extra-rng-draw", "code", "forward", 2) and len(verdict.causes) == 1


def test_hash_order_across_batches() -> None:
    def samples(b: RunBuilder, twin: int) -> RunBuilder:
        b.facts["variables"] = {}
        b.drop("sample")
        names = [f"name{i}" for i in range(16)]
        order = sorted(names, key=lambda name: digest_of((name, twin)))
        for step in range(4):
            b.add("sample", step, "__getitem__/0", rows=order[4 * step : 4 * step + 4])
        return b.carry("batch", *MODEL, value=twin)

    verdict = within(samples)
    assert first(verdict)[:3] == ("hash-order", "code", "sample") and verdict.causes[0].kind == "content"
    assert any("at other positions" in line for line in verdict.causes[0].evidence)


def test_hash_order_in_a_label_map() -> None:
    def labels(b: RunBuilder, twin: int) -> RunBuilder:
        b.facts["variables"] = {}
        b.add("sample", 0, "__getitem__/1", twin, dtype="int64")
        return b.carry("batch", "loss", "backward", "update", value=twin)

    assert first(within(labels))[:3] == ("hash-order", "code", "sample")


def test_labels_of_a_set_that_moved_by_little_are_no_race() -> None:
    def labels(b: RunBuilder, twin: int) -> RunBuilder:
        b.facts["variables"] = {}
        b.drop("sample")
        place = [1, 0, 3, 2, 5, 4, 7, 6] if twin else list(range(8))  # a map of names, by a set in another order
        for step in range(4):
            names = [(3 * step + i) % 8 for i in range(5)]
            b.add("sample", step, "__getitem__/0", rows=[f"x{step}.{i}" for i in range(5)])
            b.add("sample", step, "__getitem__/1", rows=[f"label{place[n]}" for n in names], dtype="int64")
        return b.carry("batch", *MODEL, value=twin)

    assert first(within(labels))[:3] == ("hash-order", "code", "sample")


def test_hashed_strings_are_not_called_an_unseeded_generator() -> None:
    def hashed(b: RunBuilder, twin: int) -> RunBuilder:
        b.facts["variables"] = {}
        b.drop("sample").drop("order").drop("batch")
        for step in range(4):
            b.add("batch", step, "input[0]", (twin, step), dtype="int64")
        return b.carry(*MODEL, value=twin)

    verdict = within(hashed)
    assert first(verdict)[:3] == ("unknown", "code", "batch")
    assert "PYTHONHASHSEED=0" in verdict.causes[0].fix


def test_samples_that_overtake_each_other_are_a_race_though_hashing_is_free() -> None:
    def raced(b: RunBuilder, twin: int) -> RunBuilder:
        b.facts["variables"] = {}
        b.drop("sample")
        names = [f"name{i + 1 - 2 * (i % 2) if twin else i}" for i in range(16)]  # neighbours change places
        for step in range(4):
            b.add("sample", step, "__getitem__", rows=names[4 * step + 1 : 4 * step + 5])
        return b.carry("batch", *MODEL, value=twin)

    assert first(within(raced))[:3] == ("concurrency", "code", "sample")


def test_a_shuffle_by_the_system_is_unseeded_and_no_hash_order() -> None:
    def shuffled(b: RunBuilder, twin: int) -> RunBuilder:
        b.facts["variables"] = {}
        b.drop("sample").note("identity", "random.SystemRandom gives another value in every run",
                              call="random.SystemRandom", file="{cwd}/train.py", line=9)  # fmt: skip
        order = sorted((f"name{i}" for i in range(16)), key=lambda name: digest_of((name, twin)))
        for step in range(4):
            b.add("sample", step, "__getitem__", rows=order[4 * step : 4 * step + 4])
        return b.carry("batch", *MODEL, value=twin)

    verdict = within(shuffled)
    assert first(verdict)[:3] == ("unseeded-rng", "code", "sample") and "train.py:9" in verdict.causes[0].fix


def reads(name: str, value: str) -> Make:
    def with_note(b: RunBuilder) -> RunBuilder:
        b.note("variable", f"the variable {name} is read", name=name, file="{cwd}/train.py", line=5)
        return b.fact(f"variables/{name}", value)

    return with_note


def test_a_variable_that_the_script_reads_is_config_drift_with_its_line() -> None:
    verdict = across(lambda b: reads("DROP_RATE", "0.5")(b).carry(*MODEL), both=reads("DROP_RATE", "0.1"))
    assert first(verdict)[:2] == ("config-drift", "environment") and verdict.origin == "environment"
    assert any("0.1 vs 0.5, read at {cwd}/train.py:5" in line for line in verdict.causes[0].evidence)


def test_a_variable_that_nobody_reads_is_no_suspect() -> None:
    verdict = across(lambda b: b.fact("variables/DROP_RATE", "0.5").carry(*MODEL))
    assert first(verdict)[0] == "unknown"


def test_an_evaluation_that_a_variable_turns_on_is_an_extra_draw() -> None:
    def evaluates(b: RunBuilder) -> RunBuilder:
        reads("EVALUATE", "1")(b).add("forward", 2, "net", "seen", phase="eval")
        return b.carry(*MODEL, step=2).carry("rng", step=3)

    verdict = across(evaluates)
    assert [c.cause for c in verdict.causes] == ["extra-rng-draw"]
    assert any("Only the second run evaluates at step 2" in line for line in verdict.causes[0].evidence)


def test_the_ranks_that_part_first_are_named() -> None:
    def ranks(builder: RunBuilder, *, parts: tuple[int, ...]) -> RunBuilder:
        for rank in range(3):
            builder.train(rank=rank)
            for step in range(4):
                fault = step >= 2 if rank in parts else step >= 3  # the others catch it a step later
                value = (rank, step, "fault" if parts and fault else "")
                builder.add("collective", step, "world/all_reduce/in", value, rank=rank)
        return builder

    for parts, text in (((1,), "at step 2, first on rank 1 of 3"), ((0, 1, 2), "at step 2 on all 3 ranks")):
        runs = [ranks(RunBuilder("gpu1", twin), parts=()).build() for twin in (0, 1)]
        runs += [ranks(RunBuilder("gpu2", twin), parts=parts).build() for twin in (0, 1)]
        cause = judged(*runs).causes[0]
        assert cause.stage == "collective" and any(text in line for line in cause.evidence), cause.evidence


@pytest.mark.parametrize(
    ("variable", "types", "shapes", "cause"),
    [
        ("TRAIN_FP16", ("float32", "float16"), ((4, 3), (4, 3)), "precision-mode"),
        ("ACCELERATE_MIXED_PRECISION", ("bfloat16", "float32"), ((2,), (2,)), "precision-mode"),
        ("ACCELERATE_MIXED_PRECISION", ("float32", "float16"), ((4, 3), (4, 2)), "unknown"),
        ("ACCELERATE_MIXED_PRECISION", ("float32", "int64"), ((4, 3), (4, 3)), "unknown"),
        ("BANNER", ("float32", "float16"), ((4, 3), (4, 3)), "unknown"),
    ],
)
def test_values_of_another_floating_point_type_under_another_setting_of_precision(
    variable: str, types: tuple[str, str], shapes: tuple[tuple[int, ...], tuple[int, ...]], cause: str
) -> None:
    runs = []
    for number, (dtype, shape) in enumerate(zip(types, shapes, strict=True)):
        builder = RunBuilder("gpu1", audit=str(number), run_id=str(number)).train()
        builder.fact(f"variables/{variable}", str(number))
        at, row = next((at, row) for at, row in enumerate(builder.rows) if row.stage.word == "forward")
        builder.rows[at] = replace(row, digest=digest_of(number), dtype=dtype, shape=shape)
        runs.append(builder.carry("loss", "backward", "update", value=number).build())
    assert [found.cause for found in judged(*runs).causes] == [cause]
