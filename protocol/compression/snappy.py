"""snappy: raw blocks as librdkafka writes them, or the framing of the xerial library as Java clients do.

The framing is a header of 16 bytes (a magic of 8, then two version numbers) and blocks, each behind its
length as int32. Its magic cannot begin a raw block: it would say that the first element copies from before
the start. Neither can it be taken for a block length, which is never negative; a writer that concatenates
streams may repeat the header between blocks.
"""

from struct import Struct

import cramjam

from protocol.batches import Buffer
from protocol.errors import BatchTooLarge, CorruptBatch

_MAGIC = b"\x82SNAPPY\x00"
_HEADER_SIZE = 16
_LENGTH = Struct(">i")

_RATIO_MAX = 32
"""No element gives more than 64 bytes for 3: a block that claims more is not worth the memory."""


def compress(data: Buffer) -> bytes:
    """Close `data` into one raw block."""
    return bytes(cramjam.snappy.compress_raw(data))


def decompress(data: Buffer, bytes_max: int) -> bytes:
    """Open a block or framed stream into at most `bytes_max` bytes. Raises CorruptBatch or BatchTooLarge."""
    view = memoryview(data)
    if view[: len(_MAGIC)] != _MAGIC:
        return _decompress_block(view, bytes_max)
    opened = bytearray()
    at = 0
    while at < len(view):
        if view[at : at + len(_MAGIC)] == _MAGIC:
            at += _HEADER_SIZE
            continue
        if len(view) - at < _LENGTH.size:
            raise CorruptBatch("snappy: a block's length is cut short")
        (length,) = _LENGTH.unpack_from(view, at)
        at += _LENGTH.size
        if length < 1 or length > len(view) - at:
            raise CorruptBatch(f"snappy: a block of {length} bytes where {len(view) - at} are left")
        opened += _decompress_block(view[at : at + length], bytes_max - len(opened))
        at += length
    if at != len(view):
        raise CorruptBatch("snappy: the stream's header is cut short")
    return bytes(opened)


def _decompress_block(block: memoryview, bytes_max: int) -> bytes:
    try:
        size = cramjam.snappy.decompress_raw_len(block)
        if size > _RATIO_MAX * len(block):
            raise CorruptBatch(f"snappy: a block of {len(block)} bytes cannot open to {size}")
        if size > bytes_max:
            raise BatchTooLarge("the batch opens to more bytes than allowed")
        return bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError as error:
        raise CorruptBatch(f"snappy: {error}") from error
