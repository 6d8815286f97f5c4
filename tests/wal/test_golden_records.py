"""What is written stays readable: stored bytes of every kind that has no golden file of its own."""

from pathlib import Path

import pytest

from wal.checkpoint import ChunkName, Stored, pack_chunks, pack_list, unpack_chunk, unpack_list
from wal.directory import Directory, Stretch
from wal.errors import Corrupt
from wal.manifest import GarbageRecord, LogRecord, SegmentRecord
from wal.streams import StreamState
from wal.types import StreamId

GOLDEN = Path(__file__).parent.parent / "golden" / "wal"

LOG = LogRecord(epoch=7, owner="0-00ff", segment_next=12)
SEGMENT = SegmentRecord(segment=9, epoch=6).seal(
    41, 1 << 20, 1_700_000_000_000, 1_700_000_600_000, "ck", "dir"
)
GARBAGE = GarbageRecord(
    segment=3,
    blocks=8,
    not_before=1_700_000_000_000,
    fence=8,
    fence_not_before=1_700_600_000_000,
    chunks=["a"],
)
STREAMS = [
    Stored(StreamId(3), StreamState(0, 12, -1, -1, 400, [1, 0]), b"offsets"),
    Stored(StreamId(2000), StreamState(5, 99, 1_700_000_000_123, 42, 12_345, [1, 5, 4, 60]), b""),
]
CHUNKS = [ChunkName(0, "c-1", 3, 3), ChunkName(2, "c-2", 2000, 2000)]


def _directory() -> Directory:
    directory = Directory()
    directory.add(StreamId(2000), Stretch(0, 10, 0, 100, 5_000, 1_700_000_000_000, 3))
    directory.add(StreamId(2000), Stretch(10, 12, 4, 100, 900, -1, -1))
    directory.add(StreamId(3), Stretch(7, 8, 0, 96, 4, -1, -1))
    return directory


def _bytes(name: str) -> bytes:
    return bytes.fromhex((GOLDEN / f"{name}.hex").read_text())


def test_records_in_the_metadata_store() -> None:
    for name, record in (("log-1", LOG), ("segment-1", SEGMENT), ("garbage-1", GARBAGE)):
        assert record.pack() == _bytes(name)
        assert type(record).unpack(name, _bytes(name)) == record


def test_a_directory() -> None:
    assert _directory().pack(9) == _bytes("directory-1")
    rows = Directory.parse(_bytes("directory-1"), 9).rows(StreamId(2000))
    assert rows is not None and rows.row(1) == Stretch(10, 12, 4, 100, 900, -1, -1)


def test_a_checkpoint() -> None:
    assert unpack_chunk(_bytes("checkpoint-chunk-1")) == STREAMS
    assert unpack_list(_bytes("checkpoint-list-1")) == (9, CHUNKS)
    [(_, _, chunk)] = pack_chunks(STREAMS, 1 << 20)
    assert unpack_chunk(chunk) == STREAMS
    assert unpack_list(pack_list(9, CHUNKS)) == (9, CHUNKS)


@pytest.mark.parametrize(
    "value", [b"", b"\xc1", b"\x80", LogRecord(epoch=1).pack() + b"x", b"\x81\xa6format\x02"]
)
def test_a_record_of_another_kind_or_format_is_refused_with_a_sentence(value: bytes) -> None:
    for kind in (LogRecord, SegmentRecord, GarbageRecord):
        with pytest.raises(Corrupt, match="logs/1"):
            kind.unpack("logs/1", value)
