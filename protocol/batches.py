"""Record batches (magic 2) as views of their 61-byte header: walk, check, patch. Records stay closed.

Everything here costs per batch, never per record: the checksum is the only step that looks at all bytes. The
header is big-endian and fixed; the CRC32C covers the bytes from `attributes` (21) to the end, so base offset
and leader epoch, which lie before it, may be patched without a new checksum, while stamping an append time
needs one. What is refused here, and with which error, is what Kafka refuses from a producer without opening
the records.
"""

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from crc32c import crc32c

from protocol.errors import CorruptBatch, InvalidBatch, UnsupportedCodec

Buffer = bytes | bytearray | memoryview

HEADER_SIZE = 61
MAGIC = 2

_HEADER = Struct(">qiibIhiqqqhii")
_PLACE = Struct(">qi11xi")
_BASE_OFFSET = Struct(">q")
_LEADER_EPOCH = Struct(">i")
_CRC = Struct(">I")
_ATTRIBUTES = Struct(">h")
_MAX_TIMESTAMP = Struct(">q")

_LENGTH_END = 12
"""`batch_length` counts the bytes after itself, which is here."""
_LEADER_EPOCH_AT = 12
_MAGIC_AT = 16
_CRC_AT = 17
_ATTRIBUTES_AT = 21
_MAX_TIMESTAMP_AT = 35

_CODEC_BITS = 0x07
_LOG_APPEND_TIME_BIT = 0x08
_TRANSACTIONAL_BIT = 0x10
_CONTROL_BIT = 0x20


class Codec(IntEnum):
    """How the records of a batch are compressed: the low three bits of its attributes."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


_CODECS = {int(codec): codec for codec in Codec}


class BatchHeader(NamedTuple):
    """The header of one batch as it lies in the bytes; nothing in it has been checked by having been read."""

    base_offset: int
    batch_length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size(self) -> int:
        """Bytes of the whole batch, header included."""
        return self.batch_length + _LENGTH_END

    @property
    def last_offset(self) -> int:
        """Offset of the last position the batch spans."""
        return self.base_offset + self.last_offset_delta

    @property
    def codec(self) -> Codec:
        """The compression of the records; raises UnsupportedCodec for a number that names none."""
        codec = _CODECS.get(self.attributes & _CODEC_BITS)
        if codec is None:
            raise UnsupportedCodec(f"codec {self.attributes & _CODEC_BITS} does not exist")
        return codec

    @property
    def is_transactional(self) -> bool:
        """Whether the batch belongs to a transaction."""
        return bool(self.attributes & _TRANSACTIONAL_BIT)

    @property
    def is_control(self) -> bool:
        """Whether the batch holds a marker instead of a producer's records."""
        return bool(self.attributes & _CONTROL_BIT)

    @property
    def uses_log_append_time(self) -> bool:
        """Whether every record's timestamp is `max_timestamp`, stamped at append."""
        return bool(self.attributes & _LOG_APPEND_TIME_BIT)

    @property
    def time_max(self) -> int:
        """Largest timestamp the header vouches for, -1 for none.

        Some producers leave `max_timestamp` at -1; the first record's timestamp is then the best that is
        known.
        """
        if self.attributes & _LOG_APPEND_TIME_BIT:
            return self.max_timestamp
        return max(self.base_timestamp, self.max_timestamp)


def read_header(view: Buffer, at: int = 0) -> BatchHeader:
    """Read the header at byte `at`, unjudged. Raises CorruptBatch if fewer than 61 bytes are left."""
    if len(view) - at < HEADER_SIZE:
        raise CorruptBatch(f"{len(view) - at} bytes are too few for a batch header")
    return BatchHeader._make(_HEADER.unpack_from(view, at))


def write_header(view: bytearray | memoryview, header: BatchHeader) -> None:
    """Write a whole header at the start of a writable view, its `crc` as given: see `seal`."""
    _HEADER.pack_into(view, 0, *header)


def check(view: Buffer) -> BatchHeader:
    """Return the header of the one batch that spans `view`, if a producer may send it.

    Raises CorruptBatch (cut short, checksum), InvalidBatch (magic, more than one batch, a broken rule) or
    UnsupportedCodec. Transactional and control batches pass: the caller decides about them. zstd passes too;
    that it needs Produce v7 is the caller's to know.
    """
    if len(view) < HEADER_SIZE:
        raise _short(view)
    header = BatchHeader._make(_HEADER.unpack_from(view))
    if header.magic != MAGIC:
        raise InvalidBatch(f"magic {header.magic} is not supported, only {MAGIC} is")
    _check_whole(view, header)
    if header.base_offset != 0:
        raise InvalidBatch(f"the base offset of a produced batch is 0, not {header.base_offset}")
    if header.record_count < 1 or header.record_count != header.last_offset_delta + 1:
        raise InvalidBatch(
            f"{header.record_count} records do not fit a last offset delta of {header.last_offset_delta}"
        )
    if header.attributes & _CODEC_BITS > Codec.ZSTD:
        raise UnsupportedCodec(f"codec {header.attributes & _CODEC_BITS} does not exist")
    if header.base_timestamp < -1 or header.max_timestamp < -1:
        raise InvalidBatch(f"timestamps {header.base_timestamp} and {header.max_timestamp} precede the epoch")
    if header.attributes & _LOG_APPEND_TIME_BIT:
        raise InvalidBatch("a producer may not claim LogAppendTime")
    if header.producer_id >= 0 and header.base_sequence < 0:
        raise InvalidBatch(f"producer {header.producer_id} sent the sequence {header.base_sequence}")
    return header


