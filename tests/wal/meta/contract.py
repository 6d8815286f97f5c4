"""The laws every MetaStore keeps: mix the class in and give it a `store` and a way to let time pass."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from wal.meta.base import (
    OPERATIONS_MAX,
    Change,
    Compare,
    Delete,
    Exists,
    KeyValue,
    MetaStore,
    Operation,
    Put,
    Read,
    RevisionIs,
)

Pass = Callable[[float], Awaitable[None]]

PATIENCE_S = 30.0
"""No wait of a test is longer."""


async def take(watch: AsyncIterator[Change], count: int) -> list[Change]:
    """The next changes of a watch."""
    async with asyncio.timeout(PATIENCE_S):
        return [await anext(watch) for _ in range(count)]


async def put(store: MetaStore, key: str, value: bytes, lease: int = 0) -> int:
    """Put unconditionally; the revision."""
    result = await store.txn([], [Put(key, value, lease)])
    assert result.succeeded
    return result.revision


async def close(watch: AsyncIterator[Change]) -> None:
    """End a watch."""
    aclose = getattr(watch, "aclose", None)
    if aclose is not None:
        await aclose()


class MetaStoreContract:
    """Needs fixtures `store`: an open, empty store that the fixture closes; `time_passes`: an async function
    that lets so many seconds pass, and more, as far as leases are concerned. Leases are whole seconds."""

    async def test_a_record_is_as_it_was_put(self, store: MetaStore) -> None:
        assert await store.get("a/b") is None
        revision = await put(store, "a/b", b"\x00\xff value")
        assert await store.get("a/b") == KeyValue("a/b", b"\x00\xff value", revision)
        assert await store.get("a") is None

    async def test_a_value_may_be_empty_and_a_mebibyte_but_no_more(self, store: MetaStore) -> None:
        await put(store, "empty", b"")
        await put(store, "large", bytes(1 << 20))
        found = [await store.get("empty"), await store.get("large")]
        assert [len(record.value) for record in found if record is not None] == [0, 1 << 20]
        with pytest.raises(ValueError, match="allowed are"):
            await store.txn([], [Put("larger", bytes((1 << 20) + 1))])

    async def test_each_changing_transaction_raises_the_revision_by_one(self, store: MetaStore) -> None:
        before = (await store.list(""))[1]
        result = await store.txn([], [Put("a", b"1"), Put("b", b"2")])
        assert result.revision == before + 1
        assert [row.revision for row in (await store.list(""))[0]] == [before + 1, before + 1]
        assert await put(store, "a", b"1") == before + 2
        assert (await store.list(""))[1] == before + 2

    async def test_what_changes_nothing_does_not_raise_the_revision(self, store: MetaStore) -> None:
        before = await put(store, "a", b"1")
        await store.txn([], [])
        await store.txn([], [Read("")])
        await store.txn([], [Delete("not there")])
        await store.txn([Exists("not there")], [Put("b", b"2")])
        assert (await store.txn([], [Read("")])).revision == before

    async def test_a_transaction_is_done_whole_or_not_at_all(self, store: MetaStore) -> None:
        revision = await put(store, "a", b"1")
        writes: list[Operation] = [Put("b", b"2"), Delete("a"), Read("")]
        failing: list[Compare] = [
            RevisionIs("a", 0),
            RevisionIs("a", revision + 1),
            RevisionIs("none", revision),
            Exists("none"),
        ]
        for compare in failing:
            result = await store.txn([Exists("a"), compare], writes)
            assert result == (False, revision, ())
        result = await store.txn([Exists("a"), RevisionIs("a", revision), RevisionIs("none", 0)], writes)
        assert result == (True, revision + 1, ((KeyValue("b", b"2", revision + 1),),))

    async def test_a_read_sees_the_end_of_its_transaction_wherever_it_stands(self, store: MetaStore) -> None:
        await put(store, "k/old", b"old")
        result = await store.txn(
            [], [Read("k/"), Put("k/new", b"new"), Read("k/n"), Delete("k/old"), Read("z")]
        )
        new = KeyValue("k/new", b"new", result.revision)
        assert result.reads == ((new,), (new,), ())

    async def test_a_deleted_key_is_as_if_never_put(self, store: MetaStore) -> None:
        await put(store, "a", b"1")
        await store.txn([], [Delete("a")])
        assert await store.get("a") is None
        result = await store.txn([RevisionIs("a", 0)], [Put("a", b"2")])
        assert result.succeeded

    async def test_a_listing_is_in_key_order_with_the_stores_revision(self, store: MetaStore) -> None:
        keys = ["p/b", "p/a", "p/a/x", "p/a-", "p", "q", "p0", "P/a"]
        for key in keys:
            await put(store, key, key.encode())
        for prefix in ("", "p", "p/", "p/a", "r"):
            rows, revision = await store.list(prefix)
            assert [row.key for row in rows] == sorted(key for key in keys if key.startswith(prefix))
            assert all(row.value == row.key.encode() for row in rows)
            assert revision == await self.revision(store)

    async def revision(self, store: MetaStore) -> int:
        return (await store.txn([], [])).revision

    async def test_limits_are_refused_not_cut(self, store: MetaStore) -> None:
        puts: list[Operation] = [Put(f"n/{n:03}", b"") for n in range(OPERATIONS_MAX + 1)]
        compares: list[Compare] = [RevisionIs(f"n/{n:03}", 0) for n in range(OPERATIONS_MAX + 1)]
        with pytest.raises(ValueError, match="at most"):
            await store.txn([], puts)
        with pytest.raises(ValueError, match="at most"):
            await store.txn(compares, [])
        assert (await store.txn(compares[:-1], puts[:-1])).succeeded
        assert len((await store.list("n/"))[0]) == OPERATIONS_MAX

    @pytest.mark.parametrize(
        "operations",
        [[Put("a", b"1"), Put("a", b"2")], [Put("a", b"1"), Delete("a")], [Delete("a"), Delete("a")]],
    )
    async def test_writing_a_key_twice_is_refused(
        self, store: MetaStore, operations: list[Operation]
    ) -> None:
        with pytest.raises(ValueError, match="writes a twice"):
            await store.txn([], operations)

    @pytest.mark.parametrize("key", ["", "ä", "a\n", "a\0", "x" * 1025])
    async def test_what_is_no_key_is_refused(self, store: MetaStore, key: str) -> None:
        with pytest.raises(ValueError, match="is no metadata key"):
            await store.get(key)
        for operation in (Put(key, b""), Delete(key)):
            with pytest.raises(ValueError, match="is no metadata key"):
                await store.txn([], [operation])
        with pytest.raises(ValueError, match="is no metadata key"):
            await store.txn([Exists(key)], [])

    async def test_of_concurrent_creations_exactly_one_succeeds(self, store: MetaStore) -> None:
        results = await asyncio.gather(
            *(store.txn([RevisionIs("raced", 0)], [Put("raced", bytes([n]))]) for n in range(32))
        )
        winners = [n for n, result in enumerate(results) if result.succeeded]
        assert len(winners) == 1
        found = await store.get("raced")
        assert found is not None
        assert found.value == bytes(winners)

    async def test_counters_raised_by_optimistic_loops_lose_nothing(self, store: MetaStore) -> None:
        async def add_one() -> None:
            while True:
                found = await store.get("counter")
                value, revision = (0, 0) if found is None else (int(found.value), found.revision)
                result = await store.txn(
                    [RevisionIs("counter", revision)], [Put("counter", b"%d" % (value + 1))]
                )
                if result.succeeded:
                    return

        async def add_five() -> None:
            for _ in range(5):
                await add_one()

        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(add_five() for _ in range(6)))
        found = await store.get("counter")
        assert found is not None
        assert found.value == b"30"

    async def test_a_watch_begins_above_the_asked_revision_and_misses_nothing(self, store: MetaStore) -> None:
        first = await put(store, "w/a", b"1")
        await store.txn([], [Put("w/a", b"2"), Put("x", b"no"), Put("w/b", b"3")])
        watch = store.watch("w/", first)
        assert sorted(await take(watch, 2)) == [
            Change("w/a", b"2", first + 1),
            Change("w/b", b"3", first + 1),
        ]
        await store.txn([], [Delete("w/a")])
        await put(store, "wx", b"no")
        await put(store, "w/c", b"4")
        assert await take(watch, 2) == [Change("w/a", None, first + 2), Change("w/c", b"4", first + 4)]
        await close(watch)

    async def test_a_watch_sees_what_comes_later(self, store: MetaStore) -> None:
        watch = store.watch("w/", (await store.list("w/"))[1])
        taking = asyncio.create_task(take(watch, 20))
        for n in range(20):
            await put(store, f"w/{n:02}", b"")
        assert [change.key for change in await taking] == [f"w/{n:02}" for n in range(20)]
        await close(watch)

    async def test_watches_do_not_disturb_each_other(self, store: MetaStore) -> None:
        start = await self.revision(store)
        prefixes = ["w/", "w/1", "", "w/2"]
        watches = [store.watch(prefix, start) for prefix in prefixes]
        for n in range(3):
            await put(store, f"w/{n}", b"")
        for prefix, watch in zip(prefixes, watches, strict=True):
            expected = [f"w/{n}" for n in range(3) if f"w/{n}".startswith(prefix)]
            assert [change.key for change in await take(watch, len(expected))] == expected
            await close(watch)
        await put(store, "w/9", b"")

    async def test_a_lease_that_is_kept_alive_keeps_its_keys(
        self, store: MetaStore, time_passes: Pass
    ) -> None:
        lease = await store.lease(3)
        assert lease.ttl_s == 3
        await put(store, "leased", b"x", lease.id)
        for _ in range(4):
            await time_passes(1)
            assert await lease.keep_alive()
        assert await store.get("leased") is not None
        await lease.revoke()

    async def test_an_expired_lease_takes_its_keys_along_and_is_gone_for_good(
        self, store: MetaStore, time_passes: Pass
    ) -> None:
        lease, other = await store.lease(2), await store.lease(600)
        await store.txn(
            [], [Put("l/a", b"x", lease.id), Put("l/b", b"y", lease.id), Put("l/c", b"z", other.id)]
        )
        after = await put(store, "l/d", b"no lease")
        watch = store.watch("l/", after)
        await time_passes(3)
        assert {(change.key, change.value) for change in await take(watch, 2)} == {
            ("l/a", None),
            ("l/b", None),
        }
        assert [row.key for row in (await store.list("l/"))[0]] == ["l/c", "l/d"]
        assert not await lease.keep_alive()
        assert await other.keep_alive()
        assert (await store.txn([RevisionIs("l/a", 0)], [Put("l/a", b"taken over")])).succeeded
        await close(watch)
        await other.revoke()

    async def test_a_revoked_lease_takes_its_keys_along_at_once(self, store: MetaStore) -> None:
        lease = await store.lease(600)
        revision = await put(store, "l/a", b"x", lease.id)
        watch = store.watch("l/", revision)
        await lease.revoke()
        assert await store.get("l/a") is None
        assert await take(watch, 1) == [Change("l/a", None, revision + 1)]
        assert not await lease.keep_alive()
        await lease.revoke()
        await close(watch)

    async def test_a_put_with_a_lease_that_is_gone_does_nothing(self, store: MetaStore) -> None:
        lease = await store.lease(600)
        await lease.revoke()
        result = await store.txn([], [Put("before", b"x"), Put("leased", b"x", lease.id), Read("")])
        assert not result.succeeded
        assert not (await store.list(""))[0]

    async def test_a_key_goes_with_the_lease_of_its_last_put(self, store: MetaStore) -> None:
        one, two = await store.lease(600), await store.lease(600)
        for key in ("freed", "moved", "deleted"):
            await put(store, key, b"x", one.id)
        await put(store, "freed", b"y")
        await put(store, "moved", b"y", two.id)
        await store.txn([], [Delete("deleted")])
        await put(store, "deleted", b"y")
        await one.revoke()
        assert [row.key for row in (await store.list(""))[0]] == ["deleted", "freed", "moved"]
        await two.revoke()
        assert [row.key for row in (await store.list(""))[0]] == ["deleted", "freed"]

    async def test_leases_have_numbers_of_their_own(self, store: MetaStore) -> None:
        leases = [await store.lease(600) for _ in range(5)]
        assert len({lease.id for lease in leases} - {0}) == 5
        for lease in leases:
            await lease.revoke()
