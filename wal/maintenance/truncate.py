"""Truncation: sealed segments that lie wholly below their streams' durable starts go, record first, objects
later.

One `step` gives at most one segment to the garbage: one transaction deletes its record and writes a garbage
record that names its objects. One `sweep` deletes the objects of garbage that is due. Both may die anywhere
and be repeated. The newest sealed segment always stays, since its checkpoint is where recovery begins.
Merging and rewriting will stand beside this module.
"""

from collections.abc import Sequence

from wal import keys
from wal.clock import Clock
from wal.history import History
from wal.manifest import GarbageRecord, SegmentRecord
from wal.meta.base import Delete, MetaStore, Put
from wal.objects.base import ObjectStore
from wal.ownership import FENCE_KEPT_MS, Ownership
from wal.streams import Streams
from wal.types import STATE_STREAMS

GRACE_MS = 60_000
"""Reads that began before a segment went may still be under way for this long."""

DELETES_MAX = 1_000
"""Objects deleted in one call."""


class Truncator:
    """Deletes a log's dead segments."""

    def __init__(
        self,
        *,
        ownership: Ownership,
        objects: ObjectStore,
        meta: MetaStore,
        history: History,
        streams: Streams,
        clock: Clock,
    ) -> None:
        self._ownership = ownership
        self._objects = objects
        self._meta = meta
        self._history = history
        self._streams = streams
        self._clock = clock

    async def step(self) -> bool:
        """Give the oldest dead segment to the garbage; False when none is dead.

        Raises Fenced, Unavailable or Corrupt.
        """
        records = self._history.records
        for at, record in enumerate(records[:-1]):
            if await self._dead(record):
                await self._discard(records, at)
                return True
        return False

    async def sweep(self) -> int:
        """Delete the objects of all garbage that is due; gives their number. Raises Fenced or Unavailable."""
        log, now = self._ownership.log, self._clock.now_ms()
        rows, _ = await self._meta.list(keys.garbage_prefix(log))
        # A step without an answer may have made garbage of a segment that reads here still go through.
        held = {record.segment for record in self._history.records}
        deleted = 0
        for row in rows:
            garbage = GarbageRecord.unpack(row.key, row.value)
            if garbage.not_before > now or garbage.segment in held:
                continue
            names = [keys.block_key(log, garbage.segment, n) for n in range(garbage.blocks)]
            names += [keys.checkpoint_key(log, chunk) for chunk in garbage.chunks]
            due = garbage.fence is None or garbage.fence_not_before <= now
            if garbage.fence is not None and due:
                names.append(keys.block_key(log, garbage.segment, garbage.fence))
            if not names:
                continue
            for first in range(0, len(names), DELETES_MAX):
                await self._objects.delete(names[first : first + DELETES_MAX])
            deleted += len(names)
            if due:
                await self._ownership.guarded((Delete(row.key),))
            else:
                rest = GarbageRecord(
                    segment=garbage.segment,
                    blocks=0,
                    not_before=garbage.fence_not_before,
                    fence=garbage.fence,
                    fence_not_before=garbage.fence_not_before,
                )
                await self._ownership.guarded((Put(row.key, rest.pack()),))
        return deleted

    async def _dead(self, record: SegmentRecord) -> bool:
        """Nothing in the segment can be read any more, nor is needed to recover."""
        directory = await self._history.directory(record)
        for stream, end in directory.ends():
            facts = self._streams.get(stream)
            if stream >= STATE_STREAMS and facts is not None and facts.start < end:
                return False
        return True

    async def _discard(self, records: Sequence[SegmentRecord], at: int) -> None:
        """Delete the record, remember the objects; chunks that a neighbour's checkpoint names stay."""
        record, now = records[at], self._clock.now_ms()
        kept = {name.id for name in await self._history.chunk_names(records[at + 1])}
        if at:
            kept |= {name.id for name in await self._history.chunk_names(records[at - 1])}
        chunks = [name.id for name in await self._history.chunk_names(record) if name.id not in kept]
        blocks = (record.last or 0) + 1
        garbage = GarbageRecord(
            segment=record.segment,
            blocks=blocks,
            not_before=now + GRACE_MS,
            fence=blocks,
            fence_not_before=now + FENCE_KEPT_MS,
            chunks=[record.checkpoint, record.directory, *chunks],
        )
        log = self._ownership.log
        await self._ownership.guarded(
            (
                Delete(keys.segment_key(log, record.segment)),
                Put(keys.garbage_key(log, record.segment), garbage.pack()),
            )
        )
        self._history.remove(record.segment)
