"""The memory store keeps the contract; its handles share records; what it keeps for watches is bounded."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.manual_clock import ManualClock
from tests.wal.meta.contract import MetaStoreContract, Pass, close, put, take
from wal.clock import SystemClock
from wal.errors import Closed
from wal.meta.base import Change, Delete, Put, WatchGap
from wal.meta.memory import MemoryMetaStore
from wal.meta.records import HISTORY_BYTES_MAX, HISTORY_CHANGES_MAX


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(clock: ManualClock) -> AsyncIterator[MemoryMetaStore]:
    store = MemoryMetaStore(clock)
    yield store
    await store.close()


@pytest.fixture
def time_passes(clock: ManualClock, store: MemoryMetaStore) -> Pass:
    async def advance(seconds: float) -> None:
        clock.advance(seconds)
        await store.get("anything")

    return advance


class TestMemoryMetaStore(MetaStoreContract):
    pass


async def test_handles_share_records_and_close_on_their_own(store: MemoryMetaStore) -> None:
    other = store.share()
    watch = other.watch("", 0)
    taking = asyncio.create_task(take(watch, 1))
    await put(store, "a", b"1")
    assert await taking == [Change("a", b"1", 1)]
    await other.close()
    with pytest.raises(Closed):
        await anext(watch)
    with pytest.raises(Closed):
        await other.get("a")
    assert await store.get("a") is not None


async def test_closing_ends_waiting_watches_and_changes_nothing(clock: ManualClock) -> None:
    one = MemoryMetaStore(clock)
    two = one.share()
    lease = await one.lease(10)
    await put(one, "a", b"1", lease.id)
    waiting = asyncio.ensure_future(anext(one.watch("", 1)))
    await asyncio.sleep(0)
    await one.close()
    await one.close()
    with pytest.raises(Closed):
        await waiting
    assert await two.get("a") is not None
    await two.close()
    with pytest.raises(Closed):
        await lease.revoke()


async def test_a_lease_ends_by_itself_and_watches_see_it(clock: ManualClock) -> None:
    store = MemoryMetaStore(SystemClock())
    lease = await store.lease(0.02)
    await put(store, "a", b"1", lease.id)
    watch = store.watch("", 1)
    assert await take(watch, 1) == [Change("a", None, 2)]
    await store.lease(0.02)
    await store.close()


async def test_every_operation_sees_a_lease_as_ended_the_moment_it_has_run_out(clock: ManualClock) -> None:
    store = MemoryMetaStore(clock)
    for turn in range(4):
        lease = await store.lease(10)
        await put(store, "a", b"1", lease.id)
        clock.advance(10)
        if turn == 0:
            assert await store.get("a") is None
        elif turn == 1:
            assert (await store.list(""))[0] == ()
        elif turn == 2:
            assert not (await store.txn([], [Put("b", b"1", lease.id)])).succeeded
        else:
            assert not await lease.keep_alive()
    await store.close()


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, float("nan")])
async def test_a_lease_that_cannot_be_kept_is_refused(store: MemoryMetaStore, ttl_s: float) -> None:
    with pytest.raises(ValueError, match="cannot be kept"):
        await store.lease(ttl_s)


async def test_a_watch_from_before_what_is_kept_is_a_gap(store: MemoryMetaStore) -> None:
    lagging = store.watch("", 0)
    for n in range(HISTORY_CHANGES_MAX + 5):
        await put(store, f"n/{n % 10}", b"")
    for watch in (lagging, store.watch("", 4), store.watch("other/", 0)):
        with pytest.raises(WatchGap):
            await anext(watch)
    watch = store.watch("", 5)
    assert (await anext(watch)).revision == 6
    await close(watch)


async def test_a_watch_that_falls_behind_while_it_is_read_is_a_gap(store: MemoryMetaStore) -> None:
    await put(store, "a", b"")
    watch = store.watch("", 0)
    await anext(watch)
    for _ in range(HISTORY_CHANGES_MAX + 1):
        await put(store, "a", b"")
    with pytest.raises(WatchGap):
        await anext(watch)


async def test_what_is_kept_for_watches_is_bounded_in_bytes(store: MemoryMetaStore) -> None:
    value = bytes(1 << 20)
    count = HISTORY_BYTES_MAX // len(value)
    for _ in range(count + 1):
        await put(store, "a", value)
    with pytest.raises(WatchGap):
        await anext(store.watch("", 0))
    await store.txn([], [Delete("a")])
    watch = store.watch("", 2)
    assert len(await take(watch, count)) == count
    await close(watch)
