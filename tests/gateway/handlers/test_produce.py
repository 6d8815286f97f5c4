"""Laws of Produce: what is taken lies in the log in order, what is refused says why, no ack comes early."""

import asyncio
from typing import Any

import pytest

from gateway.errors import CloseConnection, ErrorCode
from gateway.handlers import produce
from gateway.producers import SEQUENCE_MASK
from protocol.batches import Codec, read_header, walk
from protocol.errors import RemoteProtocolError
from protocol.records import open_batch
from tests.support.fake_log import FakeLog
from tests.support.kafka_calls import PRODUCE, begin_produce, produce_body, produced, stored
from tests.support.one_node import OneNode, batch_of, batch_of_size, new_state
from wal.errors import Closed, Fenced, Unavailable


@pytest.fixture
async def node() -> OneNode:
    made = OneNode()
    made.add_topic("t", 4)
    return made


def partition(node: OneNode, index: int = 0, topic: str = "t") -> Any:
    found = node.partition(topic, index)
    assert found is not None
    return found


async def refusal(node: OneNode, *batches: Any, version: int = 9, **fields: Any) -> Any:
    """The first partition of an answer that waits for nothing."""
    begun = begin_produce(node, *batches, version=version, **fields)
    assert isinstance(begun, list)
    return (await produced(begun, version))[0]


@pytest.mark.parametrize("version", range(3, 14))
@pytest.mark.parametrize("acks", [-1, 1])
async def test_a_batch_is_acknowledged_with_its_offset_once_it_is_durable(
    node: OneNode, version: int, acks: int
) -> None:
    node.put(partition(node).stream, batch_of(3))
    begun = begin_produce(node, ("t", 0, batch_of(2)), version=version, acks=acks)
    assert isinstance(begun, asyncio.Future)
    await asyncio.sleep(0)
    assert not begun.done()
    node.log.land()
    [row] = await produced(begun, version)
    assert (row.error_code, row.base_offset) == (ErrorCode.none, 3)
    assert getattr(row, "log_start_offset", 0) == 0


async def test_base_offset_and_leader_epoch_are_written_into_the_stored_batch(node: OneNode) -> None:
    node.log.epoch = 7
    sent = batch_of(3, codec=Codec.ZSTD)
    for _ in range(2):
        begin_produce(node, ("t", 1, sent))
    node.log.land()
    data = stored(node, partition(node, 1))
    headers = [header for _, header in walk(data)]
    assert [(header.base_offset, header.leader_epoch) for header in headers] == [(0, 7), (3, 7)]
    assert headers[1].codec is Codec.ZSTD
    assert data[len(sent) + 21 :] == bytes(sent[21:])
    assert [record.offset for record in open_batch(data[len(sent) :], 1_000)] == [3, 4, 5]


async def test_partitions_fare_each_on_their_own(node: OneNode) -> None:
    broken = batch_of()
    broken[-1] ^= 1
    begun = begin_produce(
        node,
        ("t", 0, batch_of()),
        ("t", 9, batch_of()),
        ("t", 1, broken),
        ("nowhere", 0, batch_of()),
        ("t", 2, batch_of(2)),
    )
    node.log.land()
    rows = await produced(begun)
    assert [row.error_code for row in rows] == [
        ErrorCode.none,
        ErrorCode.unknown_topic_or_partition,
        ErrorCode.corrupt_message,
        ErrorCode.unknown_topic_or_partition,
        ErrorCode.none,
    ]
    assert all(bool(row.error_message) == bool(row.error_code) for row in rows)
    assert [node.log.durable_end(partition(node, index).stream) for index in range(4)] == [1, 0, 2, 0]


async def test_the_same_partition_twice_in_a_request_is_taken_in_order(node: OneNode) -> None:
    first = batch_of(2, value=b"a", producer_id=5, producer_epoch=0, base_sequence=0)
    second = batch_of(3, value=b"b", producer_id=5, producer_epoch=0, base_sequence=2)
    begun = begin_produce(node, ("t", 0, first), ("t", 0, second), ("t", 0, first))
    node.log.land()
    assert [row.base_offset for row in await produced(begun)] == [0, 2, 0]
    assert len(stored(node, partition(node))) == len(first) + len(second)


