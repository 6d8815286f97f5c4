"""Repeats reads of an object store that gave no answer, for a bounded number of times.

Only what may be repeated blindly is: get, get_range, list and delete. A put passes through, since "exists"
after a repeated put needs a judgement that only its caller can make.
"""

import logging
import random as random_module
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from wal.errors import Unavailable
from wal.objects.base import ObjectInfo, ObjectStore
from wal.tasks import Backoff
from wal.types import Buffer

logger = logging.getLogger("drumlog.wal.objects")

Answer = TypeVar("Answer")

TRIES_MAX = 10


class RetryingObjectStore:
    """An ObjectStore around another one. `close` closes the inner store."""

    def __init__(
        self, store: ObjectStore, *, random: random_module.Random, retry_ms_min: int, retry_ms_max: int
    ) -> None:
        self._store = store
        self._random = random
        self._retry_ms_min = retry_ms_min
        self._retry_ms_max = retry_ms_max

    async def put_if_absent(self, key: str, parts: Sequence[Buffer]) -> None:
        """See ObjectStore; not repeated."""
        await self._store.put_if_absent(key, parts)

    async def get(self, key: str) -> bytes:
        """See ObjectStore."""
        return await self._repeated(lambda: self._store.get(key))

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """See ObjectStore."""
        return await self._repeated(lambda: self._store.get_range(key, start, length))

    async def list(self, prefix: str, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """See ObjectStore; goes on behind the last row that came."""
        pauses = self._pauses()
        tries = 0
        while True:
            try:
                async for info in self._store.list(prefix, start_after):
                    yield info
                    start_after, tries = info.key, 0
                return
            except Unavailable as error:
                tries += 1
                if tries == TRIES_MAX:
                    raise
                logger.warning("no answer from the object store to a listing, trying again: %s", error)
                await pauses.pause()

    async def delete(self, keys: Iterable[str]) -> None:
        """See ObjectStore."""
        names = tuple(keys)
        await self._repeated(lambda: self._store.delete(names))

    async def close(self) -> None:
        """See ObjectStore."""
        await self._store.close()

    async def _repeated(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        pauses = self._pauses()
        for _ in range(TRIES_MAX - 1):
            try:
                return await call()
            except Unavailable as error:
                logger.warning("no answer from the object store to a read, trying again: %s", error)
                await pauses.pause()
        return await call()

    def _pauses(self) -> Backoff:
        return Backoff(self._retry_ms_min, self._retry_ms_max, self._random)
