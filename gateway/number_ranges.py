"""Numbers that are never given out twice, taken in ranges from counters in the metadata store.

What a node has left of a range when it ends is lost, on purpose: a number that may have been used is not used
again.
"""

import asyncio
from typing import NamedTuple

import msgpack

from wal.errors import Corrupt, Unavailable
from wal.meta.base import MetaStore, Put, RevisionIs

FORMAT = 1
RANGE_SIZE = 1_000
NUMBER_MAX = (1 << 63) - 1
ATTEMPTS_MAX = 100
"""How often a range is tried for while other nodes are faster."""


class Counter(NamedTuple):
    """A record that holds the first number nobody has: its key, the lowest number, and what is numbered."""

    key: str
    lowest: int
    noun: str

    def encode(self, following: int) -> bytes:
        """The record's bytes."""
        return bytes(msgpack.packb({"format": FORMAT, "next": following}))

    def decode(self, data: bytes) -> int:
        """The first number that nobody has. Raises Corrupt."""
        try:
            fields = msgpack.unpackb(data)
        except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
            raise Corrupt(f"{self.key} is not a msgpack map: {error}") from error
        is_ours = isinstance(fields, dict) and fields.get("format") == FORMAT
        following = fields.get("next") if is_ours else None
        if type(following) is not int or not self.lowest <= following <= NUMBER_MAX:
            raise Corrupt(
                f"{self.key} holds {fields!r:.100}: expected format {FORMAT}, next >= {self.lowest}"
            )
        return following


class NumberRanges:
    """Gives out a counter's numbers in rows without gaps; one metadata transaction per range."""

    def __init__(self, meta: MetaStore, counter: Counter, range_size: int) -> None:
        self._meta = meta
        self._counter = counter
        self._range_size = range_size
        self._next = 0
        self._end = 0
        self._lock = asyncio.Lock()

    async def take(self, count: int) -> int:
        """The first of `count` consecutive numbers that nobody else has or will get.

        Raises Unavailable, and Corrupt where the counter is unreadable or used up.
        """
        assert count > 0
        async with self._lock:
            if self._end - self._next < count:
                await self._extend(count)
            first = self._next
            self._next += count
            return first

    async def _extend(self, count: int) -> None:
        """Take a new range.

        Where nobody came between, it goes on where the old one ends and nothing is lost.
        """
        counter = self._counter
        for _ in range(ATTEMPTS_MAX):
            found = await self._meta.get(counter.key)
            first = counter.decode(found.value) if found else counter.lowest
            missing = count - (self._end - self._next) if first == self._end else count
            end = first + max(missing, self._range_size)
            if end > NUMBER_MAX:
                raise Corrupt(f"{counter.key} is at {first}: there are no {counter.noun} left")
            expected = RevisionIs(counter.key, found.revision if found else 0)
            if (await self._meta.txn((expected,), (Put(counter.key, counter.encode(end)),))).succeeded:
                self._next = self._next if first == self._end else first
                self._end = end
                return
        raise Unavailable(f"other nodes changed {counter.key} {ATTEMPTS_MAX} times in a row; try again")