@pytest.mark.parametrize("acks", [2, -2, 100])
async def test_other_acks_are_refused_for_every_partition(node: OneNode, acks: int) -> None:
    rows = await produced(begin_produce(node, ("t", 0, batch_of()), ("t", 1, batch_of()), acks=acks))
    assert [row.error_code for row in rows] == [ErrorCode.invalid_required_acks] * 2
    assert node.log.appended_end(partition(node).stream) == 0


async def test_an_id_of_a_deleted_topic_never_reaches_the_topic_made_again(node: OneNode) -> None:
    body = produce_body(node, [("t", 0, batch_of())], version=13)
    node.add_topic("t", 1)
    rows = await produced(produce.begin(node.call(PRODUCE, 13, body), node.context), 13)
    assert [row.error_code for row in rows] == [ErrorCode.unknown_topic_id]


@pytest.mark.parametrize("records", [None, b""])
async def test_no_batch_is_an_invalid_record(node: OneNode, records: bytes | None) -> None:
    assert (await refusal(node, ("t", 0, records))).error_code == ErrorCode.invalid_record


async def test_two_batches_in_a_partition_are_an_invalid_record(node: OneNode) -> None:
    row = await refusal(node, ("t", 0, batch_of() + batch_of()))
    assert row.error_code == ErrorCode.invalid_record


async def test_an_old_magic_is_an_invalid_record(node: OneNode) -> None:
    batch = batch_of()
    batch[16] = 1
    assert (await refusal(node, ("t", 0, batch))).error_code == ErrorCode.invalid_record


@pytest.mark.parametrize("flags", [{"is_transactional": True}, {"is_control": True}])
async def test_transactional_and_control_batches_are_invalid_records(
    node: OneNode, flags: dict[str, Any]
) -> None:
    row = await refusal(node, ("t", 0, batch_of(producer_id=1, producer_epoch=0, base_sequence=0, **flags)))
    assert row.error_code == ErrorCode.invalid_record


async def test_a_transactional_id_is_refused_for_good(node: OneNode) -> None:
    row = await refusal(node, ("t", 0, batch_of()), transactional_id="x")
    assert row.error_code == ErrorCode.transactional_id_authorization_failed


@pytest.mark.parametrize(
    ("version", "code"), [(6, ErrorCode.unsupported_compression_type), (7, ErrorCode.none)]
)
async def test_zstd_is_taken_from_version_7_on(node: OneNode, version: int, code: ErrorCode) -> None:
    begun = begin_produce(node, ("t", 0, batch_of(codec=Codec.ZSTD)), version=version)
    node.log.land()
    assert (await produced(begun, version))[0].error_code == code


async def test_a_batch_of_exactly_the_largest_size_is_taken_and_one_byte_more_is_not(node: OneNode) -> None:
    node.add_topic("small", 2, max_message_bytes="500")
    begun = begin_produce(node, ("small", 0, batch_of_size(501)), ("small", 1, batch_of_size(500)))
    node.log.land()
    rows = await produced(begun)
    assert [row.error_code for row in rows] == [ErrorCode.message_too_large, ErrorCode.none]


async def test_log_append_time_is_stamped_and_told(node: OneNode) -> None:
    node.add_topic("stamped", 1, message_timestamp_type="LogAppendTime")
    begun = begin_produce(node, ("stamped", 0, batch_of(2)))
    node.log.land()
    [row] = await produced(begun)
    now_ms = node.clock.now_ms()
    assert row.log_append_time.timestamp() * 1000 == now_ms
    records = open_batch(stored(node, partition(node, 0, "stamped")), 1_000)
    assert [record.timestamp for record in records] == [now_ms, now_ms]


async def test_acks_0_is_never_answered(node: OneNode) -> None:
    assert begin_produce(node, ("t", 0, batch_of()), acks=0) is None
    node.log.land()
    assert node.log.durable_end(partition(node).stream) == 1


