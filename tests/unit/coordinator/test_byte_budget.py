"""Bytes in flight: who comes too much waits, and nobody waits for ever because of another."""

from __future__ import annotations

import asyncio

import pytest
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.quotas.byte_budget import ByteBudget


async def taken(budget, caller, count, **how):
    """A task that waits for its share, after it has had the chance to get it."""
    task = asyncio.create_task(budget.take(caller, count, **how))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_one_caller_leaves_room_for_others():
    budget = ByteBudget(total=100, each=40)
    first = await budget.take("a", 40)
    waiting = await taken(budget, "a", 10)
    assert not waiting.done()
    assert (await budget.take("b", 40)).count == 40
    first.release()
    assert (await waiting).count == 10


async def test_the_whole_process_has_a_limit():
    budget = ByteBudget(total=100, each=60)
    first, second = await budget.take("a", 60), await budget.take("b", 40)
    third = await taken(budget, "c", 50)
    assert not third.done()
    second.shrink_to(30)
    assert not third.done()
    first.release()
    first.release()  # twice gives nothing back twice
    share = await third
    fourth = await taken(budget, "d", 30)
    assert not fourth.done()
    share.release()
    await fourth


async def test_more_than_all_that_a_caller_may_have_is_let_in_alone():
    budget = ByteBudget(total=100, each=40)
    share = await budget.take("a", 10_000)
    assert share.count == 40
    waiting = await taken(budget, "a", 1)
    assert not waiting.done()
    share.release()
    await waiting


async def test_what_has_arrived_and_waits_has_a_limit_too():
    budget = ByteBudget(total=100, each=40)
    await budget.take("a", 40)
    tasks = [await taken(budget, "a", 20, arrived=True) for _ in range(3)]
    with pytest.raises(RefusedCallError, match="send fewer messages at once") as caught:
        await tasks[2]
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    assert not tasks[0].done() and not tasks[1].done()
    for task in tasks[:2]:
        task.cancel()


async def test_a_cancelled_wait_takes_nothing():
    budget = ByteBudget(total=40, each=40)
    first = await budget.take("a", 40)
    cancelled, kept = await taken(budget, "a", 40), await taken(budget, "a", 40)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    first.release()
    (await kept).release()
    # Cancelled in the same turn in which it is granted.
    second = await budget.take("a", 40)
    late = await taken(budget, "a", 40)
    second.release()
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    (await budget.take("b", 40)).release()


async def test_callers_take_turns():
    budget = ByteBudget(total=10, each=10)
    holder = await budget.take("z", 10)
    order = []

    async def work(caller):
        async with budget.holding(caller, 10):
            order.append(caller)

    tasks = [asyncio.create_task(work(caller)) for caller in ("a", "a", "a", "b", "b", "c")]
    await asyncio.sleep(0)
    holder.release()
    await asyncio.gather(*tasks)
    assert sorted(order[:3]) == ["a", "b", "c"] and sorted(order) == ["a", "a", "a", "b", "b", "c"]
