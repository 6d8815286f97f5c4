import pytest
from hypothesis import given
from hypothesis import strategies as st

from wal.directory import Directory, Stretch
from wal.errors import Corrupt
from wal.types import StreamId

stretches = st.dictionaries(
    st.integers(0, 2**64 - 1),
    st.lists(
        st.tuples(st.integers(1, 1000), st.integers(0, 2**32 - 1), st.integers(-1, 2**62)),
        min_size=1,
        max_size=20,
    ),
    max_size=8,
)


def _filled(content: dict[int, list[tuple[int, int, int]]]) -> Directory:
    directory = Directory()
    for stream, rows in content.items():
        first = 0
        for n, (length, offset, time) in enumerate(rows):
            directory.add(StreamId(stream), Stretch(first, first + length, n, offset, length, time, first))
            first += length
    return directory


@given(stretches, st.integers(0, 2**63))
def test_a_directory_comes_back_as_it_was_stored(
    content: dict[int, list[tuple[int, int, int]]], segment: int
) -> None:
    directory = _filled(content)
    parsed = Directory.parse(directory.pack(segment), segment)
    assert dict(parsed.ends()) == dict(directory.ends())
    for stream in content:
        ours, theirs = directory.rows(StreamId(stream)), parsed.rows(StreamId(stream))
        assert ours is not None and theirs is not None
        assert [ours.row(i) for i in range(len(ours))] == [theirs.row(i) for i in range(len(theirs))]
    assert parsed.rows(StreamId(2**64 - 1)) is None or 2**64 - 1 in content


@given(stretches.filter(bool), st.integers(-5, 30_000))
def test_a_position_is_found_in_the_stretch_that_holds_it(
    content: dict[int, list[tuple[int, int, int]]], position: int
) -> None:
    directory = _filled(content)
    rows = directory.rows(StreamId(next(iter(content))))
    assert rows is not None
    at = rows.find(position)
    assert all(rows.row(i).end <= position for i in range(at))
    assert at == len(rows) or rows.row(at).end > position


@given(st.binary(max_size=200))
def test_any_bytes_are_a_directory_or_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        Directory.parse(data, 0)


@given(stretches, st.data())
def test_a_damaged_directory_is_noticed(
    content: dict[int, list[tuple[int, int, int]]], choose: st.DataObject
) -> None:
    data = bytearray(_filled(content).pack(7))
    at = choose.draw(st.integers(0, len(data) - 1))
    data[at] ^= choose.draw(st.integers(1, 255))
    with pytest.raises(Corrupt):
        Directory.parse(bytes(data), 7)
