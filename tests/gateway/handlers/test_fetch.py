"""Laws of Fetch: only what is durable, whole batches from the one asked for on, as soon as they are there."""

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ErrorCode
from gateway.handlers import fetch
from protocol.batches import walk
from protocol.errors import RemoteProtocolError
from tests.support.fake_log import FakeLog
from tests.support.kafka_calls import FETCH, begin_fetch, bytes_of, fetch_body, fetch_response, fetched
from tests.support.one_node import OneNode, batch_of, new_state
from wal.errors import Corrupt, Fenced, Trimmed, Unavailable
from wal.types import Entry


@pytest.fixture
async def node() -> OneNode:
    made = OneNode()
    made.add_topic("t", 4)
    return made


def stream_of(node: OneNode, index: int = 0, topic: str = "t") -> Any:
    found = node.partition(topic, index)
    assert found is not None
    return found.stream


def fill(node: OneNode, *counts: int, index: int = 0, value: bytes = b"v") -> list[bytes]:
    """Store batches of so many records, each in a flush of its own."""
    batches = []
    for count in counts:
        batch = batch_of(count, value=value)
        node.put(stream_of(node, index), batch)
        batches.append(bytes(batch))
    return batches


def offsets(row: Any) -> list[int]:
    """Base offsets of the batches of an answer, which must be whole."""
    return [header.base_offset for _, header in walk(bytes_of(row))]


async def waiting(begun: Any) -> asyncio.Task[Any]:
    """A fetch that has begun to wait."""
    assert not isinstance(begun, list)
    task: asyncio.Task[Any] = asyncio.ensure_future(begun)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    return task


@pytest.mark.parametrize("version", range(4, 19))
async def test_what_memory_holds_is_answered_at_once_with_the_ends_of_the_partition(
    node: OneNode, version: int
) -> None:
    batches = fill(node, 2, 3)
    node.log.append(stream_of(node), node_entry())
    begun = begin_fetch(node, ("t", 0, 0), version=version)
    assert isinstance(begun, list)
    [row] = await fetched(begun, version)
    assert bytes_of(row) == b"".join(batches)
    assert (row.error_code, row.high_watermark, row.last_stable_offset) == (ErrorCode.none, 5, 5)
    assert getattr(row, "log_start_offset", 0) == 0
    assert row.aborted_transactions is None


def node_entry() -> Any:
    """An entry that is appended and not durable."""
    return Entry(memoryview(batch_of(1)), 1)


async def test_readers_of_committed_records_get_no_aborted_transactions(node: OneNode) -> None:
    fill(node, 1)
    [row] = await fetched(begin_fetch(node, ("t", 0, 0), isolation_level=1))
    assert row.aborted_transactions == ()


@pytest.mark.parametrize(
    ("offset", "expected"), [(0, [0, 3, 5]), (2, [0, 3, 5]), (3, [3, 5]), (4, [3, 5]), (9, [5])]
)
async def test_an_answer_begins_with_the_batch_that_holds_the_offset(
    node: OneNode, offset: int, expected: list[int]
) -> None:
    fill(node, 3, 2, 5)
    [row] = await fetched(begin_fetch(node, ("t", 0, offset)))
    assert offsets(row) == expected


@given(
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    run_bytes=st.sampled_from([1, 150, 400, 10_000]),
    cold=st.integers(0, 40),
    bytes_max=st.integers(1, 600),
    data=st.data(),
)
@settings(max_examples=100)
def test_fetching_on_from_any_offset_reads_every_batch_once_in_order(
    counts: list[int], run_bytes: int, cold: int, bytes_max: int, data: st.DataObject
) -> None:
    async def read_all() -> None:
        node = OneNode()
        node.add_topic("t")
        stream = stream_of(node)
        node.log.run_bytes = run_bytes
        node.log.cold_below[stream] = cold
        batches = fill(node, *counts)
        starts = [0, *itertools.accumulate(counts)]
        offset = data.draw(st.integers(0, starts[-1] - 1))
        expected = b"".join(batch for batch, end in zip(batches, starts[1:], strict=True) if end > offset)
        got = b""
        while offset < starts[-1]:
            begun = begin_fetch(node, ("t", 0, offset), partition_max_bytes=bytes_max)
            [row] = await fetched(begun)
            piece = bytes_of(row)
            headers = [header for _, header in walk(piece)]
            assert len(headers) == 1 or len(piece) <= bytes_max
            got += piece
            offset = headers[-1].last_offset + 1
        assert got == expected

    asyncio.run(read_all())


