"""The memory store keeps the contract, and its handles share it."""

from collections.abc import AsyncIterator

import pytest

from tests.wal.objects.contract import ObjectStoreContract
from wal.errors import Closed
from wal.objects.memory import MemoryObjectStore


class TestMemoryObjectStore(ObjectStoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[MemoryObjectStore]:
        store = MemoryObjectStore()
        yield store
        await store.close()


async def test_handles_share_objects_and_close_on_their_own() -> None:
    one = MemoryObjectStore()
    two = one.share()
    await one.put_if_absent("a", [b"x"])
    await one.close()
    with pytest.raises(Closed):
        await one.get("a")
    with pytest.raises(Closed):
        async for _ in one.list(""):
            pass
    assert await two.get("a") == b"x"
