"""Parsing and looking up: any bytes are a block or corrupt, a suffix tells the same as the whole."""

from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wal.blocks import HEADER, STREAMS, Appended, appends, build, builder_of, exercise
from wal.block import Block, BlockHeader, EpochRun, Index, NeedMore, Row, proof_range, same_write
from wal.block_build import BlockBuilder, fence
from wal.block_format import (
    BLOCK_SIZE_MIN,
    CHECKSUM,
    HEADER_SIZE,
    INDEX_SIZE_MIN,
    NOTES_BYTES_MAX,
    TRAILER,
    Trailer,
    parse_trailer,
    trailer_bytes,
)
from wal.block_format import HEADER as HEADER_STRUCT
from wal.errors import Corrupt
from wal.types import Entry, Position, StreamId, TagKind

GOLDEN = Path(__file__).parents[1] / "golden" / "blocks"


def parse(data: bytes) -> Block | None:
    """The block, None where it is corrupt; anything else is raised."""
    try:
        return Block.parse(data)
    except Corrupt:
        return None


def with_checksums(data: bytearray) -> bytearray:
    """Give damaged bytes fitting checksums again, so that only the checks behind them are left."""
    try:
        offset, length, _ = parse_trailer(memoryview(data), len(data))
    except Corrupt:
        return data
    for at in (0, offset):
        data[at + HEADER_STRUCT.size : at + HEADER_SIZE] = CHECKSUM.pack(
            crc32c(data[at : at + HEADER_STRUCT.size])
        )
    data[-TRAILER.size :] = trailer_bytes(Trailer(offset, length, crc32c(data[offset : offset + length])))
    return data


# -- any bytes


@given(st.binary(max_size=2 * BLOCK_SIZE_MIN))
def test_any_bytes_are_a_block_or_corrupt(data: bytes) -> None:
    parse(data)


@given(made=appends(), cut=st.data())
@settings(max_examples=100, deadline=None)
def test_a_truncated_or_extended_block_is_corrupt(made: list[Appended], cut: st.DataObject) -> None:
    data = build(made)
    assert parse(data[: cut.draw(st.integers(0, len(data) - 1))]) is None
    assert parse(data[cut.draw(st.integers(1, len(data))) :]) is None
    assert parse(data + b"\0") is None
    assert parse(b"\0" + data) is None


@given(made=appends(entries_max=15), changes=st.data())
@settings(max_examples=200, deadline=None)
def test_any_changed_byte_is_noticed(made: list[Appended], changes: st.DataObject) -> None:
    data = bytearray(build(made))
    at = changes.draw(st.integers(0, len(data) - 1))
    data[at] ^= changes.draw(st.integers(1, 255))
    assert parse(bytes(data)) is None


