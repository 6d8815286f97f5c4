"""Replay: from the newest checkpoint and the indexes of the blocks after it back to the log's state.

Only index suffixes are read, many at a time, and of payloads only those of state streams, which stand first
in a block. Blocks are applied in order; at the end of each found segment the view is captured, so that its
checkpoint can follow later.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from wal import keys
from wal.block import Index, NeedMore, TagRow
from wal.checkpoint import Capture, ChunkName
from wal.errors import Corrupt
from wal.history import History
from wal.manifest import SegmentRecord
from wal.objects.base import ObjectMissing, ObjectStore
from wal.ownership import FoundSegment
from wal.segment import OpenSegment
from wal.settings import LogSettings
from wal.tasks import TaskSet
from wal.types import STATE_STREAMS, Buffer, LogId, State
from wal.view import DurableView, PayloadOf, StateT, apply_tag


@dataclass(slots=True)
class Replayed:
    """What replay leaves for sealing: the found segments with their captures, and the chunks of the last
    checkpoint.
    """

    closed: list[tuple[OpenSegment, Capture]] = field(default_factory=list)
    chunks: dict[int, list[ChunkName]] = field(default_factory=dict)


async def replay(
    log: LogId,
    *,
    objects: ObjectStore,
    history: History,
    found: Sequence[FoundSegment],
    view: DurableView[StateT],
    appended: State,
    settings: LogSettings,
) -> Replayed:
    """Bring the view and the appended state up to the last found block. Raises Corrupt or Unavailable."""
    result = Replayed()
    if history.records:
        result.chunks = await _restore(
            history, history.records[-1], view, appended, settings.reads_in_flight_max
        )
        previous_last = history.records[-1].last
    else:
        previous_last = None
    for segment in found:
        open_segment = OpenSegment(
            record=segment.record,
            previous_last=-1 if previous_last is None else previous_last,
            next_n=len(segment.sizes),
            size=sum(segment.sizes),
        )
        n = 0
        async for index, payload_of in _indexes(log, objects, segment, settings):
            if index.header[:3] != (log, segment.record.segment, n):
                place = f"block {n} of segment {segment.record.segment} of log {log}"
                raise Corrupt(f"{place} is one that belongs elsewhere: {index.header}")
            view.apply(index, n, open_segment.directory, payload_of)
            for row in index.tags():
                apply_tag(appended, row, index.header.epoch, index.header.created_at, payload_of)
            open_segment.released(index.header.created_at)
            n += 1
        result.closed.append((open_segment, view.capture(open_segment.number)))
        previous_last = open_segment.last
    return result


async def _restore(
    history: History, record: SegmentRecord, view: DurableView[StateT], appended: State, reads_max: int
) -> dict[int, list[ChunkName]]:
    """Load the newest checkpoint into the view and the appended state; gives its chunks by bucket."""
    names = await history.chunk_names(record)
    chunks: dict[int, list[ChunkName]] = {}
    for at in range(0, len(names), reads_max):
        batch = names[at : at + reads_max]
        for name, stored in zip(batch, await asyncio.gather(*map(history.chunk, batch)), strict=True):
            chunks.setdefault(name.bucket, []).append(name)
            for one in stored.values():
                view.restore(one)
                if one.state:
                    appended.restore(one.stream, one.state)
    return chunks


async def _indexes(
    log: LogId, objects: ObjectStore, segment: FoundSegment, settings: LogSettings
) -> AsyncIterator[tuple[Index, PayloadOf]]:
    """The index of each block of the segment in order, with access to state entries' payloads; many reads at
    a time.
    """
    number = segment.record.segment
    tasks = TaskSet()
    ahead: deque[asyncio.Task[tuple[Index, PayloadOf]]] = deque()
    try:
        for n, size in enumerate(segment.sizes):
            key = keys.block_key(log, number, n)
            ahead.append(
                tasks.spawn(_index(objects, key, size, settings.index_suffix_bytes), f"index of {key}")
            )
            if len(ahead) >= settings.reads_in_flight_max:
                yield await ahead.popleft()
        while ahead:
            yield await ahead.popleft()
    finally:
        await tasks.close()


async def _index(objects: ObjectStore, key: str, size: int, suffix_bytes: int) -> tuple[Index, PayloadOf]:
    """Read a block's index, and in one more read the payloads of its state entries, if it has any."""
    try:
        wanted = min(size, suffix_bytes)
        while True:
            suffix = await objects.get_range(key, size - wanted, wanted)
            try:
                index = Index.parse(suffix, size)
                break
            except NeedMore as short:
                wanted = short.bytes_needed
        ranges = [
            (row.payload_offset, row.payload_offset + row.payload_length)
            for row in index.tags()
            if row.stream < STATE_STREAMS and row.payload_length
        ]
        if not ranges:
            return index, _no_payload
        start, end = min(ranges)[0], max(end for _, end in ranges)
        held = size - len(suffix)
        payloads = (
            suffix[start - held : end - held]
            if start >= held
            else await objects.get_range(key, start, end - start)
        )
    except ObjectMissing:
        raise Corrupt(f"{key} was listed and is not in the object store") from None
    view = memoryview(payloads)

    def payload_of(row: TagRow) -> Buffer:
        return view[row.payload_offset - start : row.payload_offset - start + row.payload_length]

    return index, payload_of


def _no_payload(row: TagRow) -> Buffer:
    raise AssertionError(f"{row} has no payload that a state machine may ask for")
