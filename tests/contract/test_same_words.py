"""Lists that two sides keep because neither may import the other: they must not drift apart."""

from __future__ import annotations

from detctl_agent.catalog import admission, recipe
from detctl_agent.source import git_source
from detctl_coordinator.planning import interventions, offered_patterns


def test_patterns_that_the_coordinator_knows() -> None:
    assert offered_patterns.DEFAULT_PATTERN == recipe.DEFAULT_PATTERN
    assert offered_patterns.COMMIT_PATTERN == git_source.COMMIT_PATTERN


def test_a_list_of_values_in_a_catalog_is_one_in_an_offer() -> None:
    values = ("0", "a.b", "x|y", "(a|a)*$", "a\\d", "ü b", "-", "")
    table = recipe.Recipe(command=("python",), folder="/srv", parameters={"x": "0"}, patterns={"x": values})
    assert offered_patterns.values_of(table.pattern("x")) == set(values)


def test_interventions() -> None:
    assert set(interventions.VALUES) == set(interventions.HINTS)
    assert set(interventions.VALUES) | interventions.OWN == set(admission.INTERVENTIONS)
