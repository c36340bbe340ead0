"""What a machine accepts, and what the coordinator can know of it from the offer."""

from __future__ import annotations

from detctl_agent.catalog.recipe import Recipe
from detctl_proto.syntax.parameter_patterns import (
    COMMIT_PATTERN,
    DEFAULT_PATTERN,
    harmless_match,
    may_accept,
    values_of,
)


def test_a_list_of_values_in_a_catalog_is_one_in_an_offer() -> None:
    values = ("0", "a.b", "x|y", "(a|a)*$", "a\\d", "ü b", "-", "")
    table = Recipe(command=("python",), folder="/srv", parameters={"x": "0"}, patterns={"x": values})
    assert values_of(table.pattern("x")) == set(values)


def test_own_patterns_are_decided_and_others_are_not_evaluated() -> None:
    assert harmless_match(DEFAULT_PATTERN, "a/b") and not harmless_match(DEFAULT_PATTERN, "-rm")
    assert harmless_match(COMMIT_PATTERN, "0" * 40) and not harmless_match(COMMIT_PATTERN, "main")
    assert harmless_match("(a|a)*$", "a" * 64 + "b") is None and may_accept("(a|a)*$", "a" * 64 + "b")
