import asyncio

import pytest

from wal.budget import ByteBudget
from wal.cache import ColdCache
from wal.errors import Unavailable


async def test_a_value_is_loaded_once_however_many_ask() -> None:
    cache, loads = ColdCache(100), 0

    async def load() -> tuple[str, int]:
        nonlocal loads
        loads += 1
        await asyncio.sleep(0)
        return "value", 10

    assert await asyncio.gather(*(cache.get("key", load) for _ in range(10))) == ["value"] * 10
    assert loads == 1 and cache.peek("key") == "value"
    await cache.close()


async def test_a_reader_that_goes_away_harms_no_other() -> None:
    cache, go = ColdCache(100), asyncio.Event()

    async def load() -> tuple[str, int]:
        await go.wait()
        return "value", 10

    first = asyncio.ensure_future(cache.get("key", load))
    second = asyncio.ensure_future(cache.get("key", load))
    await asyncio.sleep(0)
    first.cancel()
    go.set()
    assert await second == "value"
    await cache.close()


async def test_a_failed_load_is_told_to_all_and_tried_again() -> None:
    cache = ColdCache(100)

    async def fail() -> tuple[str, int]:
        await asyncio.sleep(0)
        raise Unavailable("no answer")

    async def load() -> tuple[str, int]:
        return "value", 10

    outcomes = await asyncio.gather(*(cache.get("key", fail) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert await cache.get("key", load) == "value"
    await cache.close()


async def test_the_bound_holds_and_the_least_recently_used_goes() -> None:
    cache = ColdCache(30)

    def load(value: int):  # type: ignore[no-untyped-def]
        async def loaded() -> tuple[int, int]:
            return value, 10

        return loaded

    for key in (1, 2, 3):
        await cache.get(key, load(key))
    cache.peek(1)
    await cache.get(4, load(4))
    assert cache.size == 30
    assert [cache.peek(key) for key in (1, 2, 3, 4)] == [1, None, 3, 4]
    await cache.close()


async def test_a_budget_lets_in_who_waits_as_soon_as_there_is_room() -> None:
    budget = ByteBudget(10)
    budget.take(25)
    waiting = [asyncio.ensure_future(budget.room()) for _ in range(3)]
    await asyncio.sleep(0)
    budget.give(10)
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    waiting[0].cancel()
    budget.give(10)
    await asyncio.wait_for(asyncio.gather(*waiting[1:]), 5)
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
