"""Material for block tests: entries as hypothesis draws them, and what a block of them must hold, spelled
out."""

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import strategies as st

from wal.block import Block, BlockHeader
from wal.block_build import BlockBuilder
from wal.types import STATE_STREAMS, TAGS_KEPT, Entry, Position, StreamId, TagKind

HEADER = BlockHeader(
    log=7, segment=11, n=13, epoch=17, writer=bytes(range(16)), created_at=1_700_000_000_123, previous_last=12
)

STREAMS = [StreamId(number) for number in (0, 63, STATE_STREAMS, STATE_STREAMS + 1, 2**64 - 1)]


class Appended(NamedTuple):
    """One append as the builder is told of it."""

    stream: StreamId
    position: Position
    entry: Entry
    kind: TagKind


headers = st.builds(
    BlockHeader,
    log=st.integers(0, 2**32 - 1),
    segment=st.integers(0, 2**64 - 1),
    n=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, 2**64 - 1),
    writer=st.binary(min_size=16, max_size=16),
    created_at=st.integers(-(2**63), 2**63 - 1),
    previous_last=st.integers(-1, 2**63 - 1),
    fence=st.just(False),
    merged_from=st.integers(-1, 2**63 - 1),
)

_sizes = st.one_of(st.integers(0, 300), st.sampled_from([20_000, 40_000, 65_536, 65_537, 90_000]))

_entries = st.builds(
    lambda fill, size, n, time, tag, group: Entry(bytes([fill]) * size, n, time, tag, group),
    fill=st.integers(0, 255),
    size=_sizes,
    n=st.integers(0, 4),
    time=st.one_of(st.just(-1), st.integers(0, 50), st.integers(0, 2**63 - 1)),
    tag=st.one_of(st.just(b""), st.binary(max_size=24)),
    group=st.sampled_from([0, 1, 2, 2**64]),
)


@st.composite
def appends(draw: st.DrawFn, entries_max: int = 40) -> list[Appended]:
    """Entries of several streams in call order, dense within each stream."""
    ends = {stream: draw(st.sampled_from([0, 1, 1000, 2**62])) for stream in STREAMS}
    kinds = st.sampled_from([TagKind.DATA, TagKind.DATA, TagKind.DATA, *TagKind])
    drawn = st.tuples(st.sampled_from(STREAMS), _entries, kinds)
    made = []
    for stream, entry, kind in draw(st.lists(drawn, max_size=entries_max)):
        made.append(Appended(stream, Position(ends[stream]), entry, kind))
        ends[stream] += entry.n
    return made


def builder_of(made: Sequence[Appended]) -> BlockBuilder:
    """A builder that was told of these appends."""
    builder = BlockBuilder()
    for append in made:
        builder.add(*append)
    return builder


def build(made: Sequence[Appended], header: BlockHeader = HEADER) -> bytes:
    """The block of these appends."""
    return builder_of(made).build(header)


def of_stream(made: Sequence[Appended], stream: StreamId) -> list[Appended]:
    """The appends that put something into the stream's rows."""
    return [a for a in made if a.stream == stream and (a.entry.n or a.entry.payload)]


def tags_expected(made: Sequence[Appended]) -> list[tuple[StreamId, Position, int, TagKind, bytes, bytes]]:
    """The tag rows of a block of these appends, with payloads: the thinning rule, spelled out."""
    expected = []
    for stream in sorted(STREAMS):
        tagged = [a for a in made if a.stream == stream and (a.entry.tag or a.kind != TagKind.DATA)]
        for i, (_, position, entry, kind) in enumerate(tagged):
            newer = sum(
                b.entry.tag_group == entry.tag_group and b.kind == TagKind.DATA for b in tagged[i + 1 :]
            )
            if entry.tag_group == 0 or kind != TagKind.DATA or newer < TAGS_KEPT:
                expected.append((stream, position, entry.n, kind, entry.tag, bytes(entry.payload)))
    return expected


def exercise(block: Block) -> None:
    """Everything that can be asked of a parsed block, except for its notes; none of it may raise."""
    rows = [block.row(i) for i in range(block.index.row_count)]
    for row in rows:
        low, high = block.rows(row.stream)
        assert low < high
        block.find(row.stream, Position(row.first - 1))
        if row.first < row.end:
            assert block.find(row.stream, row.first) >= 0
            block.slice(row.stream, row.first, 100_000)
    assert sum(span.length for span in block.streams()) == sum(row.length for row in rows)
    list(block.epoch_runs())
    for tag in block.tags():
        assert len(block.payload(tag)) == tag.payload_length
