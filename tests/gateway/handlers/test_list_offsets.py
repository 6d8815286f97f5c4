"""Laws of ListOffsets: both ends, and the exact record of a time, or nothing."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ErrorCode
from gateway.handlers import list_offsets
from protocol.batches import Codec, stamp
from tests.support.one_node import OneNode, batch_of
from wal.errors import Corrupt, Fenced, Unavailable
from wal.types import StreamId

LIST_OFFSETS = 2
STREAM = StreamId(1024)


@pytest.fixture
async def node() -> OneNode:
    made = OneNode()
    made.add_topic("t", 2)
    return made


def topics(*asked: tuple[str, int, int], leader_epoch: int = -1) -> Any:
    """A body that asks for (topic, partition, timestamp)."""
    return SimpleNamespace(
        topics=[
            SimpleNamespace(
                name=name,
                partitions=[
                    SimpleNamespace(partition_index=index, timestamp=time, current_leader_epoch=leader_epoch)
                ],
            )
            for name, index, time in asked
        ]
    )


async def rows(node: OneNode, *asked: tuple[str, int, int], version: int = 11, leader_epoch: int = -1) -> Any:
    body = topics(*asked, leader_epoch=leader_epoch)
    answer: Any = await list_offsets.handle(node.call(LIST_OFFSETS, version, body), node.context)
    return [row for topic in answer["topics"] for row in topic["partitions"]]


async def ask(node: OneNode, time: int, *, version: int = 11, leader_epoch: int = -1) -> Any:
    """(error, offset, timestamp, leader epoch) of the first partition."""
    [row] = await rows(node, ("t", 0, time), version=version, leader_epoch=leader_epoch)
    return row["error_code"], row["offset"], row["timestamp"], row["leader_epoch"]


async def test_earliest_and_latest_are_the_ends_of_what_is_durable(node: OneNode) -> None:
    node.put(STREAM, batch_of(5))
    node.put(STREAM, batch_of(5))
    node.put(STREAM, batch_of(5), land=False)
    node.log.set_start(STREAM, 5)
    for earliest in (-2, -4):
        assert await ask(node, earliest) == (ErrorCode.none, 5, -1, 1)
    assert await ask(node, -1) == (ErrorCode.none, 10, -1, 1)


async def test_an_empty_partition_begins_and_ends_at_zero_under_the_current_epoch(node: OneNode) -> None:
    node.log.epoch = 4
    for moment in (-1, -2, -4):
        assert await ask(node, moment) == (ErrorCode.none, 0, -1, 4)
    for moment in (-3, 0, 10**12):
        assert await ask(node, moment) == (ErrorCode.none, -1, -1, -1)


async def test_offsets_come_with_the_leader_epoch_they_were_written_under(node: OneNode) -> None:
    for epoch in (2, 5, 9):
        node.log.begin_epoch(epoch)
        node.put(STREAM, batch_of(3, times=[epoch * 10] * 3))
    node.log.begin_epoch(12)
    assert (await ask(node, -2))[3] == 2
    assert (await ask(node, -1))[3] == 9
    assert await ask(node, 50) == (ErrorCode.none, 3, 50, 5)


@pytest.mark.parametrize("moment", [-5, -6])
async def test_other_tiers_hold_nothing(node: OneNode, moment: int) -> None:
    node.put(STREAM, batch_of(5))
    assert await ask(node, moment) == (ErrorCode.none, -1, -1, -1)


@pytest.mark.parametrize(
    ("moment", "version"), [(-3, 6), (-4, 7), (-5, 8), (-6, 10), (-7, 11), (-(2**62), 11)]
)
async def test_moments_that_a_version_does_not_know_are_unsupported(
    node: OneNode, moment: int, version: int
) -> None:
    assert (await ask(node, moment, version=version))[0] == ErrorCode.unsupported_version


async def test_version_1_asks_without_a_leader_epoch(node: OneNode) -> None:
    body = topics(("t", 0, -1))
    del body.topics[0].partitions[0].current_leader_epoch
    answer: Any = await list_offsets.handle(node.call(LIST_OFFSETS, 1, body), node.context)
    assert answer["topics"][0]["partitions"][0]["offset"] == 0


@pytest.mark.parametrize("codec", list(Codec))
async def test_a_time_finds_the_first_record_of_it_inside_its_batch(node: OneNode, codec: Codec) -> None:
    node.put(STREAM, batch_of(3, times=[10, 20, 30], codec=codec))
    node.put(STREAM, batch_of(3, times=[50, 40, 60], codec=codec))
    found = {time: (await ask(node, time))[1:3] for time in (0, 20, 21, 31, 45, 51, 60, 61)}
    assert found == {
        0: (0, 10),
        20: (1, 20),
        21: (2, 30),
        31: (3, 50),
        45: (3, 50),
        51: (5, 60),
        60: (5, 60),
        61: (-1, -1),
    }


@given(
    batches=st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=5), min_size=1, max_size=8),
    run_bytes=st.sampled_from([1, 200, 10_000]),
    start=st.integers(0, 10),
    time=st.integers(0, 51),
)
@settings(max_examples=60)
async def test_a_time_finds_the_first_of_all_records_that_are_left(
    batches: list[list[int]], run_bytes: int, start: int, time: int
) -> None:
    node = OneNode()
    node.add_topic("t")
    node.log.run_bytes = run_bytes
    for times in batches:
        node.put(STREAM, batch_of(len(times), times=times))
    records = [moment for times in batches for moment in times]
    start = min(start, len(records))
    node.log.set_start(STREAM, start)
    expected = next(
        ((i, moment) for i, moment in enumerate(records) if i >= start and moment >= time), (-1, -1)
    )
    assert (await ask(node, time))[:3] == (ErrorCode.none, *expected)


async def test_the_largest_time_finds_the_first_record_that_has_it(node: OneNode) -> None:
    node.put(STREAM, batch_of(2, times=[10, 20]))
    node.log.run_bytes = 1
    node.put(STREAM, batch_of(4, times=[30, 90, 90, 40]))
    node.put(STREAM, batch_of(2, times=[50, 60]))
    assert await ask(node, -3) == (ErrorCode.none, 3, 90, 1)


async def test_stamped_batches_are_found_by_their_append_time(node: OneNode) -> None:
    batch = batch_of(3, times=[10, 20, 30])
    stamp(batch, 77)
    node.put(STREAM, batch)
    assert (await ask(node, 40))[1:3] == (0, 77)
    assert (await ask(node, -3))[1:3] == (0, 77)


@pytest.mark.parametrize(
    ("epoch", "code"), [(6, "fenced_leader_epoch"), (8, "unknown_leader_epoch"), (7, "none")]
)
async def test_the_leader_epoch_that_the_client_believes_in_is_checked(
    node: OneNode, epoch: int, code: str
) -> None:
    node.log.epoch = 7
    assert (await ask(node, -1, leader_epoch=epoch))[0] == ErrorCode[code]


async def test_what_must_be_the_newest_is_proven_once_per_log_and_the_start_is_not(node: OneNode) -> None:
    await rows(node, ("t", 0, -2), ("t", 1, -4))
    assert node.log.proofs == 0
    await rows(node, ("t", 0, -1), ("t", 1, 5))
    assert node.log.proofs == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [(Fenced("x"), ErrorCode.not_leader_or_follower), (Unavailable("x"), ErrorCode.kafka_storage_error)],
)
async def test_without_a_proof_there_is_no_latest_offset(node: OneNode, error: Any, code: ErrorCode) -> None:
    node.log.proof_error = error
    assert await ask(node, -1) == (code, -1, -1, -1)


async def test_errors_are_told_per_partition(node: OneNode) -> None:
    node.put(STREAM, batch_of(1))
    node.log.read_error = Corrupt("x")
    found = await rows(node, ("nowhere", 0, -1), ("t", 9, -1), ("t", 0, 5), ("t", 1, -1))
    assert [row["error_code"] for row in found] == [
        ErrorCode.unknown_topic_or_partition,
        ErrorCode.unknown_topic_or_partition,
        ErrorCode.kafka_storage_error,
        ErrorCode.none,
    ]


async def test_a_batch_that_cannot_be_opened_is_told_as_corrupt(node: OneNode) -> None:
    batch = batch_of(3)
    batch[-1] ^= 1
    node.put(STREAM, batch)
    assert (await ask(node, 5))[0] == ErrorCode.corrupt_message


async def test_a_partition_named_twice_is_an_invalid_request(node: OneNode) -> None:
    found = await rows(node, ("t", 0, -1), ("t", 0, -2), ("t", 1, -1))
    assert [row["error_code"] for row in found] == [
        ErrorCode.invalid_request,
        ErrorCode.invalid_request,
        ErrorCode.none,
    ]
