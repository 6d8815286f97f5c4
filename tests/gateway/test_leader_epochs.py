"""Laws of leader epochs: no answer makes a client believe that what it has read is gone."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.leader_epochs import UNKNOWN, EpochEnd, epoch_end, epoch_of, leader_epochs
from wal.types import Position

STARTS = [(3, Position(0)), (5, Position(10)), (6, Position(25))]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (-1, UNKNOWN),
        (0, EpochEnd(0, 0)),
        (2, EpochEnd(2, 0)),
        (3, EpochEnd(3, 10)),
        (4, EpochEnd(3, 10)),
        (5, EpochEnd(5, 25)),
        (6, EpochEnd(6, 40)),
        (7, EpochEnd(6, 40)),
        (8, EpochEnd(8, 40)),
        (9, UNKNOWN),
    ],
)
def test_an_epoch_ends_where_the_next_one_known_begins(asked: int, expected: EpochEnd) -> None:
    assert epoch_end(STARTS, asked, current=8, log_start=0, log_end=40) == expected


def test_an_epoch_older_than_all_that_is_left_ends_where_the_log_begins() -> None:
    trimmed = [(5, Position(12)), (6, Position(25))]
    assert epoch_end(trimmed, 3, current=6, log_start=12, log_end=40) == EpochEnd(3, 12)
    assert epoch_end(STARTS, 1, current=6, log_start=4, log_end=40) == EpochEnd(1, 4)


def test_in_an_empty_partition_every_known_epoch_ends_at_its_end() -> None:
    assert epoch_end([], 2, current=8, log_start=0, log_end=0) == EpochEnd(2, 0)
    assert epoch_end([], 8, current=8, log_start=0, log_end=0) == EpochEnd(8, 0)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[int, Position]], int, int]:
    """A list of epochs, the current epoch, and the log's end."""
    epochs = sorted(draw(st.sets(st.integers(1, 30), max_size=5)))
    firsts = sorted(draw(st.sets(st.integers(0, 100), min_size=len(epochs), max_size=len(epochs))))
    current = draw(st.integers(epochs[-1] if epochs else 0, 35))
    starts = [(epoch, Position(first)) for epoch, first in zip(epochs, firsts, strict=True)]
    return starts, current, (firsts[-1] if firsts else 0) + draw(st.integers(1, 20))


@given(histories())
def test_whoever_read_a_record_under_its_epoch_is_never_told_that_it_is_gone(
    history: tuple[list[tuple[int, Position]], int, int],
) -> None:
    starts, current, end = history
    for position in range(starts[0][1] if starts else 0, end):
        epoch = epoch_of(starts, position, current)
        found = epoch_end(starts, epoch, current=current, log_start=0, log_end=end)
        assert found.epoch == epoch
        assert found.end > position


@given(histories())
def test_later_epochs_never_end_earlier(history: tuple[list[tuple[int, Position]], int, int]) -> None:
    starts, current, end = history
    ends = [
        epoch_end(starts, asked, current=current, log_start=0, log_end=end).end
        for asked in range(current + 1)
    ]
    assert all(earlier <= later for earlier, later in pairwise(ends))
    assert ends[-1] == end


def test_the_epoch_of_a_position_is_the_last_one_begun() -> None:
    assert [epoch_of(STARTS, position, 99) for position in (0, 9, 10, 24, 25, 1_000)] == [3, 3, 5, 5, 6, 6]
    assert epoch_of([(3, Position(5))], 4, 99) == 99


def test_the_base_of_a_partition_is_added_to_the_epochs_of_its_log() -> None:
    assert leader_epochs(100, STARTS[:1]) == [(103, 0)]
