"""The meter counts and changes nothing."""

from collections.abc import AsyncIterator

import pytest

from tests.wal.objects.contract import ObjectStoreContract
from wal.objects.base import ObjectExists
from wal.objects.memory import MemoryObjectStore
from wal.objects.metered import Count, MeteredObjectStore, Traffic


class TestMeteredObjectStore(ObjectStoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[MeteredObjectStore]:
        store = MeteredObjectStore(MemoryObjectStore())
        yield store
        await store.close()


async def test_requests_and_bytes_are_counted_by_kind() -> None:
    store = MeteredObjectStore(MemoryObjectStore())
    await store.put_if_absent("a", [b"1234", b"5"])
    with pytest.raises(ObjectExists):
        await store.put_if_absent("a", [b"123"])
    await store.get("a")
    await store.get_range("a", 1, 2)
    await store.delete(iter(["a", "b"]))
    assert store.traffic == Traffic(Count(2, 8), Count(2, 7), Count(0, 0), Count(2, 0))


@pytest.mark.parametrize(("rows", "requests"), [(0, 1), (1000, 1), (1001, 2), (2500, 3)])
async def test_a_listing_counts_its_pages(rows: int, requests: int) -> None:
    store = MeteredObjectStore(MemoryObjectStore())
    for n in range(rows):
        await store.put_if_absent(f"{n:05}", [])
    assert len([row async for row in store.list("")]) == rows
    assert store.traffic.lists == Count(requests, 0)
