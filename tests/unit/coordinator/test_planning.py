"""From a request to runs: names, values, order, and what is refused."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace

import pytest
from detctl_coordinator.domain.audit import AuditRequest
from detctl_coordinator.domain.machine import Machine, OfferNote, Recipe
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.planning.plan import plan_runs
from detctl_proto.syntax.parameter_patterns import values_of

DIGITS = Recipe(
    "digits",
    source_digest="aa",
    parameters={"data": "/data", "workers": "2", "lr": "0.1", "optimizer": "sgd"},
    paths=("data",),
    patterns={"lr": r"0\.[0-9]+", "optimizer": "sgd|adam"},
)
GPT = Recipe("tiny_gpt", source_digest="cc", parameters={"lr": "0.1"})


def machine(name: str, *recipes: Recipe, environments: tuple[str, ...] = ("default",)) -> Machine:
    return Machine(name, "b1", recipes={r.name: r for r in recipes}, environments={e: {} for e in environments})


MACHINES = {
    "gpu1": machine("gpu1", DIGITS, GPT, environments=("default", "torch213")),
    "gpu2": machine("gpu2", replace(DIGITS, source_digest="bb")),
}
BOTH = AuditRequest("digits", ("gpu1", "gpu2"), twins=2)


def plan(request: AuditRequest, connected: tuple[str, ...] = ("gpu1", "gpu2")):
    return plan_runs(request, MACHINES, connected, "a1")


def refusal(request: AuditRequest) -> RefusedCallError:
    with pytest.raises(RefusedCallError) as caught:
        plan(request)
    assert "\n" not in caught.value.text
    return caught.value


def test_order_is_forwards_then_backwards():
    labels = [spec.label for spec in plan(BOTH).specs]
    assert labels == [f"{m}/default/base/twin-{t}" for m, t in (("gpu1", 0), ("gpu2", 0), ("gpu2", 1), ("gpu1", 1))]


def test_each_machine_is_held_to_the_source_that_it_announced():
    assert {spec.arm.machine: spec.expected_source_digest for spec in plan(BOTH).specs} == {"gpu1": "aa", "gpu2": "bb"}


def test_vary_is_a_product_and_makes_arms():
    request = replace(
        BOTH, machines=("gpu1",), twins=1, vary=(("workers", ("0", "2")), ("env:OMP_NUM_THREADS", ("1", "2")))
    )
    specs = plan(request).specs
    assert len({spec.arm.label for spec in specs}) == 4
    assert specs[0].arm.label == "gpu1/default/env:OMP_NUM_THREADS=1,workers=0"
    assert (specs[0].parameters, specs[0].variables) == ({"workers": "0"}, {"OMP_NUM_THREADS": "1"})


def test_set_holds_for_all_arms_and_makes_none():
    specs = plan(replace(BOTH, set=(("listing", "sorted"),))).specs
    assert {spec.arm.variation_label for spec in specs} == {"base"}
    assert all(spec.interventions == {"listing": "sorted"} for spec in specs)


@pytest.mark.parametrize(
    ("typed", "recipe", "kind"),
    [
        ("workers", "digits", "parameters"),  # the recipe's own parameter comes first (docs/adr/0020)
        ("workers", "tiny_gpt", "interventions"),
        ("probe:workers", "digits", "interventions"),
        ("param:workers", "digits", "parameters"),
        ("listing", "digits", "interventions"),
    ],
)
def test_what_a_name_means(typed, recipe, kind):
    value = "sorted" if typed == "listing" else "0"
    request = AuditRequest(recipe, ("gpu1",), twins=1, set=((typed, value),))
    (spec,) = plan(request).specs
    found = {"parameters": spec.parameters, "interventions": spec.interventions}[kind]
    assert found == {typed.split(":")[-1]: value}


@pytest.mark.parametrize(
    ("request_", "code", "says"),
    [
        (replace(BOTH, machines=("gpu1", "gpu3")), Code.NOT_FOUND, "there are: gpu1, gpu2"),
        (replace(BOTH, machines=("gpu1", "gpu")), Code.NOT_FOUND, "did you mean gpu"),
        (replace(BOTH, recipe="digit"), Code.NOT_FOUND, "did you mean digits?"),
        (replace(BOTH, recipe="tiny_gpt"), Code.NOT_FOUND, "machine gpu2 has no recipe 'tiny_gpt'"),
        (replace(BOTH, environments=("torch213",)), Code.NOT_FOUND, "machine gpu2 has no environment 'torch213'"),
        (
            replace(BOTH, set=(("momentum", "1"),)),
            Code.INVALID_ARGUMENT,
            "valid: attention, completion, data, ddp_buckets, deterministic",
        ),
        (replace(BOTH, set=(("OMP_NUM_THREADS", "1"),)), Code.INVALID_ARGUMENT, "did you mean env:OMP_NUM_THREADS?"),
        (replace(BOTH, set=(("env:LD_PRELOAD", "x.so"),)), Code.INVALID_ARGUMENT, "cannot be set in an audit"),
        (replace(BOTH, set=(("env:PATH", "/x"),)), Code.INVALID_ARGUMENT, "cannot be set in an audit"),
        (replace(BOTH, set=(("env:LANG", "a;b"),)), Code.INVALID_ARGUMENT, "the value must match"),
        (
            replace(BOTH, set=(("probe:momentum", "1"),)),
            Code.INVALID_ARGUMENT,
            "valid: attention, completion, ddp_buckets, deterministic, identity",
        ),
        (
            replace(BOTH, set=(("what:x", "1"),)),
            Code.INVALID_ARGUMENT,
            "the prefix must be one of param:, probe:, env:",
        ),
        (
            replace(BOTH, set=(("optimizer", "sgdd"),)),
            Code.INVALID_ARGUMENT,
            "machine gpu1 accepts only values that match sgd|adam",
        ),
        (replace(BOTH, set=(("data", "--rm"),)), Code.INVALID_ARGUMENT, "accepts"),
        (replace(BOTH, set=(("lr", "1" * 129),)), Code.INVALID_ARGUMENT, "at most 128 characters"),
        (replace(BOTH, set=(("lr", "1\x1b[31m"),)), Code.INVALID_ARGUMENT, "no control characters"),
        (replace(BOTH, set=(("data", "$(id)"),)), Code.INVALID_ARGUMENT, "accepts"),
        (replace(BOTH, set=(("listing", "random"),)), Code.INVALID_ARGUMENT, "listing must be sorted"),
        (
            replace(BOTH, set=(("workers", "1"),), vary=(("param:workers", ("1", "2")),)),
            Code.INVALID_ARGUMENT,
            "workers twice",
        ),
        (replace(BOTH, vary=(("lr", ("0.1", "0.1")),)), Code.INVALID_ARGUMENT, "different values"),
        (replace(BOTH, twins=101), Code.INVALID_ARGUMENT, "from 1 to 100"),
        (replace(BOTH, twins=100, vary=(("workers", tuple(map(str, range(6)))),)), Code.INVALID_ARGUMENT, "1200 runs"),
        (replace(BOTH, step_from=8, step_to=8), Code.INVALID_ARGUMENT, "contains no step"),
        (replace(BOTH, step_to=2**32), Code.INVALID_ARGUMENT, "at most"),
        (replace(BOTH, level="row"), Code.INVALID_ARGUMENT, "step or module or op"),
        (replace(BOTH, machines=("gpu1", "gpu1")), Code.INVALID_ARGUMENT, "named twice"),
        (replace(BOTH, machines=()), Code.INVALID_ARGUMENT, "no machine"),
        (replace(BOTH, recipe="\x1b[31mevil"), Code.NOT_FOUND, "no recipe"),
    ],
)
def test_refusals_name_what_is_wrong(request_, code, says):
    refused = refusal(request_)
    assert refused.code is code
    assert says in refused.text and "\x1b" not in refused.text


def test_a_machine_that_is_away_is_waited_for():
    assert plan(BOTH, connected=("gpu1",)).warnings == ("machine gpu2 is not connected now; its runs wait for it",)


def test_a_change_that_changes_nothing_is_said():
    (warning,) = plan(replace(BOTH, set=(("lr", "0.1"),))).warnings
    assert "changes nothing" in warning


@pytest.mark.parametrize(
    "pattern", ["(a|a)*$", "(.*a){20}", "(x+x+)+y", "(a+)+$", "[0-9]+", "(", "a{1,9999}{1,9999}", "\\"]
)
@pytest.mark.parametrize("value", ["a" * 127 + "!", "x" * 128, "a"])
def test_no_expression_of_a_machine_is_evaluated(pattern, value, monkeypatch):
    """Sample 4 of issue 5: `(a|a)*$` passed the look at its text and held the coordinator's loop for 19.7 s. Its machine decides."""
    hostile = replace(GPT, patterns={"lr": pattern}, parameters={"lr": ""})
    machines = {"gpu1": machine("gpu1", hostile)}
    requests = (
        AuditRequest("tiny_gpt", ("gpu1",), twins=1, set=(("lr", value),)),
        AuditRequest("tiny_gpt", ("gpu1",), twins=1, vary=(("lr", (value, "b")),)),
        AuditRequest("tiny_gpt", ("gpu1",), twins=1),
    )
    evaluated = []
    with monkeypatch.context() as patched:
        for name in ("compile", "fullmatch", "match", "search", "sub", "split", "findall", "finditer"):
            patched.setattr(re, name, lambda *words, name=name: evaluated.append((name, words)))
        for request in requests:
            with contextlib.suppress(RefusedCallError):
                plan_runs(request, machines, ("gpu1",), "a1")
    assert evaluated == []
    for request in requests:
        assert plan_runs(request, machines, ("gpu1",), "a1").specs


