"""Numbers for idempotent producers, never given out twice."""

from gateway.number_ranges import RANGE_SIZE, Counter, NumberRanges
from wal.meta.base import MetaStore

COUNTER = Counter("counters/producers", 0, "producer ids")


class ProducerIds:
    """Gives out producer ids."""

    def __init__(self, meta: MetaStore, *, range_size: int = RANGE_SIZE) -> None:
        self._ranges = NumberRanges(meta, COUNTER, range_size)

    async def take(self) -> int:
        """A producer id that nobody else has or will get. Raises Unavailable and Corrupt."""
        return await self._ranges.take(1)
