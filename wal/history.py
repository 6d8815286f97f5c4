"""The sealed segments of a log, and where a stream's older entries lie among them.

Nothing is kept in memory per stream and segment: each sealed segment's checkpoint tells every stream's end as
of that segment, so a position or a time is found by binary search over checkpoints, then in the one segment's
directory. Lists, chunks and directories are read through the cold cache.
"""

from bisect import bisect_left, insort
from collections.abc import Awaitable, Callable, Sequence

from wal import keys
from wal.cache import ColdCache
from wal.checkpoint import BUCKET_STREAMS, ChunkName, Stored, bucket_of, unpack_chunk, unpack_list
from wal.directory import Directory
from wal.errors import Corrupt
from wal.manifest import SegmentRecord
from wal.objects.base import ObjectMissing, ObjectStore
from wal.streams import StreamState
from wal.types import LogId, StreamId

STREAM_COST = 200
"""Bytes that one unpacked stream of a chunk takes in memory, about."""


class History:
    """Sealed segments in ascending order."""

    def __init__(
        self, log: LogId, objects: ObjectStore, cold: ColdCache, sealed: Sequence[SegmentRecord]
    ) -> None:
        self._log = log
        self._objects = objects
        self._cold = cold
        self._records = sorted(sealed, key=_number)
        self.removals = 0

    @property
    def records(self) -> tuple[SegmentRecord, ...]:
        """All sealed segments, oldest first."""
        return tuple(self._records)

    def add(self, record: SegmentRecord) -> None:
        """A segment was sealed."""
        insort(self._records, record, key=_number)

    def remove(self, segment: int) -> None:
        """A segment was given to the garbage."""
        self._records = [record for record in self._records if record.segment != segment]
        self.removals += 1

    async def directory(self, record: SegmentRecord) -> Directory:
        """The segment's directory. Raises Corrupt or Unavailable."""

        async def load() -> tuple[Directory, int]:
            data = await self._checkpoint_object(record.directory)
            return Directory.parse(data, record.segment), len(data)

        return await self._cold.get((self._log, record.directory), load)

    async def chunk_names(self, record: SegmentRecord) -> list[ChunkName]:
        """The chunks of the segment's checkpoint. Raises Corrupt or Unavailable."""

        async def load() -> tuple[list[ChunkName], int]:
            data = await self._checkpoint_object(record.checkpoint)
            segment, names = unpack_list(data)
            if segment != record.segment:
                raise Corrupt(f"checkpoint {record.checkpoint} is of segment {segment}, not {record.segment}")
            return names, len(data) * 4

        return await self._cold.get((self._log, record.checkpoint), load)

    async def chunk(self, name: ChunkName) -> dict[StreamId, Stored]:
        """A chunk's streams. Raises Corrupt or Unavailable."""

        async def load() -> tuple[dict[StreamId, Stored], int]:
            data = await self._checkpoint_object(name.id)
            stored = unpack_chunk(data)
            size = sum(STREAM_COST + len(one.state) for one in stored)
            return {one.stream: one for one in stored}, size

        return await self._cold.get((self._log, name.id), load)

    async def facts(self, record: SegmentRecord, stream: StreamId) -> StreamState | None:
        """The stream as of the end of the segment; None where it did not exist then."""
        names = await self.chunk_names(record)
        at = bisect_left(names, bucket_of(stream), key=lambda name: name.bucket)
        for name in names[at:]:
            if name.first // BUCKET_STREAMS != bucket_of(stream):
                break
            if name.first <= stream <= name.last:
                stored = (await self.chunk(name)).get(stream)
                return stored.facts if stored else None
        return None

    async def search(
        self, records: Sequence[SegmentRecord], stream: StreamId, reached: Callable[[StreamState], bool]
    ) -> int:
        """Index in `records` of the first segment by whose end `reached` holds; it must never cease to hold
        later.
        """
        low, high = 0, len(records)
        while low < high:
            middle = (low + high) // 2
            facts = await self.facts(records[middle], stream)
            if facts is not None and reached(facts):
                high = middle
            else:
                low = middle + 1
        return low

    def _checkpoint_object(self, object_id: str) -> Awaitable[bytes]:
        return _existing(self._objects, keys.checkpoint_key(self._log, object_id))


async def _existing(objects: ObjectStore, key: str) -> bytes:
    try:
        return await objects.get(key)
    except ObjectMissing:
        raise Corrupt(f"{key} is named by a record and is not in the object store") from None


def _number(record: SegmentRecord) -> int:
    return record.segment
