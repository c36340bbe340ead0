"""How large a plan would be is known before any of it is made."""

from __future__ import annotations

import itertools

import pytest
from detctl_coordinator.domain.audit import AuditRequest
from detctl_coordinator.domain.machine import Machine, Recipe
from detctl_coordinator.errors.codes import RefusedCallError
from detctl_coordinator.planning import plan

VALUES = tuple(str(number) for number in range(64))
NAMES = ("a", "b", "c", "d", "e", "f", "g", "h")


@pytest.mark.parametrize("count", [2, 3, 6, 8])
def test_a_product_of_many_values_is_never_made(count, monkeypatch):
    """64 values of each of eight names are 281 trillion combinations, in a request of five kilobytes."""
    made, real = [], itertools.product

    def product(*lists):
        for item in real(*lists):
            made.append(item)
            assert len(made) < 10_000
            yield item

    monkeypatch.setattr(plan.itertools, "product", product)
    recipe = Recipe("r", parameters=dict.fromkeys(NAMES, "0"))
    machine = Machine("gpu1", recipes={"r": recipe}, environments={"default": {}})
    request = AuditRequest("r", ("gpu1",), twins=1, vary=tuple((name, VALUES) for name in NAMES[:count]))
    with pytest.raises(RefusedCallError, match=r"would have .* runs; the limit is 1000"):
        plan.plan_runs(request, {"gpu1": machine}, {"gpu1"}, "a")
    assert len(made) == 1  # the machine and its environment
