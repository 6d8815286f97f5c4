import pytest
from hypothesis import given
from hypothesis import strategies as st

from wal.checkpoint import (
    Capture,
    ChunkName,
    Stored,
    bucket_of,
    pack_chunks,
    pack_list,
    unpack_chunk,
    unpack_list,
)
from wal.errors import Corrupt
from wal.streams import Streams, StreamState
from wal.types import Buffer, StreamId

facts = st.builds(
    StreamState,
    start=st.integers(0, 2**62),
    end=st.integers(0, 2**62),
    time_max=st.integers(-1, 2**62),
    time_max_position=st.integers(-1, 2**62),
    size=st.integers(0, 2**62),
    epochs=st.lists(st.integers(0, 2**62), max_size=3).map(lambda half: half * 2),
)
stored = st.builds(Stored, st.integers(0, 999).map(StreamId), facts, st.binary(max_size=50))


@given(st.lists(stored, max_size=20, unique_by=lambda one: one.stream), st.integers(1, 500))
def test_chunks_come_back_in_order_however_they_are_cut(streams: list[Stored], bytes_max: int) -> None:
    streams.sort(key=lambda one: one.stream)
    chunks = list(pack_chunks(streams, bytes_max))
    assert [one for _, _, data in chunks for one in unpack_chunk(data)] == streams
    for first, last, data in chunks:
        assert (first, last) == (unpack_chunk(data)[0].stream, unpack_chunk(data)[-1].stream)


@given(
    st.integers(0, 2**63),
    st.lists(st.tuples(st.integers(0, 9), st.text(max_size=9), st.integers(0, 9), st.integers(0, 9))),
)
def test_a_list_comes_back(segment: int, rows: list[tuple[int, str, int, int]]) -> None:
    names = [ChunkName(*row) for row in rows]
    assert unpack_list(pack_list(segment, names)) == (segment, sorted(names))


@given(st.binary(max_size=100))
def test_any_bytes_are_a_checkpoint_object_or_corrupt(data: bytes) -> None:
    for unpack in (unpack_chunk, unpack_list):
        with pytest.raises(Corrupt):
            unpack(data)


def test_a_list_is_no_chunk() -> None:
    with pytest.raises(Corrupt):
        unpack_chunk(pack_list(1, []))


class Ends:
    """A state machine whose state is the stream's end when it was asked."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def apply(
        self, stream: StreamId, position: int, n: int, epoch: int, time: int, tag: bytes, payload: Buffer
    ) -> None:
        raise AssertionError

    def snapshot(self, stream: StreamId) -> bytes:
        state = self._streams.get(stream)
        assert state is not None
        return str(state.end).encode()

    def restore(self, stream: StreamId, data: bytes) -> None:
        raise AssertionError

    def forget(self, stream: StreamId) -> None:
        raise AssertionError


@given(
    st.lists(st.integers(0, 3000), min_size=1, max_size=30),
    st.lists(st.one_of(st.integers(0, 3000), st.none()), max_size=40),
)
def test_a_capture_is_the_state_of_its_first_moment(before: list[int], later: list[int | None]) -> None:
    streams = Streams()
    for end, stream in enumerate(before):
        streams.change(StreamId(stream)).extend(end + 1, 1, 1, end, -1, -1)
    expected = {stream: streams.get(stream).end for stream in streams}  # type: ignore[union-attr]
    capture = Capture(7, streams, Ends(streams))
    for number, change in enumerate(later):
        if change is None:
            capture.take(1)
            continue
        stream = StreamId(change)
        capture.before_change(stream)
        if number % 5 == 4:
            streams.drop(stream)
        else:
            streams.change(stream).extend(10_000 + number, 1, 1, 9_999, -1, -1)
    capture.take(len(before))
    assert capture.complete
    taken = {
        one.stream: (one.facts.end, int(one.state)) for b in capture.buckets for one in capture.bucket(b)
    }
    assert taken == {stream: (end, end) for stream, end in expected.items()}
    assert capture.buckets == {bucket_of(StreamId(stream)) for stream in before}


def test_trims_keep_the_epoch_that_the_start_was_written_under() -> None:
    state = StreamState()
    for epoch, first in ((1, 0), (4, 10), (9, 20)):
        state.extend(first + 10, 100, epoch, first, first, first)
    state.trim(5)
    assert state.epoch_pairs() == [(1, 5), (4, 10), (9, 20)]
    state.trim(20)
    assert state.epoch_pairs() == [(9, 20)]
    state.trim(1000)
    assert (state.start, state.end, state.epoch_pairs()) == (30, 30, [(9, 30)])
    state.trim(3)
    assert state.start == 30
