"""The probe refuses stores that break a promise, and says which."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from random import Random

import pytest

from wal.errors import StoreRefused, Unavailable
from wal.objects.base import ObjectExists, ObjectInfo, ObjectMissing
from wal.objects.memory import MemoryObjectStore
from wal.objects.probe import probe
from wal.types import Buffer


class IgnoresCondition(MemoryObjectStore):
    async def put_if_absent(self, key: str, parts: Sequence[Buffer]) -> None:
        await self.delete([key])
        await super().put_if_absent(key, parts)


class ChecksThenWrites(MemoryObjectStore):
    async def put_if_absent(self, key: str, parts: Sequence[Buffer]) -> None:
        with suppress(ObjectMissing):
            await self.get(key)
            raise ObjectExists(key)
        await asyncio.sleep(0)
        await self.delete([key])
        await super().put_if_absent(key, parts)


class LosersOverwrite(MemoryObjectStore):
    async def put_if_absent(self, key: str, parts: Sequence[Buffer]) -> None:
        try:
            await super().put_if_absent(key, parts)
        except ObjectExists:
            if key.endswith("raced"):
                await self.delete([key])
                await super().put_if_absent(key, parts)
            raise


class IgnoresRanges(MemoryObjectStore):
    async def get_range(self, key: str, start: int, length: int) -> bytes:
        return await self.get(key)


class ListsNothing(MemoryObjectStore):
    async def list(self, prefix: str, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        empty: tuple[ObjectInfo, ...] = ()
        for row in empty:
            yield row


class KeepsAll(MemoryObjectStore):
    async def delete(self, keys: Iterable[str]) -> None:
        pass


class AlwaysThere(MemoryObjectStore):
    async def get(self, key: str) -> bytes:
        return b""


class Mangles(MemoryObjectStore):
    async def put_if_absent(self, key: str, parts: Sequence[Buffer]) -> None:
        await super().put_if_absent(key, parts[:1])


class NeverAnswers(MemoryObjectStore):
    async def get(self, key: str) -> bytes:
        await asyncio.Event().wait()
        return b""


@pytest.mark.parametrize(
    ("store", "sentence"),
    [
        (IgnoresCondition(), "ignores create-if-absent"),
        (ChecksThenWrites(), "under a race: of 16 concurrent puts to one key 16 were accepted"),
        (LosersOverwrite(), "kept the body of another"),
        (IgnoresRanges(), "ranged reads"),
        (ListsNothing(), "listing"),
        (KeepsAll(), "still returns an object that was deleted"),
        (AlwaysThere(), "never put"),
        (Mangles(), "does not return what was put"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_store_that_breaks_a_promise_is_refused(store: MemoryObjectStore, sentence: str) -> None:
    with pytest.raises(StoreRefused, match=sentence):
        await probe(store, "probe/", Random(1))


async def test_a_store_that_never_answers_is_refused() -> None:
    with pytest.raises(StoreRefused, match=r"did not finish its probe within 0\.01 s"):
        await probe(NeverAnswers(), "probe/", Random(1), timeout_s=0.01)


async def test_a_store_that_is_away_is_not_judged() -> None:
    class Away(MemoryObjectStore):
        async def put_if_absent(self, key: str, parts: Sequence[Buffer]) -> None:
            raise Unavailable("away")

    with pytest.raises(Unavailable):
        await probe(Away(), "probe/", Random(1))
