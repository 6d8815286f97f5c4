"""Numbers for new data streams, never given out twice."""

from gateway.number_ranges import RANGE_SIZE, Counter, NumberRanges
from wal.meta.base import MetaStore
from wal.types import STATE_STREAMS, StreamId

COUNTER = Counter("counters/streams", STATE_STREAMS, "stream numbers")


class StreamIds:
    """Gives out stream numbers, in rows without gaps."""

    def __init__(self, meta: MetaStore, *, range_size: int = RANGE_SIZE) -> None:
        self._ranges = NumberRanges(meta, COUNTER, range_size)

    async def take(self, count: int) -> StreamId:
        """The first of `count` consecutive numbers that nobody else has or will get.

        Raises Unavailable and Corrupt.
        """
        return StreamId(await self._ranges.take(count))
