"""Which slot a group lives in, and which stream of which log carries the slot.

The slot is the CRC-32C of the name's UTF-8 bytes modulo 64; it never changes, since the number of slots is
fixed when a cluster is made (docs/formats/group-state.md).
"""

import crc32c

from gateway.cluster_record import SLOTS
from wal.types import STATE_STREAMS, StreamId

assert SLOTS < STATE_STREAMS


def slot_of(group: str) -> int:
    """The slot of the group of this name."""
    return int(crc32c.crc32c(group.encode("utf-8", "surrogatepass"))) % SLOTS


def stream_of(slot: int) -> StreamId:
    """The stream that carries a slot; 0 is no slot's."""
    assert 0 <= slot < SLOTS
    return StreamId(slot + 1)
