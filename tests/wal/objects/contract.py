"""The laws every ObjectStore keeps: mix the class in and give it a `store`."""

import asyncio
from random import Random

import pytest

from wal.objects.base import ObjectExists, ObjectMissing, ObjectStore
from wal.objects.probe import probe


class ObjectStoreContract:
    """Needs a fixture `store`: an open, empty store that the fixture closes."""

    async def test_an_object_is_its_parts_in_order(self, store: ObjectStore) -> None:
        await store.put_if_absent("a/b", [b"one", bytearray(b"two"), memoryview(b"xthreex")[1:-1], b""])
        assert await store.get("a/b") == b"onetwothree"

    async def test_an_object_may_be_empty(self, store: ObjectStore) -> None:
        await store.put_if_absent("a/empty", [])
        assert await store.get("a/empty") == b""
        assert await store.get_range("a/empty", 0, 10) == b""

    async def test_an_object_of_many_and_large_parts_comes_back_whole(self, store: ObjectStore) -> None:
        parts = [bytes([n % 251]) * 997 for n in range(2100)]
        await store.put_if_absent("a/large", parts)
        assert await store.get("a/large") == b"".join(parts)

    async def test_what_was_never_put_is_missing(self, store: ObjectStore) -> None:
        await store.put_if_absent("a/b/c", [b"x"])
        for key in ("a/b/d", "a/b", "x", "a/b/c/d"):
            with pytest.raises(ObjectMissing):
                await store.get(key)
            with pytest.raises(ObjectMissing):
                await store.get_range(key, 0, 1)

    async def test_a_second_put_is_refused_and_changes_nothing(self, store: ObjectStore) -> None:
        await store.put_if_absent("a/b", [b"first"])
        for body in (b"second", b"first"):
            with pytest.raises(ObjectExists):
                await store.put_if_absent("a/b", [body])
        assert await store.get("a/b") == b"first"

    async def test_of_concurrent_puts_to_one_key_exactly_one_wins(self, store: ObjectStore) -> None:
        for turn in range(5):
            key = f"race/{turn}"
            bodies = [bytes([n]) * 2000 for n in range(32)]
            outcomes = await asyncio.gather(
                *(store.put_if_absent(key, [body]) for body in bodies), return_exceptions=True
            )
            winners = [body for body, outcome in zip(bodies, outcomes, strict=True) if outcome is None]
            assert len(winners) == 1
            assert sum(isinstance(outcome, ObjectExists) for outcome in outcomes) == 31
            assert await store.get(key) == winners[0]

    async def test_concurrent_puts_to_new_places_all_succeed(self, store: ObjectStore) -> None:
        keys = [f"new/{n % 3}/{n % 5}/{n}" for n in range(60)]
        await asyncio.gather(*(store.put_if_absent(key, [key.encode()]) for key in keys))
        assert [row.key async for row in store.list("new/")] == sorted(keys)

    async def test_ranges_end_where_the_object_ends(self, store: ObjectStore) -> None:
        body = bytes(range(100))
        await store.put_if_absent("a/b", [body])
        for start, length in [(0, 100), (0, 10), (10, 20), (95, 50), (99, 1), (0, 1000)]:
            assert await store.get_range("a/b", start, length) == body[start : start + length]
        for start, length in [(100, 10), (500, 1), (10, 0)]:
            assert await store.get_range("a/b", start, length) == b""

    async def test_ranges_below_zero_are_refused(self, store: ObjectStore) -> None:
        await store.put_if_absent("a/b", [b"x"])
        for start, length in [(-1, 1), (0, -1)]:
            with pytest.raises(ValueError, match="range"):
                await store.get_range("a/b", start, length)

    async def test_a_listing_is_in_key_order_and_tells_sizes(self, store: ObjectStore) -> None:
        keys = ["a", "a-b/x", "a.c", "a0/y", "b/c/d", "b/c-d", "b/c0", "b/c.d/e", "B/z", "~", "b/10", "b/9"]
        order = [key for key in keys if key != "a"] + ["a!"]
        for size, key in enumerate(Random(3).sample(order, len(order))):
            await store.put_if_absent(key, [bytes(size)])
        rows = [row async for row in store.list("")]
        assert [row.key for row in rows] == sorted(order)
        for row in rows:
            assert row.size == len(await store.get(row.key))

    async def test_a_prefix_may_end_inside_a_name(self, store: ObjectStore) -> None:
        keys = sorted(["p/a", "p/ab/1", "p/ab/2", "p/abc", "p/b", "pa", "q"])
        for key in keys:
            await store.put_if_absent(key, [b""])
        for prefix in ("", "p", "p/", "p/a", "p/ab", "p/ab/", "p/ab/1", "p/ab/1x", "p/c", "r", "p/ab/1/"):
            assert [row.key async for row in store.list(prefix)] == [
                key for key in keys if key.startswith(prefix)
            ]

    async def test_a_listing_may_start_after_any_string(self, store: ObjectStore) -> None:
        keys = sorted(["s/a/1", "s/a/2", "s/a-", "s/b/1", "s/b/2/x", "s/b0", "s/c"])
        for key in keys:
            await store.put_if_absent(key, [b""])
        for start in (
            "",
            "a",
            "s",
            "s/",
            "s/a",
            "s/a/1",
            "s/a/15",
            "s/a/",
            "s/b",
            "s/b/2",
            "s/b/2/x",
            "s/b~",
            "z",
        ):
            for prefix in ("", "s/a/", "s/b"):
                assert [row.key async for row in store.list(prefix, start)] == [
                    key for key in keys if key > start and key.startswith(prefix)
                ]

    async def test_a_listing_longer_than_a_page_is_whole(self, store: ObjectStore) -> None:
        keys = [f"long/{n:05}" for n in range(1100)]
        for first in range(0, len(keys), 50):
            page = keys[first : first + 50]
            await asyncio.gather(*(store.put_if_absent(key, [b"."]) for key in page))
        assert [row.key async for row in store.list("long/")] == keys
        assert [row.key async for row in store.list("long/", keys[1049])] == keys[1050:]

    async def test_a_listing_may_be_abandoned(self, store: ObjectStore) -> None:
        for n in range(5):
            await store.put_if_absent(f"a/{n}", [b""])
        async for row in store.list("a/"):
            assert row.key == "a/0"
            break

    async def test_every_put_that_returned_is_in_the_next_listing(self, store: ObjectStore) -> None:
        async def put_and_look(n: int) -> None:
            key = f"seen/{n % 4}/{n}"
            await store.put_if_absent(key, [b"x"])
            assert key in [row.key async for row in store.list("seen/")]

        await asyncio.gather(*(put_and_look(n) for n in range(24)))

    async def test_what_is_deleted_is_gone_and_may_be_put_again(self, store: ObjectStore) -> None:
        for key in ("d/a/1", "d/a/2", "d/b"):
            await store.put_if_absent(key, [b"old"])
        await store.delete(["d/a/1", "d/b", "d/never", "never/there"])
        with pytest.raises(ObjectMissing):
            await store.get("d/a/1")
        assert [row.key async for row in store.list("d/")] == ["d/a/2"]
        await store.put_if_absent("d/a/1", [b"new"])
        assert await store.get("d/a/1") == b"new"

    async def test_deleting_twice_or_nothing_is_no_error(self, store: ObjectStore) -> None:
        await store.put_if_absent("d/a", [b"x"])
        for _ in range(2):
            await store.delete(iter(["d/a", "d/a"]))
        await store.delete([])
        assert [row async for row in store.list("")] == []

    async def test_puts_and_deletions_in_one_place_do_not_hurt_each_other(self, store: ObjectStore) -> None:
        async def come_and_go(n: int) -> None:
            for turn in range(6):
                await store.put_if_absent(f"busy/place/{n}-{turn}", [b"x"])
                await store.delete([f"busy/place/{n}-{turn}"])
            await store.put_if_absent(f"busy/place/{n}", [b"stays"])

        await asyncio.gather(*(come_and_go(n) for n in range(6)))
        assert [row.key async for row in store.list("busy/")] == [f"busy/place/{n}" for n in range(6)]

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "./a",
            "a/.hidden",
            "ä",
            "a\nb",
            "a\0",
            "x" * 1025,
        ],
    )
    async def test_what_is_no_key_is_refused(self, store: ObjectStore, key: str) -> None:
        with pytest.raises(ValueError, match="is no object key"):
            await store.put_if_absent(key, [b"x"])
        with pytest.raises(ValueError, match="is no object key"):
            await store.get(key)
        with pytest.raises(ValueError, match="is no object key"):
            await store.get_range(key, 0, 1)
        with pytest.raises(ValueError, match="is no object key"):
            await store.delete(["a/b", key])

    @pytest.mark.parametrize("prefix", ["/", "../", "a//", "a/../", "ä"])
    async def test_what_no_key_can_begin_with_is_refused(self, store: ObjectStore, prefix: str) -> None:
        with pytest.raises(ValueError, match="is no object key"):
            async for _ in store.list(prefix):
                pass

    async def test_the_probe_is_content_and_leaves_nothing_behind(self, store: ObjectStore) -> None:
        await probe(store, "probe/", Random(1))
        assert [row async for row in store.list("")] == []
