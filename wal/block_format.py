"""The bytes of a block: sizes, marks and the fixed parts, each written and read here (docs/formats/block.md).

Header and trailer carry their own checksums; what lies between them is checked by `block_index`.
"""

from struct import Struct
from typing import NamedTuple

from crc32c import crc32c

from wal.errors import Corrupt
from wal.types import Buffer

HEADER_MAGIC = b"DRUMLOGB"
TRAILER_MAGIC = b"DRUMLOGE"
FORMAT_VERSION = 1
FLAG_FENCE = 1

WRITER_BYTES = 16
TAG_BYTES_MAX = 65_535

RUN_BYTES_MAX = 64 * 1024
"""A run is closed before an entry that would make it longer; a larger single entry is a run of its own."""

NOTES_BYTES_MAX = 16 * 1024 * 1024
"""The longest notes of one stream, unpacked."""

NOTES_PLAIN, NOTES_LZ4 = 0, 1

HEADER = Struct(">8sHHIQQQ16sqqq12s")
CHECKSUM = Struct(">I")
COUNTS = Struct(">IIIIII")
ROW = Struct(">QqqIIIIqq")
EPOCH_RUN = Struct(">QQq")
TAG = Struct(">QqIIIBH")
NOTE = Struct(">QIB")
TRAILER_FIELDS = Struct(">III")
TRAILER = Struct(">IIII8s")

HEADER_SIZE = HEADER.size + CHECKSUM.size
INDEX_SIZE_MIN = HEADER_SIZE + COUNTS.size
BLOCK_SIZE_MIN = HEADER_SIZE + INDEX_SIZE_MIN + TRAILER.size
BLOCK_SIZE_MAX = 2**32 - 1

_RESERVED = bytes(12)


class BlockHeader(NamedTuple):
    """Who wrote a block, where it belongs, and what came before it.

    writer: 16 random bytes, new with each ownership. created_at: ms since 1970. previous_last: number of the
    last block of the previous segment, -1 for none. fence: nothing but a mark that ends a segment for its old
    writer. merged_from: in a merged block the oldest segment it holds entries of (`segment` is the newest and
    `n` counts the blocks of the merge), else -1.
    """

    log: int
    segment: int
    n: int
    epoch: int
    writer: bytes
    created_at: int
    previous_last: int = -1
    fence: bool = False
    merged_from: int = -1


class Trailer(NamedTuple):
    """The last bytes of a block: where its index lies and the index's checksum."""

    index_offset: int
    index_length: int
    index_crc: int


def header_bytes(header: BlockHeader) -> bytes:
    """The header as it stands at the start of the object and again at the start of the index."""
    assert len(header.writer) == WRITER_BYTES
    fields = HEADER.pack(
        HEADER_MAGIC,
        FORMAT_VERSION,
        FLAG_FENCE if header.fence else 0,
        header.log,
        header.segment,
        header.n,
        header.epoch,
        header.writer,
        header.created_at,
        header.previous_last,
        header.merged_from,
        _RESERVED,
    )
    return fields + CHECKSUM.pack(crc32c(fields))


def parse_header(data: Buffer) -> BlockHeader:
    """Read the header at the start of `data`. Raises Corrupt."""
    if len(data) < HEADER_SIZE:
        raise Corrupt(f"{len(data)} bytes are too few for a header")
    magic, version, flags, log, segment, n, epoch, *rest, reserved = HEADER.unpack_from(data)
    writer, created_at, previous_last, merged_from = rest
    if magic != HEADER_MAGIC:
        raise Corrupt("the header does not begin with a block's magic bytes")
    if crc32c(memoryview(data)[: HEADER.size]) != CHECKSUM.unpack_from(data, HEADER.size)[0]:
        raise Corrupt("the header does not have its checksum")
    if version != FORMAT_VERSION:
        raise Corrupt(f"block format version {version} is not known here, only {FORMAT_VERSION}")
    if flags & ~FLAG_FENCE or reserved != _RESERVED:
        raise Corrupt("the header has flags or fields that are not known here")
    fence = bool(flags & FLAG_FENCE)
    return BlockHeader(log, segment, n, epoch, writer, created_at, previous_last, fence, merged_from)


def trailer_bytes(trailer: Trailer) -> bytes:
    """The trailer as it stands at the end of the object."""
    fields = TRAILER_FIELDS.pack(*trailer)
    return fields + CHECKSUM.pack(crc32c(fields)) + TRAILER_MAGIC


def parse_trailer(suffix: memoryview, object_size: int) -> Trailer:
    """Read the trailer from `suffix`, the last bytes of an object of `object_size`. Raises Corrupt."""
    at = len(suffix) - TRAILER.size
    if at < 0:
        raise Corrupt(f"{len(suffix)} bytes are too few for a trailer")
    index_offset, index_length, index_crc, crc, magic = TRAILER.unpack_from(suffix, at)
    if magic != TRAILER_MAGIC:
        raise Corrupt("the object does not end with a block's magic bytes")
    if crc32c(suffix[at : at + TRAILER_FIELDS.size]) != crc:
        raise Corrupt("the trailer does not have its checksum")
    if index_offset < HEADER_SIZE or index_length < INDEX_SIZE_MIN:
        raise Corrupt("the trailer points to where no index can be")
    if index_offset + index_length + TRAILER.size != object_size:
        raise Corrupt(f"the trailer does not fit an object of {object_size} bytes")
    return Trailer(index_offset, index_length, index_crc)
