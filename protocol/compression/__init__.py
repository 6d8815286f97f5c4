"""Opening and closing the records of a batch: the table of codecs, one module each.

Every codec promises the same. `compress(data)` gives one frame that all Kafka clients can read.
`decompress(data, bytes_max)` gives back what was compressed; it raises CorruptBatch for bytes that are not
one whole frame, and BatchTooLarge as soon as more than `bytes_max` bytes would come out, before holding much
more than that in memory.
"""

from collections.abc import Callable
from typing import NamedTuple

from protocol.batches import Buffer, Codec
from protocol.compression import gzip, lz4, plain, snappy, zstd


class _Functions(NamedTuple):
    compress: Callable[[Buffer], bytes]
    decompress: Callable[[Buffer, int], bytes]


_TABLE = {
    Codec.NONE: _Functions(plain.compress, plain.decompress),
    Codec.GZIP: _Functions(gzip.compress, gzip.decompress),
    Codec.SNAPPY: _Functions(snappy.compress, snappy.decompress),
    Codec.LZ4: _Functions(lz4.compress, lz4.decompress),
    Codec.ZSTD: _Functions(zstd.compress, zstd.decompress),
}


def compress(codec: Codec, data: Buffer) -> bytes:
    """Close `data` with the codec."""
    return _TABLE[codec].compress(data)


def decompress(codec: Codec, data: Buffer, bytes_max: int) -> bytes:
    """Open `data` into at most `bytes_max` bytes. Raises CorruptBatch or BatchTooLarge."""
    return _TABLE[codec].decompress(data, bytes_max)
