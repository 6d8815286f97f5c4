"""Where the streams of one segment lie: for each stream its stretches, one per block, in order.

Rows are packed bytes and searched in place; a busy segment has a million of them. The same rows are the
segment's directory object once it is sealed (docs/formats/directory.md): a table of streams, then their rows,
with a checksum at the end.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import crc32c

from wal.errors import Corrupt
from wal.types import Buffer, StreamId

ROW = struct.Struct(">qqIIIqq")
HEADER = struct.Struct(">8sHHIQ")
STREAM = struct.Struct(">QQI")
CHECKSUM = struct.Struct(">I")
MAGIC = b"DRUMDIR\n"
FORMAT = 1
_ENDS = struct.Struct(">qq")


class Stretch(NamedTuple):
    """What one block holds of one stream: positions first to end, `length` bytes at `offset` of block `n`."""

    first: int
    end: int
    n: int
    offset: int
    length: int
    time_max: int
    time_max_position: int


class Rows:
    """The stretches of one stream in one segment, as packed rows in position order."""

    __slots__ = ("_data",)

    def __init__(self, data: Buffer) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data) // ROW.size

    @property
    def size(self) -> int:
        """Bytes of all stretches."""
        return sum(length for _, _, _, _, length, _, _ in ROW.iter_unpack(self._data))

    def row(self, index: int) -> Stretch:
        """The stretch number `index`."""
        return Stretch(*ROW.unpack_from(self._data, index * ROW.size))

    def find(self, position: int) -> int:
        """Index of the first stretch that ends above `position`; `len` where none does."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if _ENDS.unpack_from(self._data, middle * ROW.size)[1] > position:
                high = middle
            else:
                low = middle + 1
        return low


class Directory:
    """A segment's directory, growing block by block or read from its object."""

    def __init__(self) -> None:
        self._rows: dict[StreamId, bytearray | memoryview] = {}
        self.size = 0

    def add(self, stream: StreamId, stretch: Stretch) -> None:
        """The next block holds this stretch of the stream."""
        rows = self._rows.get(stream)
        if rows is None:
            rows = self._rows[stream] = bytearray()
            self.size += STREAM.size
        rows += ROW.pack(*stretch)  # type: ignore[operator]
        self.size += ROW.size

    def rows(self, stream: StreamId) -> Rows | None:
        """The stream's stretches; None where the segment holds nothing of it."""
        data = self._rows.get(stream)
        return None if data is None else Rows(data)

    def ends(self) -> Iterator[tuple[StreamId, int]]:
        """Each stream of the segment and the position after its last entry there."""
        for stream, data in self._rows.items():
            yield stream, _ENDS.unpack_from(data, len(data) - ROW.size)[1]

    def pack(self, segment: int) -> bytes:
        """The directory as an object."""
        streams = sorted(self._rows)
        parts: list[Buffer] = [HEADER.pack(MAGIC, FORMAT, 0, len(streams), segment)]
        offset = HEADER.size + STREAM.size * len(streams)
        for stream in streams:
            size = len(self._rows[stream])
            parts.append(STREAM.pack(stream, offset, size // ROW.size))
            offset += size
        parts.extend(self._rows[stream] for stream in streams)
        body = b"".join(parts)
        return body + CHECKSUM.pack(crc32c.crc32c(body))

    @classmethod
    def parse(cls, data: bytes, segment: int) -> "Directory":
        """The directory that `pack` made. Raises Corrupt for any other bytes."""
        body = len(data) - CHECKSUM.size
        if body < HEADER.size or CHECKSUM.unpack_from(data, body)[0] != crc32c.crc32c(
            memoryview(data)[:body]
        ):
            raise Corrupt(f"the directory of segment {segment} does not match its checksum")
        magic, version, _, count, stored_segment = HEADER.unpack_from(data)
        if magic != MAGIC or version != FORMAT or stored_segment != segment:
            raise Corrupt(
                f"expected a directory of segment {segment} in format {FORMAT}, got {magic!r} {version}"
            )
        directory = cls()
        view = memoryview(data)
        if HEADER.size + count * STREAM.size > body:
            raise Corrupt(f"the directory of segment {segment} names more streams than it has room for")
        for index in range(count):
            stream, offset, rows = STREAM.unpack_from(data, HEADER.size + index * STREAM.size)
            if not rows or offset + rows * ROW.size > body:
                raise Corrupt(f"the directory of segment {segment} points outside of itself")
            directory._rows[StreamId(stream)] = view[offset : offset + rows * ROW.size]
        directory.size = len(data)
        return directory
