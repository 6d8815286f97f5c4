"""The read path of one log: from a stream and a position to stored bytes.

The owner's memory comes first: segments that are not sealed have their directory here, and blocks just
flushed are in the hot cache, so that consumers at the tail never touch the store. Older entries are found by
binary search over checkpoints and directories (`history`), and their blocks are read whole, once, however
many ask.
"""

from collections.abc import AsyncIterator, Iterator

from wal import keys
from wal.block import Block
from wal.cache import BlockName, ColdCache, HotCache
from wal.directory import Rows, Stretch
from wal.errors import Corrupt
from wal.history import History
from wal.objects.base import ObjectMissing, ObjectStore
from wal.segment import OpenSegment
from wal.streams import StreamState
from wal.types import LogId, Position, Slice, StreamId

READ_AHEAD_BLOCKS = 4
"""Blocks asked for at once while catching up."""


class Gathering:
    """Consecutive pieces of a stream, one a block, until enough bytes are together."""

    def __init__(self, stream: StreamId, position: Position, bytes_max: int) -> None:
        self.parts: list[memoryview] = []
        self.end = position
        self._first = position
        self._stream = stream
        self._bytes_left = bytes_max

    def add(self, block: Block, stretch: Stretch) -> bool:
        """Add what the block holds from our end on; False when there is no more to be added after it."""
        if self.parts and (stretch.first != self.end or self._bytes_left <= 0):
            return False
        if self.parts and stretch.end == self.end:
            return True  # entries without positions only: no reader asks for them
        first, end, part = block.slice(self._stream, self.end, self._bytes_left)
        if self.parts and len(part) > self._bytes_left:
            return False
        if not self.parts:
            self._first = first
        self.parts.append(part)
        self.end = end
        self._bytes_left -= len(part)
        return end == stretch.end and self._bytes_left > 0

    def slice(self) -> Slice:
        """What was gathered."""
        return Slice(self._first, self.end, self.parts)


