"""gzip: one member per batch (RFC 1952), by the standard library's zlib."""

import zlib

from protocol.batches import Buffer
from protocol.errors import BatchTooLarge, CorruptBatch

_WINDOW_BITS = 16 + zlib.MAX_WBITS
"""The 16 asks zlib for the gzip header and trailer instead of its own."""


def compress(data: Buffer) -> bytes:
    """Close `data` into one gzip member."""
    compressor = zlib.compressobj(wbits=_WINDOW_BITS)
    return compressor.compress(data) + compressor.flush()


def decompress(data: Buffer, bytes_max: int) -> bytes:
    """Open one gzip member into at most `bytes_max` bytes. Raises CorruptBatch or BatchTooLarge."""
    decompressor = zlib.decompressobj(wbits=_WINDOW_BITS)
    try:
        # One byte more than allowed tells a batch of exactly the limit from a larger one.
        opened = decompressor.decompress(data, bytes_max + 1)
    except zlib.error as error:
        raise CorruptBatch(f"gzip: {error}") from error
    if len(opened) > bytes_max:
        raise BatchTooLarge(f"the batch opens to more than {bytes_max} bytes")
    if not decompressor.eof:
        raise CorruptBatch("gzip: the member has no end")
    if decompressor.unused_data:
        raise CorruptBatch("gzip: bytes lie behind the member")
    return opened