def check_intact(view: Buffer) -> BatchHeader:
    """Return the header of the one batch of magic 2 that spans `view`, if it is as it was written.

    For stored batches: only size, magic and checksum are looked at. Raises CorruptBatch, nothing else.
    """
    header = read_header(view)
    if header.magic != MAGIC:
        raise CorruptBatch(f"magic {header.magic} instead of {MAGIC}")
    if header.size < len(view):
        raise CorruptBatch(f"{len(view) - header.size} bytes lie behind the batch")
    _check_whole(view, header)
    return header


def _short(view: Buffer) -> CorruptBatch | InvalidBatch:
    """What is wrong with bytes that are too few for a header. Batches of older magics can be that small."""
    if not len(view):
        return InvalidBatch("there is no batch")
    if len(view) > _MAGIC_AT and view[_MAGIC_AT] < MAGIC:
        return InvalidBatch(f"magic {view[_MAGIC_AT]} is not supported, only {MAGIC} is")
    return CorruptBatch(f"{len(view)} bytes are too few for a batch header")


def _check_whole(view: Buffer, header: BatchHeader) -> None:
    """Compare size and checksum. Raises CorruptBatch, or InvalidBatch for bytes behind the batch."""
    size = header.size
    if size < HEADER_SIZE or size > len(view):
        raise CorruptBatch(f"a batch of {size} bytes cannot lie in {len(view)}")
    if size != len(view):
        raise InvalidBatch("more than one batch")
    if crc32c(memoryview(view)[_ATTRIBUTES_AT:]) != header.crc:
        raise CorruptBatch("the checksum does not match")


def patch(view: bytearray | memoryview, base_offset: int, leader_epoch: int) -> None:
    """Write base offset and leader epoch into the batch at the start of a writable view."""
    _BASE_OFFSET.pack_into(view, 0, base_offset)
    _LEADER_EPOCH.pack_into(view, _LEADER_EPOCH_AT, leader_epoch)


def stamp(view: bytearray | memoryview, time_ms: int) -> None:
    """Give every record of the one batch that spans a writable view the append time `time_ms`."""
    (attributes,) = _ATTRIBUTES.unpack_from(view, _ATTRIBUTES_AT)
    _ATTRIBUTES.pack_into(view, _ATTRIBUTES_AT, attributes | _LOG_APPEND_TIME_BIT)
    _MAX_TIMESTAMP.pack_into(view, _MAX_TIMESTAMP_AT, time_ms)
    seal(view)


def seal(view: bytearray | memoryview) -> None:
    """Write the checksum of the one batch that spans a writable view, as it is now."""
    _CRC.pack_into(view, _CRC_AT, crc32c(memoryview(view)[_ATTRIBUTES_AT:]))


def walk(view: Buffer) -> Iterator[tuple[int, BatchHeader]]:
    """Give each batch of a slice in order: the byte where it begins, and its header.

    The slice holds whole batches. Raises CorruptBatch where it does not; checksums are not looked at.
    """
    at = 0
    size = len(view)
    while at < size:
        header = read_header(view, at)
        end = at + header.size
        if header.size < HEADER_SIZE or end > size:
            raise CorruptBatch(f"a batch of {header.size} bytes cannot lie at byte {at} of {size}")
        yield at, header
        at = end


def _places(view: Buffer, at: int = 0) -> Iterator[tuple[int, int, int]]:
    """As `walk`, with only (begin, end, last offset) of each batch: half the cost for cutting slices."""
    size = len(view)
    while at < size:
        if size - at < HEADER_SIZE:
            raise CorruptBatch(f"{size - at} bytes are too few for a batch header")
        base_offset, batch_length, last_offset_delta = _PLACE.unpack_from(view, at)
        end = at + batch_length + _LENGTH_END
        if end - at < HEADER_SIZE or end > size:
            raise CorruptBatch(f"a batch of {end - at} bytes cannot lie at byte {at} of {size}")
        yield at, end, base_offset + last_offset_delta
        at = end


def slice_from(view: Buffer, offset: int) -> int:
    """Byte where the first batch begins that reaches `offset` or beyond; the size of the slice if none does.

    The batch may begin below the offset: a reader skips the records before it. Raises CorruptBatch as `walk`
    does.
    """
    for begin, _end, last_offset in _places(view):
        if last_offset >= offset:
            return begin
    return len(view)


def size_within(view: Buffer, bytes_max: int, *, at_least_one: bool) -> int:
    """Bytes of the leading whole batches that fit in `bytes_max`.

    With `at_least_one` the first batch counts even if it is larger. Raises CorruptBatch as `walk` does.
    """
    if len(view) <= bytes_max:
        return len(view)
    size = 0
    for _begin, end, _last_offset in _places(view):
        if end > bytes_max and (size or not at_least_one):
            break
        size = end
        if size > bytes_max:
            break
    return size
