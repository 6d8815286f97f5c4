"""lz4: one frame per batch (the LZ4 frame format), opened in steps so that the output stays bounded."""

import lz4.frame

from protocol.batches import Buffer
from protocol.errors import BatchTooLarge, CorruptBatch

_STEP_BYTES_MIN = 64 * 1024


def compress(data: Buffer) -> bytes:
    """Close `data` into one frame: no linked blocks, no stored size, since Java clients read neither."""
    return bytes(lz4.frame.compress(data, block_linked=False, store_size=False))


def decompress(data: Buffer, bytes_max: int) -> bytes:
    """Open one frame into at most `bytes_max` bytes. Raises CorruptBatch or BatchTooLarge."""
    view = memoryview(data)
    context = lz4.frame.create_decompression_context()
    opened = bytearray()
    at = 0
    ended = False
    while not ended:
        # One byte more than allowed tells a batch of exactly the limit from a larger one.
        step = min(bytes_max + 1 - len(opened), max(_STEP_BYTES_MIN, 4 * len(view), len(opened)))
        try:
            part, consumed, ended = lz4.frame.decompress_chunk(context, view[at:], max_length=step)
        except RuntimeError as error:
            raise CorruptBatch(f"lz4: {error}") from error
        opened += part
        at += consumed
        if len(opened) > bytes_max:
            raise BatchTooLarge(f"the batch opens to more than {bytes_max} bytes")
        if not ended and not part and not consumed:
            raise CorruptBatch("lz4: the frame has no end")
    if at != len(view):
        raise CorruptBatch("lz4: bytes lie behind the frame")
    return bytes(opened)