async def test_acks_0_with_an_error_closes_the_connection_and_keeps_what_was_good(node: OneNode) -> None:
    with pytest.raises(CloseConnection, match="invalid_record"):
        begin_produce(node, ("t", 0, batch_of()), ("t", 1, b""), acks=0)
    assert node.log.appended_end(partition(node).stream) == 1


async def test_a_body_that_is_no_request_is_a_protocol_error(node: OneNode) -> None:
    with pytest.raises(RemoteProtocolError):
        produce.begin(node.call(PRODUCE, 9, memoryview(bytearray(3))), node.context)


async def test_a_request_without_partitions_is_answered_at_once(node: OneNode) -> None:
    begun = begin_produce(node)
    assert isinstance(begun, list)
    assert await produced(begun) == []


async def test_a_log_of_another_node_is_not_led_here(node: OneNode) -> None:
    node.lose_log()
    assert (await refusal(node, ("t", 0, batch_of()))).error_code == ErrorCode.not_leader_or_follower


@pytest.mark.parametrize("error", [Fenced("x"), Closed("x")])
async def test_a_lost_log_sends_producers_elsewhere(node: OneNode, error: Exception) -> None:
    begun = begin_produce(node, ("t", 0, batch_of()))
    node.log.lose(error)  # type: ignore[arg-type]
    assert (await produced(begun))[0].error_code == ErrorCode.not_leader_or_follower
    assert (await refusal(node, ("t", 0, batch_of()))).error_code == ErrorCode.not_leader_or_follower


async def test_an_unknown_outcome_is_a_time_out(node: OneNode) -> None:
    begun = begin_produce(node, ("t", 0, batch_of()))
    node.log.lose(Unavailable("x"))
    assert (await produced(begun))[0].error_code == ErrorCode.request_timed_out


async def test_a_request_times_out_on_its_own_and_its_records_may_still_land(node: OneNode) -> None:
    begun = begin_produce(node, ("t", 0, batch_of()), timeout_ms=0)
    assert (await produced(begun))[0].error_code == ErrorCode.request_timed_out
    node.log.land()
    assert node.log.durable_end(partition(node).stream) == 1


async def test_a_time_out_counts_only_for_what_is_still_under_way() -> None:
    node = OneNode()
    logs = [FakeLog(new_state, log_id=i) for i in range(2)]
    node.add_topic("t", 2, logs=logs)
    begun = begin_produce(node, ("t", 0, batch_of()), ("t", 1, batch_of()), timeout_ms=0)
    logs[1].land()
    rows = await produced(begun)
    assert [row.error_code for row in rows] == [ErrorCode.request_timed_out, ErrorCode.none]


async def test_a_request_over_two_logs_waits_for_both_and_fails_for_one() -> None:
    node = OneNode()
    logs = [FakeLog(new_state, log_id=i) for i in range(2)]
    node.add_topic("t", 2, logs=logs)
    begun = begin_produce(node, ("t", 0, batch_of()), ("t", 1, batch_of()))
    logs[0].land()
    await asyncio.sleep(0)
    assert isinstance(begun, asyncio.Future)
    assert not begun.done()
    logs[1].lose(Fenced("x"))
    rows = await produced(begun)
    assert [row.error_code for row in rows] == [ErrorCode.none, ErrorCode.not_leader_or_follower]


async def test_a_request_that_went_away_harms_nobody(node: OneNode) -> None:
    gone = begin_produce(node, ("t", 0, batch_of()))
    begun = begin_produce(node, ("t", 0, batch_of()))
    assert isinstance(gone, asyncio.Future)
    gone.cancel()
    node.log.land()
    assert (await produced(begun))[0].base_offset == 1


def numbered(sequence: int, count: int = 1, *, epoch: int = 0, producer_id: int = 9) -> bytearray:
    return batch_of(count, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence)


