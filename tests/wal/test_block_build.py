"""What a built block holds, for any appends."""

import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.wal.blocks import (
    HEADER,
    STREAMS,
    Appended,
    appends,
    build,
    builder_of,
    headers,
    of_stream,
    tags_expected,
)
from wal.block import BLOCK_SIZE_MIN, RUN_BYTES_MAX, Block, BlockHeader
from wal.block_build import BlockBuilder, fence
from wal.types import STATE_STREAMS, TAGS_KEPT, Entry, Position, StreamId, TagKind

DATA = StreamId(STATE_STREAMS)


@given(header=headers, made=appends())
@settings(max_examples=150, deadline=None)
def test_every_append_is_found_again_at_its_position(header: BlockHeader, made: list[Appended]) -> None:
    block = Block.parse(build(made, header))
    assert block.header == header
    for stream in STREAMS:
        own = of_stream(made, stream)
        low, high = block.rows(stream)
        rows = [block.row(i) for i in range(low, high)]
        stored = b"".join(block.data[row.offset : row.offset + row.length] for row in rows)
        assert stored == b"".join(a.entry.payload for a in own)
        assert sum(row.entries for row in rows) == len(own)
        for append in own:
            for position in range(append.position, append.position + append.entry.n):
                row = block.row(block.find(stream, Position(position)))
                assert row.stream == stream
                assert row.first <= position < row.end


@given(made=appends())
@settings(max_examples=100, deadline=None)
def test_runs_hold_whole_entries_and_are_short_unless_they_hold_one(made: list[Appended]) -> None:
    block = Block.parse(build(made))
    for stream in STREAMS:
        own = iter(of_stream(made, stream))
        for i in range(*block.rows(stream)):
            row = block.row(i)
            entries = [next(own) for _ in range(row.entries)]
            assert row.length == sum(len(a.entry.payload) for a in entries)
            assert row.length <= RUN_BYTES_MAX or row.entries == 1
            assert row.first == entries[0].position
            assert row.end == entries[-1].position + entries[-1].entry.n
            newest = max(a.entry.time for a in entries)
            assert row.time_max == newest
            where = next(a.position for a in entries if a.entry.time == newest)
            assert row.time_max_position == (where if newest >= 0 else -1)
        assert next(own, None) is None


@given(made=appends())
@settings(max_examples=100, deadline=None)
def test_neighbouring_runs_could_not_have_been_one(made: list[Appended]) -> None:
    block = Block.parse(build(made))
    for stream in STREAMS:
        own = iter(of_stream(made, stream))
        before = None
        for i in range(*block.rows(stream)):
            row = block.row(i)
            first = next(own)
            if before is not None:
                assert before.length + len(first.entry.payload) > RUN_BYTES_MAX
            before = row
            for _ in range(row.entries - 1):
                next(own)


@given(made=appends(entries_max=80))
@settings(max_examples=150, deadline=None)
def test_of_each_group_the_newest_tags_are_kept_and_every_other_tag(made: list[Appended]) -> None:
    block = Block.parse(build(made))
    got = [
        (tag.stream, tag.position, tag.n, tag.kind, tag.tag, bytes(block.payload(tag)))
        for tag in block.tags()
    ]
    assert got == tags_expected(made)


def test_a_control_tag_never_displaces_a_data_tag() -> None:
    kinds = [TagKind.DATA] * 7 + [TagKind.CONTROL] * 7 + [TagKind.DATA]
    made = [
        Appended(DATA, Position(i), Entry(b"x", 1, tag=bytes([i]), tag_group=9), kind)
        for i, kind in enumerate(kinds)
    ]
    kept = [(tag.kind, tag.position) for tag in Block.parse(build(made)).tags()]
    assert [position for kind, position in kept if kind is TagKind.CONTROL] == list(range(7, 14))
    assert [position for kind, position in kept if kind is TagKind.DATA] == [3, 4, 5, 6, 14]
    assert TAGS_KEPT == 5


@given(made=appends())
@settings(max_examples=100, deadline=None)
def test_streams_and_epochs_sum_up_the_rows(made: list[Appended]) -> None:
    block = Block.parse(build(made))
    spans = {span.stream: span for span in block.streams()}
    assert list(spans) == sorted(spans)
    assert set(spans) == {a.stream for a in made if of_stream(made, a.stream)}
    for stream, span in spans.items():
        own = of_stream(made, stream)
        assert span.first == own[0].position
        assert span.end == own[-1].position + own[-1].entry.n
        stored = block.data[span.offset : span.offset + span.length]
        assert stored == b"".join(a.entry.payload for a in own)
        newest = max(a.entry.time for a in own)
        assert span.time_max == newest
        if newest >= 0:
            assert span.time_max_position == next(a.position for a in own if a.entry.time == newest)
    with_positions = [s for s in sorted(spans) if spans[s].end > spans[s].first]
    assert [tuple(run) for run in block.epoch_runs()] == [
        (stream, HEADER.epoch, spans[stream].first) for stream in with_positions
    ]


@given(made=appends())
@settings(max_examples=50, deadline=None)
def test_the_open_block_knows_its_size_from_above(made: list[Appended]) -> None:
    builder = builder_of(made)
    assert builder.entries == len(made)
    assert builder.empty == (not made)
    size = builder.size
    spare = sum(31 + len(a.entry.tag) for a in made) + 24 * len(STREAMS) + 56 * len(STREAMS)
    assert size - spare <= len(builder.build(HEADER)) <= size


@given(made=appends(), seed=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_bytes_do_not_depend_on_how_streams_were_interleaved(made: list[Appended], seed: int) -> None:
    rng = random.Random(seed)
    queues = {stream: [a for a in made if a.stream == stream] for stream in STREAMS}
    mixed = []
    while any(queues.values()):
        mixed.append(queues[rng.choice([s for s in STREAMS if queues[s]])].pop(0))
    assert build(mixed) == build(made)


@given(header=headers)
def test_a_fence_holds_nothing_and_says_so(header: BlockHeader) -> None:
    header = header._replace(fence=True)
    data = fence(header)
    block = Block.parse(data)
    assert block.header == header
    assert len(data) == BLOCK_SIZE_MIN
    assert not list(block.streams())
    assert not list(block.tags())
    assert not list(block.epoch_runs())


def test_an_empty_block_is_no_fence() -> None:
    block = Block.parse(BlockBuilder().build(HEADER))
    assert not block.header.fence
    assert list(block.streams()) == []


@given(st.dictionaries(st.sampled_from(STREAMS), st.binary(max_size=200) | st.just(b"note" * 1000)))
@example({DATA: b""})
def test_notes_come_back_whatever_they_are(notes: dict[StreamId, bytes]) -> None:
    builder = BlockBuilder()
    data = builder.build(HEADER, notes)
    assert dict(Block.parse(data).notes()) == notes
    assert len(data) < BLOCK_SIZE_MIN + 5 * 250


def test_entries_of_one_stream_must_be_dense() -> None:
    builder = BlockBuilder()
    builder.add(DATA, Position(5), Entry(b"x", 2))
    try:
        builder.add(DATA, Position(6), Entry(b"x", 1))
    except AssertionError:
        return
    raise AssertionError("a hole was accepted")


def test_a_payload_may_be_a_view_of_a_larger_buffer() -> None:
    frame = bytearray(b"headpayloadtail")
    builder = BlockBuilder()
    builder.add(DATA, Position(0), Entry(memoryview(frame)[4:11], 1))
    _, _, stored = Block.parse(builder.build(HEADER)).slice(DATA, Position(0), 1)
    assert bytes(stored) == b"payload"
