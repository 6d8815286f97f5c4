"""The index of one block, searched in its raw bytes.

An `Index` is made from a suffix of the object alone; `block.Block` looks everything up through one, so there
is one way of reading. Rows are never kept as objects: they would take seven times the memory of their bytes,
for every block that is held.

What construction guarantees, so that no later look-up can fail on bad bytes: the checksums of header and
index hold, every count and range lies inside the object, rows and epoch runs are in order, and the rows cover
the payload without a gap.
"""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

import lz4.frame
from crc32c import crc32c

from wal.block_format import (
    BLOCK_SIZE_MIN,
    COUNTS,
    EPOCH_RUN,
    HEADER_SIZE,
    INDEX_SIZE_MIN,
    NOTE,
    NOTES_BYTES_MAX,
    NOTES_LZ4,
    NOTES_PLAIN,
    ROW,
    TAG,
    TRAILER,
    Trailer,
    parse_header,
    parse_trailer,
)
from wal.errors import Corrupt
from wal.types import Buffer, Position, StreamId, TagKind

SUFFIX_BYTES = 256 * 1024
"""How much of an object's end to read for its index when nothing better is known."""

_POSITION_MAX = 2**63 - 1
_ROW_KEY = Struct(">Qq")
_KINDS = tuple(TagKind)


class Row(NamedTuple):
    """One run: consecutive whole entries of one stream, `length` bytes at `offset` of the object.

    time_max is the largest timestamp of the run and time_max_position the first position of the entry that
    has it; -1, -1 where no entry has one.
    """

    stream: StreamId
    first: Position
    end: Position
    offset: int
    length: int
    crc: int
    entries: int
    time_max: int
    time_max_position: Position


class StreamSpan(NamedTuple):
    """What a block holds of one stream: positions `first` to `end`, `length` bytes at `offset` in the
    object."""

    stream: StreamId
    first: Position
    end: Position
    offset: int
    length: int
    time_max: int
    time_max_position: Position


class RunRange(NamedTuple):
    """Neighbouring runs of a stream: rows `low` up to `high`, positions `first` to `end`, bytes at
    `offset`."""

    low: int
    high: int
    first: Position
    end: Position
    offset: int
    length: int


class EpochRun(NamedTuple):
    """From position `first` on, the stream's entries were written under `epoch`."""

    stream: StreamId
    epoch: int
    first: Position


class TagRow(NamedTuple):
    """One kept tag and where the payload of its entry lies in the object."""

    stream: StreamId
    position: Position
    n: int
    kind: TagKind
    tag: bytes
    payload_offset: int
    payload_length: int


class NeedMore(Exception):
    """The suffix is too short for the index: read the object's last `bytes_needed` bytes and parse again."""

    def __init__(self, bytes_needed: int) -> None:
        super().__init__(f"the index needs the last {bytes_needed} bytes of the object")
        self.bytes_needed = bytes_needed