async def test_a_duplicate_in_flight_shares_the_outcome_of_its_first_copy(node: OneNode) -> None:
    first = begin_produce(node, ("t", 0, numbered(0, 3)))
    node.log.cut()
    begin_produce(node, ("t", 0, numbered(3)))
    again = begin_produce(node, ("t", 0, numbered(0, 3)))
    assert isinstance(again, asyncio.Future)
    await asyncio.sleep(0)
    assert not again.done()
    node.log.land(1)
    for begun in (first, again):
        [row] = await produced(begun)
        assert (row.error_code, row.base_offset) == (ErrorCode.none, 0)
    assert node.log.appended_end(partition(node).stream) == 4


async def test_a_duplicate_in_flight_fails_with_its_first_copy(node: OneNode) -> None:
    begins = [begin_produce(node, ("t", 0, numbered(0))) for _ in range(2)]
    node.log.lose(Fenced("x"))
    for begun in begins:
        assert (await produced(begun))[0].error_code == ErrorCode.not_leader_or_follower


async def test_a_duplicate_of_what_a_lost_log_had_in_flight_is_never_acknowledged(node: OneNode) -> None:
    begin_produce(node, ("t", 0, numbered(0)))
    node.log.lose(Fenced("x"))
    assert (await refusal(node, ("t", 0, numbered(0)))).error_code == ErrorCode.not_leader_or_follower


async def test_a_duplicate_of_a_durable_batch_is_answered_at_once(node: OneNode) -> None:
    begin_produce(node, ("t", 0, numbered(0, 2)))
    begin_produce(node, ("t", 0, numbered(2, 2)))
    node.log.land()
    begun = begin_produce(node, ("t", 0, numbered(2, 2)))
    assert isinstance(begun, list)
    assert (await produced(begun))[0].base_offset == 2


async def test_sequences_are_enforced_per_partition(node: OneNode) -> None:
    begin_produce(node, ("t", 0, numbered(10, 2, epoch=1)), ("t", 1, numbered(500)))
    expected = {
        (13, 1): ErrorCode.out_of_order_sequence_number,
        (12, 0): ErrorCode.invalid_producer_epoch,
        (12, 2): ErrorCode.out_of_order_sequence_number,
    }
    for (sequence, epoch), code in expected.items():
        assert (await refusal(node, ("t", 0, numbered(sequence, epoch=epoch)))).error_code == code
    begun = begin_produce(node, ("t", 0, numbered(0, epoch=2)), ("t", 2, numbered(77)))
    node.log.land()
    assert [row.error_code for row in await produced(begun)] == [ErrorCode.none, ErrorCode.none]


async def test_sequences_go_on_at_zero_after_the_largest(node: OneNode) -> None:
    begins = [
        begin_produce(node, ("t", 0, numbered(SEQUENCE_MASK - 1, 4))),
        begin_produce(node, ("t", 0, numbered(2))),
    ]
    node.log.land()
    assert [(await produced(begun))[0].base_offset for begun in begins] == [0, 4]


async def test_a_sequence_below_zero_is_an_invalid_record(node: OneNode) -> None:
    batch = batch_of(producer_id=3, producer_epoch=0, base_sequence=-1)
    assert (await refusal(node, ("t", 0, batch))).error_code == ErrorCode.invalid_record


async def test_the_durable_windows_are_those_of_what_landed(node: OneNode) -> None:
    begin_produce(node, ("t", 0, numbered(0, 2)))
    node.log.cut()
    begin_produce(node, ("t", 0, numbered(2, 2)))
    node.log.land(1)
    stream = partition(node).stream
    durable = node.log.durable.producers
    assert durable.check(stream, 9, 0, 0, 2, node.clock.now_ms()) == 0
    assert durable.check(stream, 9, 0, 4, 1, node.clock.now_ms()) < 0
    node.log.land()
    assert durable.snapshot(stream) == node.log.appended.producers.snapshot(stream)


async def test_what_the_log_is_given_describes_the_batch(node: OneNode) -> None:
    sent = batch_of(2, times=(70, 50), producer_id=2**62, producer_epoch=3, base_sequence=0)
    begin_produce(node, ("t", 3, sent))
    [(_, position, entry)] = node.log._flights[0].entries
    assert (position, entry.n, entry.time, entry.tag_group) == (0, 2, 70, 2**62 + 1)
    assert read_header(entry.payload).record_count == 2