async def test_the_first_batch_comes_even_if_it_is_larger_than_every_limit(node: OneNode) -> None:
    fill(node, 1, 1, index=0, value=bytes(1_000))
    fill(node, 1, index=1, value=bytes(1_000))
    fill(node, 1, index=2, value=b"small")
    wanted = [("t", 3, 0), ("t", 0, 0), ("t", 1, 0), ("t", 2, 0)]
    rows = await fetched(begin_fetch(node, *wanted, partition_max_bytes=100))
    assert [len(offsets(row)) for row in rows] == [0, 1, 0, 1]
    rows = await fetched(begin_fetch(node, *wanted, max_bytes=10))
    assert [len(offsets(row)) for row in rows] == [0, 1, 0, 0]


async def test_no_more_than_max_bytes_over_all_partitions_in_the_order_of_the_request(node: OneNode) -> None:
    sizes = [len(fill(node, *[1] * 5, index=index)[0]) for index in range(3)]
    rows = await fetched(begin_fetch(node, ("t", 2, 0), ("t", 0, 0), ("t", 1, 0), max_bytes=7 * sizes[0] + 1))
    assert [len(offsets(row)) for row in rows] == [5, 2, 0]


async def test_the_nodes_own_limit_holds_too() -> None:
    node = OneNode(fetch_bytes_max=1_024)
    node.add_topic("t")
    fill(node, *[1] * 50)
    [row] = await fetched(begin_fetch(node, ("t", 0, 0)))
    assert 900 < len(bytes_of(row)) <= 1_024


@pytest.mark.parametrize("offset", [-1, 4, 11, 2**62])
async def test_an_offset_outside_the_partition_is_out_of_range(node: OneNode, offset: int) -> None:
    fill(node, 5, 5)
    node.log.set_start(stream_of(node), 5)
    [row] = await fetched(begin_fetch(node, ("t", 0, offset), max_wait_ms=60_000))
    assert (row.error_code, row.high_watermark) == (ErrorCode.offset_out_of_range, -1)


async def test_the_start_of_a_trimmed_partition_is_told(node: OneNode) -> None:
    fill(node, 5, 5)
    node.log.set_start(stream_of(node), 5)
    [row] = await fetched(begin_fetch(node, ("t", 0, 5)))
    assert (row.log_start_offset, offsets(row)) == (5, [5])


@pytest.mark.parametrize(
    ("epoch", "code"), [(6, "fenced_leader_epoch"), (8, "unknown_leader_epoch"), (7, "none"), (-1, "none")]
)
async def test_the_leader_epoch_that_the_client_believes_in_is_checked(
    node: OneNode, epoch: int, code: str
) -> None:
    node.log.epoch = 7
    fill(node, 1)
    [row] = await fetched(begin_fetch(node, ("t", 0, 0), leader_epoch=epoch))
    assert row.error_code == ErrorCode[code]


async def test_an_error_in_one_partition_leaves_the_others_whole_and_does_not_wait(node: OneNode) -> None:
    fill(node, 1)
    wanted = [("nowhere", 0, 0), ("t", 9, 0), ("t", 0, 0), ("t", 1, 0)]
    rows = await fetched(begin_fetch(node, *wanted, max_wait_ms=60_000, min_bytes=10_000))
    unknown = ErrorCode.unknown_topic_or_partition
    assert [row.error_code for row in rows] == [unknown, unknown, ErrorCode.none, ErrorCode.none]
    assert offsets(rows[2]) == [0]


async def test_unknown_and_stale_topic_ids_are_unknown(node: OneNode) -> None:
    body = fetch_body(node, [("nowhere", 0, 0), ("t", 0, 0)], version=13)
    node.add_topic("t")
    rows = await fetched(fetch.begin(node.call(FETCH, 13, body), node.context), 13)
    assert [row.error_code for row in rows] == [ErrorCode.unknown_topic_id] * 2


async def test_a_log_of_another_node_is_not_led_here(node: OneNode) -> None:
    node.lose_log()
    [row] = await fetched(begin_fetch(node, ("t", 0, 0)))
    assert row.error_code == ErrorCode.not_leader_or_follower


