"""Causes that enter with an optimizer, from what runs record before its step."""

from __future__ import annotations

from typing import Any

import pytest
from detctl_coordinator.domain.verdict import Verdict

from tests.support.judged_runs import across, first, within
from tests.support.memory_runs import RunBuilder

MADE = {"by": "constructor", "file": "{cwd}/train.py", "line": 9}
NAMES = ["net.0.weight", "net.1.weight"]


def settings(b: RunBuilder, step: int, value: object, **options: Any) -> RunBuilder:
    """What a run records of its one optimizer before a step."""
    writer = options.pop("writer", MADE)
    more = {key: options.pop(key) for key in ("order", "loaded", "schedulers") if key in options}
    groups = [{"lr": 0.1, "weight_decay": 0.0, **options}]
    names = [f"group0.{key}" for key in groups[0]]
    evidence = {"whole": step, "options": groups, "writers": [{**writer, "settings": names}], "members": "m", **more}
    return b.add("update", step, "optimizer1/settings", value, dtype="py:settings", shape=(1,), evidence=evidence)


def restored(
    twin: int, *, order: Any = None, values: tuple[str, str] | None = None, note: bool = True, **found: Any
) -> Any:
    """A change of a twin that restores a state before step 2, from which on its weights are its own."""

    def change(b: RunBuilder) -> RunBuilder:
        b.change("update", 2, ("w", twin))  # first: it changes every site of the stage
        moved = values or (("a", "b") if twin == 0 else ("b", "a"))
        for name, value in zip(NAMES, moved, strict=True):
            b.add("update", 2, f"optimizer1/state/{name}.exp_avg", value)
        loaded = {"file": "{cwd}/train.py", "line": 43}
        settings(b, 2, "same", order=order or f"order {twin}", loaded=loaded)
        if note:
            what = {"optimizer": "optimizer1", "elements": "tensor", "seen": True, "file": "{cwd}/train.py", "line": 13}
            code = {"code": "unique = set(parameters)", "expression": "set(parameters)", "argument": "parameters"}
            b.note("parameter-order", "an order of its own", **{**what, **code, **found})
        return b

    return change


def twins(**more: Any) -> Verdict:
    return within(lambda b, twin: restored(twin, **more)(b))


def test_state_of_other_parameters_is_the_first_difference_and_names_what_orders_them() -> None:
    verdict = twins()
    cause = verdict.causes[0]
    assert (cause.cause, cause.origin, cause.step) == ("identity-seed", "code", 2)
    assert verdict.first_divergence is not None
    assert verdict.first_divergence.site == "update/optimizer1/state/net.0.weight.exp_avg"
    assert cause.fix_at == "train.py:13" or cause.fix_at == "{cwd}/train.py:13"
    assert cause.change == ["- unique = set(parameters)", "+ unique = list(dict.fromkeys(parameters))"]


def test_a_set_of_names_is_ordered_by_hashes() -> None:
    found = {"elements": "str", "expression": "decay", "argument": "", "code": "[table[n] for n in decay]"}
    cause = twins(**found).causes[0]
    assert cause.cause == "hash-order"
    assert cause.change == ["- [table[n] for n in decay]", "+ [table[n] for n in sorted(decay)]"]


@pytest.mark.parametrize(
    "more", [{"order": "same"}, {"note": False}, {"values": ("a", "c")}], ids=["same order", "no set", "other values"]
)
def test_another_state_alone_names_no_order(more: dict[str, Any]) -> None:
    def change(b: RunBuilder, twin: int) -> RunBuilder:
        return restored(twin, **{**more, **({"values": ("a", twin)} if "values" in more else {})})(b)

    cause = within(change).causes[0]
    assert (cause.cause, cause.stage, cause.step) == ("unknown", "update", 2)


def test_a_set_of_parameters_that_changes_nothing_is_no_difference() -> None:
    def change(b: RunBuilder, twin: int) -> RunBuilder:
        what = {"optimizer": "optimizer1", "elements": "tensor", "seen": True, "file": "{cwd}/t.py", "line": 3}
        b.note("parameter-order", "an order of its own", **what)
        return settings(b, 0, "same", order=f"order {twin}")

    assert within(change).outcome == "identical"


@pytest.mark.parametrize("restores", [0, 1])
def test_a_run_that_restores_what_it_has_trains_as_before(restores: int) -> None:
    def change(b: RunBuilder, twin: int) -> RunBuilder:
        if twin == restores:
            b.add("update", 2, "optimizer1/state/net.0.weight.exp_avg", "a")
        return b

    verdict = within(change)
    assert (verdict.outcome, verdict.updates_equal) == ("identical", 4)
    assert [one.site for one in verdict.benign] == ["update/optimizer1/state/net.0.weight.exp_avg"]