@pytest.mark.parametrize(
    ("pattern", "values"),
    [
        ("0|2|4", {"0", "2", "4"}), (r"a\.b|\-x", {"a.b", "-x"}), ("", {""}), ("a|", {"a", ""}), (r"\d|1", None), (r"a\b", None),
        ("a.b|c", None), ("(a|b)", None), ("a*", None), ("^a$", None), ("[ab]", None), ("a{2}", None), ("a\\", None), ("ü|b", {"ü", "b"}),
    ],
)  # fmt: skip
def test_a_plain_list_of_values_is_read_from_a_pattern(pattern, values):
    assert values_of(pattern) == values


def test_a_recipe_that_cannot_run_without_a_value_says_which():
    pinned = Recipe("pinned", parameters={"commit": ""}, patterns={"commit": "[0-9a-f]{40}"})
    machines = {"gpu1": machine("gpu1", pinned)}
    with pytest.raises(RefusedCallError, match="recipe pinned needs --set commit=") as caught:
        plan_runs(AuditRequest("pinned", ("gpu1",)), machines, ("gpu1",), "a1")
    assert caught.value.code is Code.INVALID_ARGUMENT
    commits = ("a" * 40, "b" * 40)
    for request in (
        AuditRequest("pinned", ("gpu1",), set=(("commit", commits[0]),)),
        AuditRequest("pinned", ("gpu1",), vary=(("commit", commits),)),
    ):
        assert {spec.parameters["commit"] for spec in plan_runs(request, machines, ("gpu1",), "a1").specs} <= set(
            commits
        )


def test_the_agents_reason_for_not_offering_a_recipe_is_the_answer_and_copies_are_a_warning():
    lacks = replace(MACHINES["gpu1"], recipes={}, notes=(OfferNote("digits", True, "/srv/digits is too large"),))
    request = replace(BOTH, machines=("gpu1",))
    with pytest.raises(RefusedCallError, match=r"gpu1 cannot run recipe 'digits': /srv/digits is too large"):
        plan_runs(request, {"gpu1": lacks}, ("gpu1",), "a1")
    copies = replace(MACHINES["gpu1"], notes=(OfferNote("digits", False, "no namespaces"),))
    (warning,) = plan_runs(request, {"gpu1": copies}, ("gpu1",), "a1").warnings
    assert "copy of its folder" in warning and "no namespaces" in warning