@pytest.mark.parametrize(("session_id", "session_epoch"), [(0, 0), (0, -1), (77, -1), (77, 0)])
async def test_full_requests_are_answered_without_a_session(
    node: OneNode, session_id: int, session_epoch: int
) -> None:
    fill(node, 1)
    begun = begin_fetch(node, ("t", 0, 0), session_id=session_id, session_epoch=session_epoch)
    response = await fetch_response(begun)
    assert (response.error_code, response.session_id, len(response.responses)) == (ErrorCode.none, 0, 1)


@pytest.mark.parametrize("session_id", [0, 77])
async def test_a_request_of_a_session_that_does_not_exist_is_told_so(node: OneNode, session_id: int) -> None:
    fill(node, 1)
    response = await fetch_response(begin_fetch(node, ("t", 0, 0), session_id=session_id, session_epoch=3))
    assert (response.error_code, response.responses) == (ErrorCode.fetch_session_id_not_found, ())


async def test_a_body_that_is_no_request_is_a_protocol_error(node: OneNode) -> None:
    with pytest.raises(RemoteProtocolError):
        fetch.begin(node.call(FETCH, 12, memoryview(bytearray(3))), node.context)


async def test_a_fetch_at_the_end_is_woken_by_what_lands_and_not_by_what_is_appended(node: OneNode) -> None:
    fill(node, 2)
    task = await waiting(begin_fetch(node, ("t", 1, 0), ("t", 0, 2), max_wait_ms=60_000))
    node.put(stream_of(node), batch_of(3), land=False)
    await asyncio.sleep(0)
    assert not task.done()
    node.log.land()
    rows = await fetched(task)
    assert [offsets(row) for row in rows] == [[], [2]]
    assert (rows[1].high_watermark, node.log.watched) == (5, 0)


