"""One block over its bytes: any bytes become a `Block` or `Corrupt`, nothing else.

A block is what one flush writes: a header, the entries of many streams grouped by stream, an index and a
trailer of fixed size. `block_format` owns the bytes, `block_index` the look-ups, `block_build` the writing.
This module is where readers enter; it names what they need of the others.
"""

from collections.abc import Iterator

from crc32c import crc32c

from wal.block_format import BLOCK_SIZE_MIN, HEADER_SIZE, RUN_BYTES_MAX, BlockHeader, parse_trailer
from wal.block_index import (
    SUFFIX_BYTES,
    EpochRun,
    Index,
    NeedMore,
    Row,
    RunRange,
    StreamSpan,
    TagRow,
)
from wal.errors import Corrupt
from wal.types import Buffer, Position, StreamId

__all__ = [
    "BLOCK_SIZE_MIN",
    "RUN_BYTES_MAX",
    "SUFFIX_BYTES",
    "Block",
    "BlockHeader",
    "EpochRun",
    "Index",
    "NeedMore",
    "Row",
    "RunRange",
    "StreamSpan",
    "TagRow",
    "proof_range",
    "same_write",
]


class Block:
    """A whole block over its bytes. Everything it gives out is a read-only view of them."""

    __slots__ = ("data", "index")

    @classmethod
    def parse(cls, data: Buffer, verify: bool = True) -> "Block":
        """Read a block. With `verify` the payload's checksums are compared too, without it only all others.

        Raises Corrupt, and nothing else, whatever the bytes are.
        """
        block = cls(memoryview(data).toreadonly())
        if verify:
            block.verify()
        return block

    def __init__(self, data: memoryview) -> None:
        """Read a block without comparing the payload's checksums. Use `parse`."""
        if len(data) < BLOCK_SIZE_MIN:
            raise Corrupt(f"{len(data)} bytes are too few for a block")
        trailer = parse_trailer(data, len(data))
        section = data[trailer.index_offset : trailer.index_offset + trailer.index_length]
        if data[:HEADER_SIZE] != section[:HEADER_SIZE]:
            raise Corrupt("the header and its copy in the index differ")
        self.data = data
        self.index = Index(section, trailer, len(data))

    @property
    def header(self) -> BlockHeader:
        """Who wrote the block and where it belongs."""
        return self.index.header

    @property
    def size(self) -> int:
        """Bytes of the whole block."""
        return len(self.data)

    def verify(self) -> None:
        """Compare the checksum of every run. Raises Corrupt."""
        for i in range(self.index.row_count):
            row = self.index.row(i)
            if crc32c(self.data[row.offset : row.offset + row.length]) != row.crc:
                raise Corrupt(f"the run of stream {row.stream} at position {row.first} lacks its checksum")

    def rows(self, stream: StreamId) -> tuple[int, int]:
        """See `Index.rows`."""
        return self.index.rows(stream)

    def find(self, stream: StreamId, position: Position) -> int:
        """See `Index.find`."""
        return self.index.find(stream, position)

    def row(self, i: int) -> Row:
        """See `Index.row`."""
        return self.index.row(i)

    def streams(self) -> Iterator[StreamSpan]:
        """See `Index.streams`."""
        return self.index.streams()

    def epoch_runs(self) -> Iterator[EpochRun]:
        """See `Index.epoch_runs`."""
        return self.index.epoch_runs()

    def tags(self) -> Iterator[TagRow]:
        """See `Index.tags`."""
        return self.index.tags()

    def notes(self) -> Iterator[tuple[StreamId, bytes]]:
        """See `Index.notes`."""
        return self.index.notes()

    def payload(self, tag: TagRow) -> memoryview:
        """The payload of a tagged entry."""
        return self.data[tag.payload_offset : tag.payload_offset + tag.payload_length]

    def slice(
        self, stream: StreamId, position: Position, bytes_max: int
    ) -> tuple[Position, Position, memoryview]:
        """Whole runs from the one that holds `position`, as many as fit into `bytes_max`, at least one.

        First position, end position and bytes. Raises Corrupt where no run holds the position: whoever asks
        knows it from this block's index, or from a directory made of it.
        """
        runs = self.index.runs(stream, position, bytes_max)
        if runs is None:
            raise Corrupt(f"the block {self.header} does not hold position {position} of stream {stream}")
        return runs.first, runs.end, self.data[runs.offset : runs.offset + runs.length]


def proof_range(mine: Buffer) -> tuple[int, int]:
    """Which bytes (start, length) of a stored object tell whether it is the block `mine`; see `same_write`.

    They are index and trailer, which hold writer id and all checksums, and one byte more, so that a longer
    object shows.
    """
    view = memoryview(mine)
    start = parse_trailer(view, len(view)).index_offset
    return start, len(view) - start + 1


def same_write(mine: Buffer, found: Buffer) -> bool:
    """Whether a stored object is the very block we sent, not a rival's or a fence.

    `found` is what `get_range` answered for `proof_range(mine)`: the writer id, new with each ownership, and
    the checksums of everything else are in those bytes.
    """
    return memoryview(mine)[proof_range(mine)[0] :] == memoryview(found)
