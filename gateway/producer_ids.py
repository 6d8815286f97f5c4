"""Numbers for idempotent producers, taken from the metadata store in ranges and never given out twice.

What a node has left of a range when it ends is lost, on purpose: a number that may have been used is not
used again.
"""

import asyncio

import msgpack

from wal.errors import Corrupt, Unavailable
from wal.meta.base import MetaStore, Put, RevisionIs

COUNTER_KEY = "counters/producers"
FORMAT = 1
RANGE_SIZE = 1_000
PRODUCER_IDS_MAX = (1 << 63) - 1
ATTEMPTS_MAX = 100
"""How often a range is tried for while other nodes are faster."""


class ProducerIds:
    """Gives out producer ids; one metadata transaction per range."""

    def __init__(self, meta: MetaStore, *, range_size: int = RANGE_SIZE) -> None:
        self._meta = meta
        self._range_size = range_size
        self._next = 0
        self._end = 0
        self._lock = asyncio.Lock()

    async def take(self) -> int:
        """A producer id that nobody else has or will get. Raises Unavailable."""
        async with self._lock:
            if self._next == self._end:
                await self._extend()
            taken = self._next
            self._next += 1
            return taken

    async def _extend(self) -> None:
        for _ in range(ATTEMPTS_MAX):
            found = await self._meta.get(COUNTER_KEY)
            first = decode_counter(found.value) if found else 0
            end = first + self._range_size
            if end > PRODUCER_IDS_MAX:
                raise Corrupt(f"{COUNTER_KEY} is at {first}: there are no producer ids left")
            expected = RevisionIs(COUNTER_KEY, found.revision if found else 0)
            if (await self._meta.txn((expected,), (Put(COUNTER_KEY, encode_counter(end)),))).succeeded:
                self._next, self._end = first, end
                return
        raise Unavailable(f"other nodes changed {COUNTER_KEY} {ATTEMPTS_MAX} times in a row; try again")


def encode_counter(following: int) -> bytes:
    """The bytes of the counter: the first producer id that nobody has."""
    return bytes(msgpack.packb({"format": FORMAT, "next": following}))


def decode_counter(data: bytes) -> int:
    """The first producer id that nobody has. Raises Corrupt."""
    try:
        fields = msgpack.unpackb(data)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise Corrupt(f"{COUNTER_KEY} is not a msgpack map: {error}") from error
    following = fields.get("next") if isinstance(fields, dict) and fields.get("format") == FORMAT else None
    if type(following) is not int or not 0 <= following <= PRODUCER_IDS_MAX:
        raise Corrupt(f"{COUNTER_KEY} holds {fields!r:.100}: expected format {FORMAT} and next >= 0")
    return following