class Index:
    """The index of one block over its raw bytes."""

    __slots__ = (
        "_epochs_at",
        "_notes_at",
        "_section",
        "_tags_at",
        "header",
        "object_size",
        "row_count",
    )

    @classmethod
    def parse(cls, suffix: Buffer, object_size: int) -> "Index":
        """Read the index from the object's last bytes. Keeps a copy of the index alone, not of `suffix`.

        Raises NeedMore where `suffix` does not reach back to the index's start, and Corrupt.
        """
        view = memoryview(suffix)
        if object_size < BLOCK_SIZE_MIN or len(view) > object_size:
            raise Corrupt(f"a suffix of {len(view)} bytes of an object of {object_size} bytes is no block")
        if len(view) < TRAILER.size:
            raise NeedMore(min(object_size, SUFFIX_BYTES))
        trailer = parse_trailer(view, object_size)
        needed = trailer.index_length + TRAILER.size
        if len(view) < needed:
            raise NeedMore(needed)
        at = len(view) - needed
        return cls(bytes(view[at : at + trailer.index_length]), trailer, object_size)

    def __init__(self, section: Buffer, trailer: Trailer, object_size: int) -> None:
        """Check an index section against its trailer. Raises Corrupt. Use `parse`."""
        if crc32c(section) != trailer.index_crc:
            raise Corrupt("the index does not have its checksum")
        self.header = parse_header(section)
        self.object_size = object_size
        rows, epochs, tags, tag_bytes, notes, note_bytes = COUNTS.unpack_from(section, HEADER_SIZE)
        self._section = section
        self.row_count: int = rows
        self._epochs_at = INDEX_SIZE_MIN + rows * ROW.size
        self._tags_at = self._epochs_at + epochs * EPOCH_RUN.size
        self._notes_at = self._tags_at + tag_bytes
        if self._notes_at + note_bytes != len(section):
            raise Corrupt("the counts of the index do not add up to its length")
        if self.header.fence and len(section) > INDEX_SIZE_MIN:
            raise Corrupt("a fence holds something")
        self._check_rows(trailer.index_offset)
        self._check_epoch_runs()
        self._check_tags(tags, trailer.index_offset)
        self._check_notes(notes)

    @property
    def bytes_held(self) -> int:
        """Bytes of memory the index keeps, for caches bounded in bytes."""
        return len(self._section)

    def rows(self, stream: StreamId) -> tuple[int, int]:
        """The numbers of the stream's rows: from the first up to the second, equal where it has none."""
        return self._rows_up_to(stream, -1), self._rows_up_to(stream, _POSITION_MAX)

    def find(self, stream: StreamId, position: Position) -> int:
        """The number of the row whose run holds `position`, -1 for none."""
        i = self._rows_up_to(stream, position) - 1
        if i < 0:
            return -1
        row = self.row(i)
        return i if row.stream == stream and position < row.end else -1

    def row(self, i: int) -> Row:
        """Row number `i`, unpacked."""
        assert 0 <= i < self.row_count
        return Row._make(ROW.unpack_from(self._section, INDEX_SIZE_MIN + i * ROW.size))

    def runs(self, stream: StreamId, position: Position, bytes_max: int) -> RunRange | None:
        """The run that holds `position` and those after it that fit into `bytes_max` with it, at least one.

        None where no run holds the position.
        """
        low = self.find(stream, position)
        if low < 0:
            return None
        high = low
        for found, first, end, offset, length, *_ in self._raw_rows(low):
            if high == low:
                runs_first, runs_offset = first, offset
            elif found != stream or offset + length - runs_offset > bytes_max:
                break
            high += 1
            runs_end, bytes_end = end, offset + length
        return RunRange(
            low, high, Position(runs_first), Position(runs_end), runs_offset, bytes_end - runs_offset
        )

    def streams(self) -> Iterator[StreamSpan]:
        """What the block holds of each stream that has bytes or positions in it, streams ascending."""
        stream = -1
        first = end = offset = length = time_max = time_position = -1
        for found, row_first, row_end, row_offset, row_length, _, _, time, time_at in self._raw_rows(0):
            if found != stream:
                if stream >= 0:
                    yield _span(stream, first, end, offset, length, time_max, time_position)
                stream, first, offset, length = found, row_first, row_offset, 0
                time_max = time_position = -1
            end = row_end
            length += row_length
            if time > time_max:
                time_max, time_position = time, time_at
        if stream >= 0:
            yield _span(stream, first, end, offset, length, time_max, time_position)

    def epoch_runs(self) -> Iterator[EpochRun]:
        """The (epoch, first position) runs of the streams that have positions here, streams ascending."""
        view = memoryview(self._section)[self._epochs_at : self._tags_at]
        return map(EpochRun._make, EPOCH_RUN.iter_unpack(view))

    def tags(self) -> Iterator[TagRow]:
        """The kept tags: streams ascending, in append order within a stream."""
        at, section = self._tags_at, self._section
        while at < self._notes_at:
            stream, position, n, offset, length, kind, tag_length = TAG.unpack_from(section, at)
            at += TAG.size + tag_length
            tag = bytes(section[at - tag_length : at])
            yield TagRow(stream, position, n, _KINDS[kind], tag, offset, length)

    def notes(self) -> Iterator[tuple[StreamId, bytes]]:
        """The notes of each stream that has some. Raises Corrupt where packed ones cannot be unpacked."""
        at, section = self._notes_at, self._section
        while at < len(section):
            stream, length, packing = NOTE.unpack_from(section, at)
            at += NOTE.size + length
            blob = bytes(section[at - length : at])
            yield stream, _unpacked(blob) if packing == NOTES_LZ4 else blob

    def _rows_up_to(self, stream: StreamId, position: int) -> int:
        """How many rows begin at or before (stream, position)."""
        section, unpack_from, row_size = self._section, _ROW_KEY.unpack_from, ROW.size
        low, high = 0, self.row_count
        while low < high:
            middle = (low + high) >> 1
            found, first = unpack_from(section, INDEX_SIZE_MIN + middle * row_size)
            if found < stream or (found == stream and first <= position):
                low = middle + 1
            else:
                high = middle
        return low

    def _raw_rows(self, low: int) -> Iterator[tuple[int, ...]]:
        return ROW.iter_unpack(memoryview(self._section)[INDEX_SIZE_MIN + low * ROW.size : self._epochs_at])

    def _check_rows(self, payload_end: int) -> None:
        at = HEADER_SIZE
        last_stream, last_end = -1, 0
        for stream, first, end, offset, length, _crc, _entries, _time, time_position in self._raw_rows(0):
            if stream != last_stream:
                last_end = 0
            if stream < last_stream or first < last_end or end < first or offset != at:
                raise Corrupt(f"the row of stream {stream} at position {first} is out of order")
            if not -1 <= time_position <= end:
                raise Corrupt(f"the row of stream {stream} at position {first} has its time out of range")
            at += length
            last_stream, last_end = stream, end
        if at != payload_end:
            raise Corrupt(f"the rows cover the payload up to byte {at}, not {payload_end}")

    def _check_epoch_runs(self) -> None:
        last = (-1, -1)
        for stream, _epoch, first in self.epoch_runs():
            if (stream, first) <= last or first < 0:
                raise Corrupt(f"the epoch runs of stream {stream} are out of order")
            last = (stream, first)

    def _check_tags(self, count: int, payload_end: int) -> None:
        at, end, section = self._tags_at, self._notes_at, self._section
        last_stream = -1
        for _ in range(count):
            if at + TAG.size > end:
                raise Corrupt("a tag row reaches beyond the tag rows")
            stream, position, _n, offset, length, kind, tag_length = TAG.unpack_from(section, at)
            at += TAG.size + tag_length
            if stream < last_stream or position < 0 or kind >= len(_KINDS):
                raise Corrupt(f"a tag row of stream {stream} is out of order or of an unknown kind")
            if offset < HEADER_SIZE or offset + length > payload_end:
                raise Corrupt(f"a tag row of stream {stream} points outside the payload")
            last_stream = stream
        if at != end:
            raise Corrupt("the tag rows do not end where they should")

    def _check_notes(self, count: int) -> None:
        at, end, section = self._notes_at, len(self._section), self._section
        last_stream = -1
        for _ in range(count):
            if at + NOTE.size > end:
                raise Corrupt("notes reach beyond the index")
            stream, length, packing = NOTE.unpack_from(section, at)
            at += NOTE.size + length
            if stream <= last_stream or packing not in (NOTES_PLAIN, NOTES_LZ4):
                raise Corrupt(f"the notes of stream {stream} are out of order or packed in an unknown way")
            last_stream = stream
        if at != end:
            raise Corrupt("the notes do not end where they should")


def _span(
    stream: int, first: int, end: int, offset: int, length: int, time_max: int, time_position: int
) -> StreamSpan:
    return StreamSpan(
        StreamId(stream), Position(first), Position(end), offset, length, time_max, Position(time_position)
    )


def _unpacked(blob: bytes) -> bytes:
    """Unpack lz4-framed notes. Raises Corrupt, also where they would be longer than NOTES_BYTES_MAX."""
    frame = lz4.frame.LZ4FrameDecompressor()
    try:
        data: bytes = frame.decompress(blob, NOTES_BYTES_MAX)
    except (RuntimeError, EOFError) as error:
        raise Corrupt(f"notes cannot be unpacked: {error}") from error
    if not frame.eof or frame.unused_data:
        raise Corrupt("notes are longer or shorter than they may be")
    return data
