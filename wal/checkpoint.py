"""Checkpoints: the state of a log as of the end of a segment, in chunks of streams.

A checkpoint is a list object naming chunk objects (docs/formats/checkpoint.md). Streams are gathered into
*buckets* of a thousand neighbouring ids; a bucket is written as one chunk, or several where its bytes are
many. Only buckets with changed streams are written, the others are named again. `Capture` takes the state as
of one moment while the log goes on: a stream that is about to change is taken first (copy on write), all
others are taken in small slices of time.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import crc32c
import lz4.frame
import msgpack

from wal.errors import Corrupt
from wal.streams import Streams, StreamState
from wal.types import State, StreamId

MAGIC = b"DRUMCKP\n"
HEADER = struct.Struct(">8sHHI")
FORMAT = 1
KIND_LIST = 1
KIND_CHUNK = 2
BUCKET_STREAMS = 1000
PLAIN_BYTES_MAX = 1 << 30
"""Larger than any honest checkpoint object; bounds what a damaged one may unpack to."""


class Stored(NamedTuple):
    """One stream in a chunk: its facts, and the state machine's bytes."""

    stream: StreamId
    facts: StreamState
    state: bytes


class ChunkName(NamedTuple):
    """A chunk in a checkpoint's list: its bucket, its object's id, its first and last stream."""

    bucket: int
    id: str
    first: int
    last: int


def bucket_of(stream: StreamId) -> int:
    """The bucket that the stream's state is kept in."""
    return stream // BUCKET_STREAMS


def pack_chunks(stored: Iterable[Stored], bytes_max: int) -> Iterator[tuple[int, int, bytes]]:
    """(first stream, last stream, object) of a bucket's streams in ascending order, cut near `bytes_max`."""
    rows: list[object] = []
    size = 0
    first = last = 0
    for stream, facts, state in stored:
        if rows and size >= bytes_max:
            yield first, last, _pack(KIND_CHUNK, rows)
            rows, size = [], 0
        if not rows:
            first = stream
        last = stream
        rows.append([stream, facts.pack(), state])
        size += 64 + 16 * len(facts.epochs) + len(state)
    if rows:
        yield first, last, _pack(KIND_CHUNK, rows)


def unpack_chunk(data: bytes) -> list[Stored]:
    """The streams of a chunk. Raises Corrupt."""
    try:
        return [
            Stored(StreamId(row[0]), StreamState.unpack(row[1]), bytes(row[2]))
            for row in _unpack(KIND_CHUNK, data)
        ]
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise Corrupt(f"a checkpoint chunk holds what is no stream: {error}") from error


def pack_list(segment: int, chunks: Iterable[ChunkName]) -> bytes:
    """The list object of the checkpoint as of the end of `segment`."""
    return _pack(KIND_LIST, [segment, [list(chunk) for chunk in sorted(chunks)]])


def unpack_list(data: bytes) -> tuple[int, list[ChunkName]]:
    """The segment and the chunks of a checkpoint. Raises Corrupt."""
    try:
        segment, rows = _unpack(KIND_LIST, data)
        return int(segment), [ChunkName(int(b), str(i), int(f), int(t)) for b, i, f, t in rows]
    except (ValueError, TypeError) as error:
        raise Corrupt(f"a checkpoint list holds what is no chunk name: {error}") from error


def _pack(kind: int, value: object) -> bytes:
    body = lz4.frame.compress(msgpack.packb(value))
    return bytes(HEADER.pack(MAGIC, FORMAT, kind, crc32c.crc32c(body)) + body)


def _unpack(kind: int, data: bytes) -> Any:
    if len(data) < HEADER.size:
        raise Corrupt(f"a checkpoint object of {len(data)} bytes is shorter than its header")
    magic, version, stored_kind, checksum = HEADER.unpack_from(data)
    body = memoryview(data)[HEADER.size :]
    if (magic, version, stored_kind) != (MAGIC, FORMAT, kind):
        raise Corrupt(
            f"expected a checkpoint object of kind {kind}, format {FORMAT}, "
            f"got {magic!r} {stored_kind} {version}"
        )
    if crc32c.crc32c(body) != checksum:
        raise Corrupt("a checkpoint object does not match its checksum")
    try:
        plain = lz4.frame.LZ4FrameDecompressor().decompress(body, max_length=PLAIN_BYTES_MAX)
        return msgpack.unpackb(plain, strict_map_key=False)
    except (RuntimeError, ValueError, msgpack.UnpackException) as error:
        raise Corrupt(f"a checkpoint object cannot be unpacked: {error}") from error


class Capture:
    """The changed buckets of a log's durable view, as of the moment of construction.

    `before_change` must be called before any stream changes while the capture is not `complete`. `take` goes
    on with the work.
    """

    def __init__(self, segment: int, streams: Streams, state: State) -> None:
        self.segment = segment
        self._streams = streams
        self._state = state
        self.buckets = {bucket_of(stream) for stream in streams.dirty}
        self._pending = (
            {stream for stream in streams if bucket_of(stream) in self.buckets} if self.buckets else set()
        )
        self._taken: dict[int, list[Stored]] = {bucket: [] for bucket in self.buckets}
        streams.dirty = set()

    @property
    def complete(self) -> bool:
        """Everything is taken; the log may change as it likes."""
        return not self._pending

    def before_change(self, stream: StreamId) -> None:
        """Take the stream now if it still is to be taken."""
        if stream in self._pending:
            self._pending.discard(stream)
            self._take(stream)

    def take(self, most: int) -> None:
        """Take up to `most` of the streams that are left."""
        for _ in range(min(most, len(self._pending))):
            self._take(self._pending.pop())

    def bucket(self, bucket: int) -> list[Stored]:
        """A changed bucket's streams in ascending order, once complete; empty where all of them are gone."""
        assert self.complete
        return sorted(self._taken[bucket], key=lambda stored: stored.stream)

    def _take(self, stream: StreamId) -> None:
        facts = self._streams.get(stream)
        assert facts is not None, "a stream was dropped without before_change"
        copy = StreamState.unpack(facts.pack())
        self._taken[bucket_of(stream)].append(Stored(stream, copy, self._state.snapshot(stream)))
