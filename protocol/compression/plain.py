"""No compression: the bytes are the records."""

from protocol.batches import Buffer
from protocol.errors import BatchTooLarge


def compress(data: Buffer) -> bytes:
    """Return the bytes as they are."""
    return bytes(data)


def decompress(data: Buffer, bytes_max: int) -> bytes:
    """Return the bytes as they are, if they are at most `bytes_max`; else raise BatchTooLarge."""
    if len(data) > bytes_max:
        raise BatchTooLarge(f"the batch holds more than {bytes_max} bytes")
    return bytes(data)
