"""Patterns of the machine's owner against values from remote: whatever both are, the agent goes on."""

from __future__ import annotations

import re

import pytest
from detctl_agent.catalog.admission import VALUE_CHARACTERS_MAX, Order, admit
from detctl_agent.catalog.catalog import Catalog, parse
from detctl_agent.catalog.patterns import matches
from detctl_agent.errors import RunRefusedError


def catalog(pattern: str | list[str]) -> Catalog:
    table = {"command": ["python", "{x}"], "folder": "/srv", "parameters": {"x": "1"}, "patterns": {"x": pattern}}
    return parse({"recipes": {"r": table}}, "catalog.toml")


def admitted(pattern: str | list[str], value: str) -> str:
    return admit(catalog(pattern), Order("r1", 1, "r", parameters={"x": value})).parameters["x"]


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("(a|a)*$", "a" * 60 + "!"), ("(.*a){20}", "a" * 400 + "!"), ("(x+x+)+y", "x" * 60), ("(a+)+$", "a" * VALUE_CHARACTERS_MAX + "!"),
        ("(a|a)*$", "a" * (VALUE_CHARACTERS_MAX - 1) + "!"),
    ],
)  # fmt: skip
def test_a_pattern_that_never_ends_is_a_refusal(pattern: str, value: str) -> None:
    """Sample 4 of issue 5 on the machine's side: before, the agent's loop stood for as long as the pattern took."""
    with pytest.raises(RunRefusedError) as caught:
        admitted(pattern, value)
    assert "\n" not in str(caught.value)
    assert len(value) > VALUE_CHARACTERS_MAX or "cannot be decided within 1 s" in str(caught.value)


def test_the_agents_own_process_evaluates_no_pattern_of_the_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = catalog("(a|a)*b").recipes["r"]
    order = Order("r1", 1, "r", parameters={"x": "aab"})
    evaluated = []
    with monkeypatch.context() as patched:
        patched.setattr(re, "fullmatch", lambda *words: evaluated.append(words))
        assert recipe.takes("x", order.parameters["x"])
        assert not recipe.takes("x", "aa")
    assert evaluated == []


@pytest.mark.parametrize(
    ("pattern", "value", "taken"),
    [
        ("[0-9]+", "12", True), ("[0-9]+", "12x", False), ("[0-9]+", "12\n", False), ("(?=a)a", "a", True), ("ü+", "üü", True),
        (r"\d", "٣", False), ("", "", True), ("a", "", False), (".*", "x\0y", False), (["0", "a.b"], "a.b", True),
        (["0", "a.b"], "axb", False), ([], "", False),
    ],
)  # fmt: skip
def test_a_pattern_must_match_the_whole_value(pattern: str | list[str], value: str, taken: bool) -> None:
    if taken:
        assert admitted(pattern, value) == value
    else:
        with pytest.raises(RunRefusedError, match="does not match"):
            admitted(pattern, value)


def test_what_fails_in_the_other_process_is_no_match(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(RunRefusedError, match="could not be evaluated"):
        matches("a", "a")