def test_a_setting_without_effect_decides_nothing() -> None:
    verdict = within(lambda b, twin: settings(settings(b, 0, ("eps", twin), eps=twin), 1, ("eps", twin), eps=twin))
    assert (verdict.outcome, verdict.updates_equal) == ("identical", 4)


def test_a_setting_acts_at_a_later_step_and_is_still_the_root() -> None:
    def change(b: RunBuilder, twin: int) -> RunBuilder:
        b.change("update", 2, ("w", twin))
        for step in range(4):
            settings(b, step, ("momentum", twin), momentum=twin)
        return b

    verdict = within(change)
    cause = verdict.causes[0]
    assert (verdict.outcome, cause.cause, cause.step) == ("different", "unknown", 0)
    assert cause.site == "update/optimizer1/settings"
    assert any("group0.momentum differs: 0 vs 1" in line for line in cause.evidence)
    assert cause.clues[0].call == "group0.momentum"
    assert (cause.clues[0].file, cause.clues[0].line) == ("{cwd}/train.py", 9)


@pytest.mark.parametrize(
    ("calls", "word"),
    [(["time.time"], "identity-seed"), (["hash"], "unknown"), (["time.time", "hash"], "unknown"), ([], "unknown")],
    ids=["clock", "hash that is fixed", "two sources", "none"],
)
def test_a_learning_rate_of_each_process(calls: list[str], word: str) -> None:
    def change(b: RunBuilder, twin: int) -> RunBuilder:
        b.change("update", 1, ("w", twin))
        return settings(b, 1, ("lr", twin), lr=twin, writer={**MADE, "calls": calls})

    cause = within(change).causes[0]
    assert (cause.cause, cause.fix_at) == (word, "{cwd}/train.py:9")
    assert cause.change == []


def test_a_clock_that_the_function_of_a_scheduler_reads() -> None:
    def change(b: RunBuilder, twin: int, use: str = "value") -> RunBuilder:
        b.change("update", 1, ("w", twin))
        read = {"source": "clock", "call": "time.time", "use": use, "used_in": "{cwd}/schedule.py", "used_at": 12}
        b.note("outside", "time.time reads the clock", file="{cwd}/schedule.py", line=12, **read)
        return settings(b, 1, ("lr", twin), lr=twin, writer={"by": "scheduler", "file": "{cwd}/train.py", "line": 11})

    (cause,) = within(change).causes
    assert (cause.cause, cause.fix_at) == ("identity-seed", "{cwd}/schedule.py:12")
    (cause,) = within(lambda b, twin: change(b, twin, use="")).causes
    assert cause.cause == "unknown"


@pytest.mark.parametrize(("clock", "word"), [(False, "unseeded-rng"), (True, "unknown")])
def test_a_private_generator_explains_a_learning_rate_unless_something_else_may(clock: bool, word: str) -> None:
    """A noisy score reaches a scheduler: states, weights and gradients agree until the learning rate differs."""

    def change(b: RunBuilder, twin: int) -> RunBuilder:
        b.change("update", 2, ("w", twin))
        b.note("self-seeded", "takes a seed", call="torch.Generator.seed", file="{cwd}/train.py", line=4)
        if clock:
            read = {"source": "clock", "call": "time.time", "use": "control", "file": "{cwd}/train.py", "line": 8}
            b.note("outside", "the clock is read", **read)
        return settings(b, 2, ("lr", twin), lr=twin)

    cause = within(change).causes[0]
    assert cause.cause == word
    assert any("group0.lr differs" in line for line in cause.evidence)


def test_an_option_that_sets_a_learning_rate_is_config_drift_with_the_line() -> None:
    def change(b: RunBuilder) -> RunBuilder:
        b.fact("recipe", {**b.facts["recipe"], "parameters": {"lr": "0.2"}})
        return settings(b, 0, "other", lr=0.2).carry("update", value="other")

    verdict = across(change, lambda b: settings(b, 0, "same", lr=0.1) if b.spec.arm.machine == "gpu1" else b)
    assert first(verdict) == ("config-drift", "environment", "update", 0)
    assert verdict.causes[0].fix_at == "{cwd}/train.py:9"
    assert any("0.1 vs 0.2" in line for line in verdict.causes[0].evidence)


def test_the_scale_of_a_loss_is_a_setting() -> None:
    def scaled(b: RunBuilder, scale: float) -> RunBuilder:
        b.rows = [row for row in b.rows if row.stage.word != "loss"]
        for step in range(4):
            b.add("loss", step, "loss", ("l", step, scale), evidence={"scale": scale})
        return b

    verdict = across(
        lambda b: scaled(b.fact("torch", {**b.facts["torch"], "threads": 8}), 1024.0).carry("update"),
        lambda b: scaled(b, 65536.0) if b.spec.arm.machine == "gpu1" else b,
    )
    assert first(verdict)[0] == "config-drift"
    assert any("65536 vs 1024" in line for line in verdict.causes[0].evidence)
