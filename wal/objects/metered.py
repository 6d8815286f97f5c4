"""A wrapper that counts what goes through a store, for metrics, budgets and tests. No I/O of its own."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

from wal.objects.base import ObjectInfo, ObjectStore
from wal.types import Buffer

LIST_PAGE_ROWS = 1000
"""Rows that one LIST request answers at most; a longer listing counts as several requests."""


@dataclass(slots=True)
class Count:
    """Requests of one kind so far, those that failed included, and the payload bytes they moved."""

    requests: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Traffic:
    """What went through a store, by kind of request. A deletion counts as one request a key."""

    puts: Count = field(default_factory=Count)
    gets: Count = field(default_factory=Count)
    lists: Count = field(default_factory=Count)
    deletes: Count = field(default_factory=Count)


class MeteredObjectStore:
    """An ObjectStore that adds everything up in `traffic` and changes nothing."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.traffic = Traffic()

    async def put_if_absent(self, key: str, parts: Sequence[Buffer]) -> None:
        """Count the bytes before the call: a failed put may have moved them all the same."""
        self.traffic.puts.requests += 1
        self.traffic.puts.bytes += sum(memoryview(part).nbytes for part in parts)
        await self._store.put_if_absent(key, parts)

    async def get(self, key: str) -> bytes:
        """Count one get and the bytes that came back."""
        self.traffic.gets.requests += 1
        body = await self._store.get(key)
        self.traffic.gets.bytes += len(body)
        return body

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """Count one get and the bytes that came back."""
        self.traffic.gets.requests += 1
        body = await self._store.get_range(key, start, length)
        self.traffic.gets.bytes += len(body)
        return body

    async def list(self, prefix: str, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """Count one request, and one more after each full page that goes on."""
        self.traffic.lists.requests += 1
        rows = 0
        async for row in self._store.list(prefix, start_after):
            if rows and rows % LIST_PAGE_ROWS == 0:
                self.traffic.lists.requests += 1
            rows += 1
            yield row

    async def delete(self, keys: Iterable[str]) -> None:
        """Count one request for each key."""
        doomed = list(keys)
        self.traffic.deletes.requests += len(doomed)
        await self._store.delete(doomed)

    async def close(self) -> None:
        """Close the store within."""
        await self._store.close()
