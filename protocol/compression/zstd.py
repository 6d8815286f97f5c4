"""zstd: frames as RFC 8878 has them, opened into buffers that grow up to the limit.

The binding has no streaming reader with a bound, but it can open into a buffer of ours and fails when that is
full. Most producers do not write the content size into the frame, so the size is found by trying: each buffer
is four times the last one, which costs at most a third more work than knowing it.
"""

import cramjam

from protocol.batches import Buffer
from protocol.errors import BatchTooLarge, CorruptBatch

_BUFFER_BYTES_MIN = 64 * 1024
_GROWTH = 4
_FULL = "failed to write whole buffer"
"""How the binding says that the output did not fit, the only failure that more room can cure."""


def compress(data: Buffer) -> bytes:
    """Close `data` into one frame."""
    return bytes(cramjam.zstd.compress(data))


def decompress(data: Buffer, bytes_max: int) -> bytes:
    """Open frames into at most `bytes_max` bytes. Raises CorruptBatch or BatchTooLarge."""
    room = min(bytes_max, max(_BUFFER_BYTES_MIN, _GROWTH * len(data)))
    while True:
        output = bytearray(room)
        try:
            size = cramjam.zstd.decompress_into(data, output)
        except cramjam.DecompressionError as error:
            if _FULL not in str(error):
                raise CorruptBatch(f"zstd: {error}") from error
            if room >= bytes_max:
                raise BatchTooLarge(f"the batch opens to more than {bytes_max} bytes") from error
            room = min(bytes_max, _GROWTH * room)
        else:
            return bytes(memoryview(output)[:size])
