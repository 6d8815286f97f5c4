"""Numbers for new streams, taken from the metadata store in ranges and never given out twice.

What a node has left of a range when it ends is lost, on purpose: a number that may have been used is not used
again.
"""

import asyncio

import msgpack

from wal.errors import Corrupt, Unavailable
from wal.meta.base import MetaStore, Put, RevisionIs
from wal.types import STATE_STREAMS, StreamId

COUNTER_KEY = "counters/streams"
FORMAT = 1
RANGE_SIZE = 1_000
STREAMS_MAX = (1 << 63) - 1
ATTEMPTS_MAX = 100
"""How often a range is tried for while other nodes are faster."""


class StreamIds:
    """Gives out stream numbers, in rows without gaps."""

    def __init__(self, meta: MetaStore, *, range_size: int = RANGE_SIZE) -> None:
        self._meta = meta
        self._range_size = range_size
        self._next = 0
        self._end = 0
        self._lock = asyncio.Lock()

    async def take(self, count: int) -> StreamId:
        """The first of `count` consecutive numbers that nobody else has or will get. Raises Unavailable."""
        assert count > 0
        async with self._lock:
            if self._end - self._next < count:
                await self._extend(count)
            first = self._next
            self._next += count
            return StreamId(first)

    async def _extend(self, count: int) -> None:
        """Take a new range.

        Where nobody came between, it goes on where the old one ends and nothing is lost.
        """
        for _ in range(ATTEMPTS_MAX):
            found = await self._meta.get(COUNTER_KEY)
            first = decode_counter(found.value) if found else STATE_STREAMS
            missing = count - (self._end - self._next) if first == self._end else count
            end = first + max(missing, self._range_size)
            if end > STREAMS_MAX:
                raise Corrupt(f"{COUNTER_KEY} is at {first}: there are no stream numbers left")
            expected = RevisionIs(COUNTER_KEY, found.revision if found else 0)
            if (await self._meta.txn((expected,), (Put(COUNTER_KEY, encode_counter(end)),))).succeeded:
                self._next = self._next if first == self._end else first
                self._end = end
                return
        raise Unavailable(f"other nodes changed {COUNTER_KEY} {ATTEMPTS_MAX} times in a row; try again")


def encode_counter(following: int) -> bytes:
    """The bytes of the counter: the first number that nobody has."""
    return bytes(msgpack.packb({"format": FORMAT, "next": following}))


def decode_counter(data: bytes) -> int:
    """The first number that nobody has. Raises Corrupt."""
    try:
        fields = msgpack.unpackb(data)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise Corrupt(f"{COUNTER_KEY} is not a msgpack map: {error}") from error
    following = fields.get("next") if isinstance(fields, dict) and fields.get("format") == FORMAT else None
    if type(following) is not int or not STATE_STREAMS <= following <= STREAMS_MAX:
        raise Corrupt(
            f"{COUNTER_KEY} holds {fields!r:.100}: expected format {FORMAT} and next >= {STATE_STREAMS}"
        )
    return following
