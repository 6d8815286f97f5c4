"""Laws of the places of partitions: growing moves nobody, and no two partitions share a stream."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.places import Exceptional, Place, Places, Run, sequence
from wal.types import LogId, StreamId

GROWTHS = st.lists(
    st.tuples(
        st.integers(1, 40),
        st.integers(1, 5),
        st.integers(0, 4),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=12,
)


def ids(*numbers: int) -> tuple[LogId, ...]:
    return tuple(map(LogId, numbers))


@settings(max_examples=150, deadline=None)
@given(GROWTHS)
def test_growing_keeps_every_partition_where_it_is_and_gives_new_ones_streams_of_their_own(
    growths: list[tuple[int, int, int, int]],
) -> None:
    places = Places()
    following = 1024
    expected: list[tuple[Place, ...]] = []
    for count, logs, start, gap in growths:
        following += gap
        laid = sequence(ids(*range(logs)), None, start)
        places = places.grown(count, laid, StreamId(following))
        expected += [(Place(laid[i % logs], StreamId(following + i)),) for i in range(count)]
        following += count
        assert [places.of(index) for index in range(places.count)] == expected
    streams = [homes[0].stream for homes in expected]
    assert len(set(streams)) == len(streams) == places.count
    assert list(places.each()) == [(homes[-1].log_id, 0) for homes in expected]
    assert places.log_ids() == {homes[0].log_id for homes in expected}
    for log_id in places.log_ids():
        assert sorted(places.streams(log_id)) == [
            home.stream for (home,) in expected if home.log_id == log_id
        ]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=10), st.integers(1, 7), st.integers(0, 6))
def test_new_partitions_are_spread_evenly_also_over_several_growths(
    growths: list[int], logs: int, start: int
) -> None:
    places = Places()
    for count in growths:
        last = places.of(places.count - 1)[-1].log_id if places.count else None
        places = places.grown(
            count, sequence(ids(*range(logs)), last, start), StreamId(5000 + 2 * places.count)
        )
    each = [log for log, _ in places.each()]
    counts = [each.count(LogId(log)) for log in range(logs)]
    assert max(counts) - min(counts) <= 1


def test_growing_one_by_one_on_one_log_without_others_between_stays_one_run() -> None:
    places = Places()
    for index in range(1000):
        places = places.grown(1, ids(0), StreamId(2000 + index))
    assert places.runs == (Run(0, 1000, ids(0), StreamId(2000)),)


def test_a_moved_partition_is_where_it_was_moved_to_and_all_its_streams_are_known() -> None:
    moved = Exceptional(1, (Place(LogId(1), StreamId(1025)), Place(LogId(2), StreamId(9000), 500, 4)))
    places = Places((Run(0, 4, ids(0, 1), StreamId(1024)),), (moved,))
    assert places.of(1)[-1] == Place(LogId(2), StreamId(9000), 500, 4)
    assert list(places.each()) == [(0, 0), (2, 4), (0, 0), (1, 0)]
    assert places.log_ids() == {0, 1, 2}
    assert list(places.streams(LogId(1))) == [1025, 1027]
    assert list(places.streams(LogId(2))) == [9000]


def test_a_topic_whose_last_log_is_no_more_grows_from_a_random_start() -> None:
    start = random.Random(1).randrange(3)
    assert sequence(ids(4, 5, 6), LogId(9), start) == sequence(ids(4, 5, 6), None, start)