async def test_a_fetch_waits_until_there_are_min_bytes_over_all_partitions(node: OneNode) -> None:
    size = len(fill(node, 1)[0])
    begun = begin_fetch(node, ("t", 0, 0), ("t", 1, 0), max_wait_ms=60_000, min_bytes=3 * size)
    task = await waiting(begun)
    fill(node, 1, index=1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    fill(node, 1, index=0)
    rows = await fetched(task)
    assert [offsets(row) for row in rows] == [[0, 1], [0]]


async def test_what_a_limit_cuts_off_does_not_count_as_min_bytes(node: OneNode) -> None:
    size = len(fill(node, 1)[0])
    begun = begin_fetch(
        node, ("t", 0, 0), ("t", 1, 0), max_wait_ms=60_000, min_bytes=2 * size, partition_max_bytes=size
    )
    task = await waiting(begun)
    fill(node, 1, 1, 1)
    await asyncio.sleep(0)
    assert not task.done()
    fill(node, 1, index=1)
    assert [offsets(row) for row in await fetched(task)] == [[0], [0]]


async def test_more_min_bytes_than_max_bytes_waits_for_max_bytes(node: OneNode) -> None:
    size = len(fill(node, 1, 1)[0])
    begun = begin_fetch(node, ("t", 0, 0), max_wait_ms=60_000, min_bytes=1 << 20, max_bytes=size)
    assert isinstance(begun, list)
    assert [offsets(row) for row in await fetched(begun)] == [[0]]


async def test_a_fetch_at_the_end_is_answered_empty_after_its_time_and_a_proof(node: OneNode) -> None:
    fill(node, 2)
    [row] = await fetched(begin_fetch(node, ("t", 0, 2), max_wait_ms=1))
    assert (row.error_code, row.high_watermark, bytes_of(row)) == (ErrorCode.none, 2, b"")
    assert (node.log.proofs, node.log.watched) == (1, 0)


async def test_a_fetch_that_does_not_wait_is_answered_empty_after_a_proof(node: OneNode) -> None:
    fill(node, 1)
    rows = await fetched(begin_fetch(node, ("t", 0, 1), ("t", 1, 0), max_wait_ms=0))
    assert [bytes_of(row) for row in rows] == [b"", b""]
    assert node.log.proofs == 1


async def test_records_need_no_proof(node: OneNode) -> None:
    fill(node, 1)
    node.log.proof_error = Fenced("x")
    [row] = await fetched(begin_fetch(node, ("t", 0, 0)))
    assert (offsets(row), node.log.proofs) == ([0], 0)


@pytest.mark.parametrize(
    ("error", "code"),
    [(Fenced("x"), ErrorCode.not_leader_or_follower), (Unavailable("x"), ErrorCode.kafka_storage_error)],
)
async def test_without_a_proof_no_consumer_is_told_that_there_is_nothing(
    node: OneNode, error: Any, code: ErrorCode
) -> None:
    node.log.proof_error = error
    rows = await fetched(begin_fetch(node, ("t", 0, 0), ("t", 1, 0)))
    assert [row.error_code for row in rows] == [code, code]


async def test_a_waiting_fetch_learns_of_a_lost_log_at_once(node: OneNode) -> None:
    task = await waiting(begin_fetch(node, ("t", 0, 0), max_wait_ms=60_000))
    node.lose_log()
    node.log.lose(Fenced("x"))
    [row] = await fetched(task)
    assert row.error_code == ErrorCode.not_leader_or_follower


async def test_a_waiting_fetch_that_is_cancelled_leaves_nothing_behind(node: OneNode) -> None:
    task = await waiting(begin_fetch(node, ("t", 0, 0), ("t", 1, 0), max_wait_ms=60_000))
    assert node.log.watched == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert node.log.watched == 0


async def test_min_bytes_of_zero_never_waits(node: OneNode) -> None:
    [row] = await fetched(begin_fetch(node, ("t", 0, 0), min_bytes=0, max_wait_ms=60_000))
    assert row.error_code == ErrorCode.none


async def test_a_request_without_partitions_is_answered_at_once(node: OneNode) -> None:
    assert await fetched(begin_fetch(node, max_wait_ms=60_000)) == []


async def test_what_memory_does_not_hold_is_read_from_storage(node: OneNode) -> None:
    batches = fill(node, 1, 1)
    fill(node, 1, index=1)
    node.log.cold_below[stream_of(node)] = 2
    rows = await fetched(begin_fetch(node, ("t", 1, 0), ("t", 0, 1)))
    assert [bytes_of(rows[1]), offsets(rows[0])] == [batches[1], [0]]
    assert node.log.reads == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("x"), ErrorCode.kafka_storage_error),
        (Corrupt("x"), ErrorCode.kafka_storage_error),
        (Trimmed(1), ErrorCode.offset_out_of_range),
        (Fenced("x"), ErrorCode.not_leader_or_follower),
    ],
)
async def test_a_read_that_fails_is_an_error_of_its_partition(
    node: OneNode, error: Any, code: ErrorCode
) -> None:
    fill(node, 1)
    fill(node, 1, index=1)
    node.log.cold_below[stream_of(node)] = 1
    node.log.read_error = error
    rows = await fetched(begin_fetch(node, ("t", 0, 0), ("t", 1, 0), max_wait_ms=60_000))
    assert [row.error_code for row in rows] == [code, ErrorCode.none]
    assert offsets(rows[1]) == [0]


async def test_stored_bytes_that_are_no_batches_are_a_storage_error(node: OneNode) -> None:
    node.log.append(stream_of(node), Entry(b"x" * 50, 3))
    node.log.land()
    [row] = await fetched(begin_fetch(node, ("t", 0, 1)))
    assert row.error_code == ErrorCode.kafka_storage_error


async def test_what_lands_while_another_partition_is_read_is_not_missed(node: OneNode) -> None:
    size = len(fill(node, 1, index=1)[0])
    node.log.cold_below[stream_of(node, 1)] = 1
    node.log.reading.clear()
    task = await waiting(begin_fetch(node, ("t", 0, 0), ("t", 1, 0), max_wait_ms=60_000, min_bytes=2 * size))
    fill(node, 1, index=0)
    node.log.reading.set()
    assert [offsets(row) for row in await fetched(task)] == [[0], [0]]


async def test_partitions_of_several_logs_are_watched_and_proven_each() -> None:
    node = OneNode()
    logs = [FakeLog(new_state, log_id=i) for i in range(2)]
    node.add_topic("t", 2, logs=logs)
    await fetched(begin_fetch(node, ("t", 0, 0), ("t", 1, 0)))
    assert [log.proofs for log in logs] == [1, 1]
    task = await waiting(begin_fetch(node, ("t", 0, 0), ("t", 1, 0), max_wait_ms=60_000))
    assert [log.watched for log in logs] == [1, 1]
    node.log = logs[1]
    fill(node, 1, index=1)
    assert [offsets(row) for row in await fetched(task)] == [[], [0]]