class Reader:
    """Reads of durable entries.

    `unsealed` is the log's own list of segments with their directory in memory, oldest first.
    """

    def __init__(
        self,
        *,
        log: LogId,
        objects: ObjectStore,
        hot: HotCache,
        cold: ColdCache,
        history: History,
        unsealed: list[OpenSegment],
    ) -> None:
        self._log = log
        self._objects = objects
        self._hot = hot
        self._cold = cold
        self._history = history
        self._unsealed = unsealed

    def read_cached(self, stream: StreamId, position: Position, bytes_max: int) -> Slice | None:
        """As `read`, from memory alone; None where memory does not hold the position."""
        slices = Gathering(stream, position, bytes_max)
        for segment, rows in self._unsealed_rows(stream, position):
            for index in range(rows.find(slices.end), len(rows)):
                stretch = rows.row(index)
                block = self._in_memory(BlockName(self._log, segment, stretch.n))
                if block is None or not slices.add(block, stretch):
                    return slices.slice() if slices.parts else None
        return slices.slice() if slices.parts else None

    async def read(self, stream: StreamId, position: Position, bytes_max: int) -> Slice:
        """The run that holds `position` and what follows up to `bytes_max`. Raises Corrupt or Unavailable.

        The position must be durable and not trimmed.
        """
        slices = Gathering(stream, position, bytes_max)
        segment, rows = await self._rows_at(stream, position)
        index = rows.find(position)
        while True:
            for ahead in range(index + 1, min(index + READ_AHEAD_BLOCKS, len(rows))):
                self._begin_load(segment, rows.row(ahead).n)
            stretch = rows.row(index)
            block = await self._load(segment, stretch.n)
            if not slices.add(block, stretch):
                return slices.slice()
            index += 1
            if index == len(rows):
                return slices.slice()

    async def time_position(
        self, stream: StreamId, time: int, start: Position, end: Position
    ) -> Position | None:
        """First position of the earliest run from `start` on that holds a time of at least `time`; None for
        none.
        """
        async for segment, rows in self._rows_from_time(stream, time, start):
            for index in range(rows.find(start), len(rows)):
                stretch = rows.row(index)
                if stretch.first >= end:
                    return None
                if stretch.time_max < time:
                    continue
                block = await self._load(segment, stretch.n)
                for number in range(*block.rows(stream)):
                    row = block.row(number)
                    if row.time_max >= time and row.end > start:
                        return Position(max(row.first, start))
        return None

    async def time_max(self, stream: StreamId, start: Position) -> tuple[int, Position]:
        """The largest time at or after `start` and the first position of the entry that has it; (-1, -1) for
        none.
        """
        best = (-1, Position(-1))
        async for segment, rows in self._rows_from_time(stream, 0, start):
            for index in range(rows.find(start), len(rows)):
                stretch = rows.row(index)
                if stretch.time_max <= best[0]:
                    continue
                if stretch.time_max_position >= start:
                    best = (stretch.time_max, Position(stretch.time_max_position))
                    continue
                block = await self._load(segment, stretch.n)
                for row in map(block.row, range(*block.rows(stream))):
                    if row.time_max > best[0] and row.time_max_position >= start:
                        best = (row.time_max, row.time_max_position)
        return best

    async def retention_position(
        self, stream: StreamId, facts: StreamState, time_before: int, bytes_max: int
    ) -> Position:
        """The end of the newest sealed segment up to which everything is older than `time_before` or beyond
        `bytes_max`.
        """
        size, records = facts.size, self._history.records

        def kept(then: StreamState) -> bool:
            expired = 0 <= then.time_max < time_before
            surplus = bytes_max >= 0 and size - then.size >= bytes_max
            return not (expired or surplus)

        at = await self._history.search(records, stream, kept)
        if not at:
            return Position(0)
        then = await self._history.facts(records[at - 1], stream)
        return Position(then.end if then else 0)

    async def size_before(self, stream: StreamId, position: Position) -> int:
        """Bytes of the stream in the segments that lie wholly below `position`, deleted ones included."""
        records, unsealed = self._history.records, tuple(self._unsealed)
        at = await self._history.search(records, stream, lambda then: then.end > position)
        then = await self._history.facts(records[min(at, len(records) - 1)], stream) if records else None
        before = then.size if then else 0
        if at < len(records):
            # Not the segment before: any number of them may be gone.
            rows = (await self._history.directory(records[at])).rows(stream)
            return before - (rows.size if rows else 0)
        for segment in unsealed:
            rows = segment.directory.rows(stream)
            if rows is not None and rows.find(position) == len(rows):
                before += rows.size
        return before

    def _unsealed_rows(self, stream: StreamId, position: int) -> Iterator[tuple[int, Rows]]:
        """(segment, rows) of the unsealed segments that hold the stream from `position` on; none if older
        ones hold it.
        """
        begun = False
        for segment in self._unsealed:
            rows = segment.directory.rows(stream)
            if rows is None:
                continue
            if not begun and rows.row(0).first > position:
                return
            begun = True
            if rows.find(position) < len(rows):
                yield segment.number, rows

    async def _rows_at(self, stream: StreamId, position: Position) -> tuple[int, Rows]:
        """The segment that holds the position, with the stream's rows there."""
        for segment, rows in self._unsealed_rows(stream, position):
            return segment, rows
        records = self._history.records
        at = await self._history.search(records, stream, lambda then: then.end > position)
        if at < len(records):
            rows_there = (await self._history.directory(records[at])).rows(stream)
            if rows_there is not None and rows_there.find(position) < len(rows_there):
                return records[at].segment, rows_there
        raise Corrupt(
            f"position {position} of stream {stream} is durable, and no segment of log {self._log} holds it"
        )

    async def _rows_from_time(
        self, stream: StreamId, time: int, start: Position
    ) -> AsyncIterator[tuple[int, Rows]]:
        """(segment, rows) of the segments, in order, that may hold times of at least `time` at or after
        `start`.
        """
        records, unsealed = self._history.records, tuple(self._unsealed)
        at = await self._history.search(records, stream, lambda then: then.end > start)
        at = max(at, await self._history.search(records, stream, lambda then: then.time_max >= time))
        for record in records[at:]:
            rows = (await self._history.directory(record)).rows(stream)
            if rows is not None:
                yield record.segment, rows
        for segment in unsealed:
            rows = segment.directory.rows(stream)
            if rows is not None:
                yield segment.number, rows

    def _in_memory(self, name: BlockName) -> Block | None:
        block: Block | None = self._hot.get(name) or self._cold.peek(name)
        return block

    def _begin_load(self, segment: int, n: int) -> None:
        name = BlockName(self._log, segment, n)
        if self._in_memory(name) is None:
            self._cold.start(name, lambda: self._fetch(name))

    async def _load(self, segment: int, n: int) -> Block:
        name = BlockName(self._log, segment, n)
        block = self._hot.get(name)
        return block if block is not None else await self._cold.get(name, lambda: self._fetch(name))

    async def _fetch(self, name: BlockName) -> tuple[Block, int]:
        key = keys.block_key(self._log, name.segment, name.n)
        try:
            data = await self._objects.get(key)
        except ObjectMissing:
            raise Corrupt(f"{key} is part of log {self._log} and is not in the object store") from None
        block = Block.parse(data)
        if block.header[:3] != (self._log, name.segment, name.n):
            raise Corrupt(f"{key} holds a block that belongs elsewhere: {block.header}")
        return block, len(data)