@given(made=appends(entries_max=15), changes=st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_index_with_fitting_checksums_is_refused_or_harmless(
    made: list[Appended], changes: st.DataObject
) -> None:
    builder = builder_of(made)
    data = bytearray(builder.build(HEADER, {STREAMS[0]: b"note" * 30, STREAMS[2]: b"n"}))
    index_offset = parse_trailer(memoryview(data), len(data)).index_offset
    for _ in range(changes.draw(st.integers(1, 3))):
        at = changes.draw(st.integers(index_offset, len(data) - TRAILER.size - 1))
        data[at] = changes.draw(st.sampled_from([0, 1, 127, 128, 255, data[at] ^ 1, (data[at] + 1) & 255]))
        if at < index_offset + HEADER_SIZE:
            data[at - index_offset] = data[at]
    data = with_checksums(data)
    try:
        block = Block.parse(bytes(data), verify=False)
    except Corrupt:
        return
    exercise(block)
    try:
        for _, note in block.notes():
            assert len(note) <= NOTES_BYTES_MAX
    except Corrupt:
        return


@given(data=st.binary(max_size=3 * BLOCK_SIZE_MIN), size=st.integers(0, 2000))
def test_any_suffix_is_an_index_or_corrupt_or_too_short(data: bytes, size: int) -> None:
    try:
        Index.parse(data, size)
    except Corrupt:
        return
    except NeedMore as more:
        assert len(data) < more.bytes_needed <= size


@pytest.mark.parametrize("version", [0, 2, 65_535])
def test_a_block_of_another_version_is_refused_by_name(version: int) -> None:
    data = bytearray(fence(HEADER._replace(fence=True)))
    for at in (8, HEADER_SIZE + 8):
        data[at : at + 2] = version.to_bytes(2, "big")
    with pytest.raises(Corrupt, match=f"version {version} "):
        Block.parse(bytes(with_checksums(data)))


@pytest.mark.parametrize("at", [11, 80, 91])
def test_unknown_flags_and_fields_are_refused(at: int) -> None:
    data = bytearray(fence(HEADER._replace(fence=True)))
    data[at] |= 128
    data[HEADER_SIZE + at] |= 128
    with pytest.raises(Corrupt, match="not known"):
        Block.parse(bytes(with_checksums(data)))


def test_a_fence_that_holds_something_is_corrupt() -> None:
    data = bytearray(build([Appended(STREAMS[0], Position(0), Entry(b"x", 1), TagKind.DATA)]))
    offset = parse_trailer(memoryview(data), len(data)).index_offset
    data[11] = data[offset + 11] = 1
    with pytest.raises(Corrupt, match="fence"):
        Block.parse(bytes(with_checksums(data)))


def test_packed_notes_that_would_unpack_to_more_than_the_limit_are_corrupt() -> None:
    builder = BlockBuilder()
    block = Block.parse(builder.build(HEADER, {STREAMS[0]: bytes(NOTES_BYTES_MAX)}))
    assert len(next(block.notes())[1]) == NOTES_BYTES_MAX
    assert block.size < NOTES_BYTES_MAX / 100
    packed = lz4.frame.compress(bytes(NOTES_BYTES_MAX + 1))
    data = bytearray(builder.build(HEADER, {STREAMS[0]: b"?"}))
    section = bytearray(data[HEADER_SIZE : -TRAILER.size])
    section[-1:] = packed
    section[-len(packed) - 5 : -len(packed)] = len(packed).to_bytes(4, "big") + b"\1"
    section[INDEX_SIZE_MIN - 4 : INDEX_SIZE_MIN] = (13 + len(packed)).to_bytes(4, "big")
    trailer = trailer_bytes(Trailer(HEADER_SIZE, len(section), crc32c(section)))
    block = Block.parse(bytes(data[:HEADER_SIZE]) + bytes(section) + trailer)
    with pytest.raises(Corrupt, match="notes"):
        list(block.notes())


# -- looking up


@given(made=appends(), bytes_max=st.sampled_from([0, 1, 500, 65_536, 200_000, 2**40]))
@settings(max_examples=100, deadline=None)
def test_a_slice_is_the_run_of_the_position_and_what_fits_after_it(
    made: list[Appended], bytes_max: int
) -> None:
    block = Block.parse(build(made))
    for stream in STREAMS:
        low, high = block.rows(stream)
        rows = [block.row(i) for i in range(low, high)]
        for i, row in enumerate(rows):
            if row.first == row.end:
                continue
            first, end, data = block.slice(stream, Position(row.end - 1), bytes_max)
            assert first == row.first
            taken = [row]
            for other in rows[i + 1 :]:
                if sum(r.length for r in taken) + other.length > bytes_max:
                    break
                taken.append(other)
            assert end == taken[-1].end
            assert data == b"".join(block.data[r.offset : r.offset + r.length] for r in taken)
            assert data.readonly


@given(made=appends(), stream=st.sampled_from([*STREAMS, StreamId(5)]), position=st.integers(0, 2**63 - 1))
@settings(max_examples=100, deadline=None)
def test_what_a_block_does_not_hold_is_not_found(
    made: list[Appended], stream: StreamId, position: int
) -> None:
    block = Block.parse(build(made))
    spans = {span.stream: span for span in block.streams()}
    span = spans.get(stream)
    held = span is not None and span.first <= position < span.end
    assert (block.find(stream, Position(position)) >= 0) == held
    if not held:
        with pytest.raises(Corrupt):
            block.slice(stream, Position(position), 1)
    if span is None:
        low, high = block.rows(stream)
        assert low == high


@given(made=appends(), first_try=st.integers(0, 3000))
@settings(max_examples=100, deadline=None)
def test_the_index_of_a_suffix_is_the_index_of_the_block(made: list[Appended], first_try: int) -> None:
    data = builder_of(made).build(HEADER, {STREAMS[1]: b"note" * 30})
    block = Block.parse(data)
    length = min(first_try, len(data))
    try:
        index = Index.parse(data[len(data) - length :], len(data))
    except NeedMore as more:
        assert length < more.bytes_needed <= len(data)
        length = more.bytes_needed
        index = Index.parse(data[len(data) - length :], len(data))
    assert index.header == block.header
    assert index.object_size == block.size
    assert index.row_count == block.index.row_count
    assert all(index.row(i) == block.row(i) for i in range(index.row_count))
    assert list(index.streams()) == list(block.streams())
    assert list(index.tags()) == list(block.tags())
    assert list(index.epoch_runs()) == list(block.epoch_runs())
    assert list(index.notes()) == list(block.notes())
    assert index.bytes_held <= length


# -- whose block is it


@given(
    made=appends(entries_max=10), other=appends(entries_max=10), writer=st.binary(min_size=16, max_size=16)
)
@settings(max_examples=100, deadline=None)
def test_a_stored_block_is_ours_exactly_if_it_is_the_one_we_sent(
    made: list[Appended], other: list[Appended], writer: bytes
) -> None:
    mine = build(made)
    start, length = proof_range(mine)
    rivals = [
        build(made, HEADER._replace(writer=writer)),
        build(other, HEADER._replace(writer=writer)),
        build(other),
        fence(HEADER._replace(writer=writer, epoch=HEADER.epoch + 1, fence=True)),
        mine + b"\0",
        mine[:-1],
        b"",
    ]
    for stored in (mine, *rivals):
        assert same_write(mine, stored[start : start + length]) == (stored == mine)


# -- golden blocks: what was once written stays readable, and is written the same way today

RUNS = StreamId(3000)
GOLDEN_HEADER = BlockHeader(1, 2, 3, 4, b"writer-id-16-byt", 1_600_000_000_000, 5)


def golden_small() -> bytes:
    """Three streams, appended interleaved: state, data with a producer's tags, a data stream with control
    entries."""
    builder = BlockBuilder()
    group = StreamId(40)
    data, other = StreamId(1024), StreamId(1025)
    builder.add(data, Position(100), Entry(b"aaaa", 2, 1000, b"p1", 11))
    builder.add(other, Position(0), Entry(b"", 0, -1, b"\0\0\0\0\0\0\0\7"), TagKind.TRIM)
    builder.add(group, Position(8), Entry(b"offsets", 1, -1, b"g"))
    for i in range(6):
        builder.add(data, Position(102 + i), Entry(b"bb%d" % i, 1, 2000 - i, b"p%d" % (i + 2), 11))
    builder.add(other, Position(0), Entry(b"cc", 3))
    builder.add(other, Position(3), Entry(b"", 0, -1, b"", 0), TagKind.DROP)
    return builder.build(GOLDEN_HEADER, {data: b"plain"})


def golden_runs() -> bytes:
    """One stream in three runs: a full one, a larger single entry, a short one."""
    builder = BlockBuilder()
    position = 0
    for size, n in ((40_000, 10), (25_536, 5), (65_537, 1), (10, 2)):
        builder.add(RUNS, Position(position), Entry(bytes(size), n, 50 - position))
        position += n
    return builder.build(GOLDEN_HEADER)


GOLDEN_BLOCKS: dict[str, Callable[[], bytes]] = {
    "small-1": golden_small,
    "runs-1": golden_runs,
    "empty-1": lambda: BlockBuilder().build(GOLDEN_HEADER),
    "fence-1": lambda: fence(GOLDEN_HEADER._replace(n=9, previous_last=-1, fence=True)),
    "merged-1": lambda: BlockBuilder().build(GOLDEN_HEADER._replace(segment=9, n=0, merged_from=2)),
}


def golden(name: str) -> bytes:
    """A golden block: hex, and runs of zero bytes as `zeros:<count>`, so that the file stays small."""
    words = (GOLDEN / f"{name}.hex").read_text().split()
    return b"".join(bytes(int(w[6:])) if w.startswith("zeros:") else bytes.fromhex(w) for w in words)


@pytest.mark.parametrize("name", GOLDEN_BLOCKS)
def test_golden_blocks_are_written_the_same_way_today(name: str) -> None:
    assert GOLDEN_BLOCKS[name]() == golden(name)


def test_the_golden_small_block_reads_as_it_did() -> None:
    block = Block.parse(golden("small-1"))
    assert block.header == GOLDEN_HEADER
    assert [tuple(block.row(i)) for i in range(block.index.row_count)] == [
        (40, 8, 9, 96, 7, 0x886DEBD0, 1, -1, -1),
        (1024, 100, 108, 103, 22, 0x63958939, 7, 2000, 102),
        (1025, 0, 3, 125, 2, 0x378C9ADB, 1, -1, -1),
    ]
    assert list(block.epoch_runs()) == [
        EpochRun(StreamId(40), 4, Position(8)),
        EpochRun(StreamId(1024), 4, Position(100)),
        EpochRun(StreamId(1025), 4, Position(0)),
    ]
    data = TagKind.DATA
    assert [tuple(tag) for tag in block.tags()] == [
        (40, 8, 1, data, b"g", 96, 7),
        *((1024, 103 + i, 1, data, b"p%d" % (i + 3), 110 + 3 * i, 3) for i in range(5)),
        (1025, 0, 0, TagKind.TRIM, b"\0\0\0\0\0\0\0\7", 125, 0),
        (1025, 3, 0, TagKind.DROP, b"", 127, 0),
    ]
    assert dict(block.notes()) == {1024: b"plain"}


def test_the_golden_runs_read_as_they_did() -> None:
    block = Block.parse(golden("runs-1"))
    rows = [block.row(i) for i in range(block.index.row_count)]
    assert [row._replace(crc=0) for row in rows] == [
        Row(RUNS, Position(0), Position(15), 96, 65_536, 0, 2, 50, Position(0)),
        Row(RUNS, Position(15), Position(16), 65_632, 65_537, 0, 1, 35, Position(15)),
        Row(RUNS, Position(16), Position(18), 131_169, 10, 0, 1, 34, Position(16)),
    ]


def test_golden_packed_notes_can_be_unpacked() -> None:
    """Only read: another version of lz4 may pack the same notes into other bytes."""
    block = Block.parse(golden("notes-lz4-1"))
    assert dict(block.notes()) == {40: b"0123456789" * 50, 1024: b"short"}


def test_the_golden_fence_reads_as_it_did() -> None:
    assert Block.parse(golden("fence-1")).header == BlockHeader(
        1, 2, 9, 4, b"writer-id-16-byt", 1_600_000_000_000, -1, fence=True
    )
