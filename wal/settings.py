"""The log's numbers: every limit that the log keeps, named, with its default.

Settings are frozen numbers; components (stores, clocks) are objects that are passed. Where a limit is reached
the log pushes back or refuses, it never grows past it. Figures that belong to an object store's price table
live with the flush policy.
"""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What one node's logs may use, and when their segments roll.

    flush_bytes_max: a block is cut when its payload reaches this; one larger entry still makes one block.
    flushes_in_flight_max: flushes of one log that overlap; acknowledgements keep block order all the same.
    buffer_bytes_max: appended and not yet durable bytes of all logs of the node; at the limit sockets pause.
    cache_bytes_max: blocks kept after their flush, for consumers at the tail.
    cold_cache_bytes_max: old blocks read back from the store; apart, so that catch-up never evicts the tail.
    segment_bytes, segment_blocks, segment_ms: a segment rolls at the first of these that it reaches.
    segments_unsealed_max, blocks_unsealed_max: more than this per log, and appends slow down.
    index_suffix_bytes: how much of a block's end recovery asks for before it knows the index's length.
    reads_in_flight_max: store reads that run at once in a recovery or a catch-up read.
    chunk_streams_max, chunk_bytes_max: a checkpoint chunk ends at the first of these.
    retry_ms_min, retry_ms_max: bounds of the back-off between tries of a store call, before jitter.
    """

    flush_bytes_max: int = 8 * MIB
    flushes_in_flight_max: int = 8
    buffer_bytes_max: int = 64 * MIB
    cache_bytes_max: int = 256 * MIB
    cold_cache_bytes_max: int = 64 * MIB
    segment_bytes: int = 512 * MIB
    segment_blocks: int = 1_000
    segment_ms: int = 600_000
    segments_unsealed_max: int = 4
    blocks_unsealed_max: int = 4_000
    index_suffix_bytes: int = 256 * KIB
    reads_in_flight_max: int = 16
    chunk_streams_max: int = 1_000
    chunk_bytes_max: int = 1 * MIB
    retry_ms_min: int = 50
    retry_ms_max: int = 5_000
