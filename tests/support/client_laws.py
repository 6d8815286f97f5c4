"""The laws that hold for every real client, stated once; a test module in compat-tests/ gives them a driver.

The fixtures `gateway` (one process for many tests) and `topic` (a name that is nobody else's) come from
compat-tests/conftest.py.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest

from gateway.errors import ErrorCode
from protocol.batches import Codec
from tests.support import compat
from tests.support.client_driver import AdminDriver, Driver, Outcome, Received, Refused, Sent
from tests.support.compat import (
    KEEP,
    TIME_MS,
    assert_received,
    by_partition,
    create_topic,
    numbered_records,
    stored_batches,
    value_filling,
    various_records,
)
from tests.support.gateway import GatewayProcess

MESSAGE_BYTES_MAX = 1_048_588
ALL_CODECS = [codec.name.lower() for codec in Codec]


class ClientLaws:
    """What holds for a client that produces and consumes."""

    driver: ClassVar[Driver]

    def various_records(self) -> list[Sent]:
        """Records of every shape that the client's user can send."""
        return various_records(
            timestamps=self.driver.sends_timestamps, null_header_values=self.driver.sends_null_header_values
        )

    def test_records_come_back_with_their_keys_headers_and_nulls(
        self, gateway: GatewayProcess, topic: str
    ) -> None:
        create_topic(gateway.address, topic, config=KEEP)
        sent = self.various_records()
        outcomes = self.driver.produce(gateway.address, topic, sent)
        assert outcomes == accepted(len(sent))
        assert_received(self.driver.consume(gateway.address, topic, {0: 0}, len(sent)), sent)

    @pytest.mark.parametrize("codec", ALL_CODECS)
    def test_what_is_stored_is_compressed_as_it_was_sent(
        self, gateway: GatewayProcess, topic: str, codec: str
    ) -> None:
        assert codec in self.driver.codecs
        create_topic(gateway.address, topic)
        sent = numbered_records(300)
        assert self.driver.produce(gateway.address, topic, sent, codec=codec) == accepted(300)
        assert {batch.codec for batch in stored_batches(gateway.address, topic)} == {Codec[codec.upper()]}
        assert_received(self.driver.consume(gateway.address, topic, {0: 0}, 300), sent)

    def test_twenty_thousand_records_over_four_partitions_keep_their_order(
        self, gateway: GatewayProcess, topic: str
    ) -> None:
        create_topic(gateway.address, topic, partitions=4)
        sent = numbered_records(20_000, partitions=4)
        outcomes = self.driver.produce(gateway.address, topic, sent)
        assert outcomes == [Outcome(at // 4) for at in range(20_000)]
        starts = dict.fromkeys(range(4), 0)
        assert_received(self.driver.consume(gateway.address, topic, starts, 20_000), sent)

    def test_a_topic_comes_into_being_when_it_is_produced_to(
        self, gateway: GatewayProcess, topic: str
    ) -> None:
        assert compat.partition_count(gateway.address, topic) == 0
        sent = numbered_records(1)
        assert self.driver.produce(gateway.address, topic, sent) == accepted(1)
        assert compat.partition_count(gateway.address, topic) == 1
        assert_received(self.driver.consume(gateway.address, topic, {0: 0}, 1), sent)

    def test_a_look_up_by_time_finds_the_first_record_from_then_on(
        self, gateway: GatewayProcess, topic: str
    ) -> None:
        create_topic(gateway.address, topic, partitions=4, config=KEEP)
        timed = self.driver.sends_timestamps
        sent = [
            one._replace(timestamp=TIME_MS + at // 4 * 1_000 if timed else None)
            for at, one in enumerate(numbered_records(400, partitions=4))
        ]
        assert not failures(self.driver.produce(gateway.address, topic, sent))
        read = by_partition(self.driver.consume(gateway.address, topic, dict.fromkeys(range(4), 0), 400))
        times = {
            0: read[0][0].timestamp - 1,
            1: read[1][50].timestamp,
            2: read[2][50].timestamp + 1,
            3: max(one.timestamp for one in read[3]) + 1,
        }
        wanted = {partition: first_from(read[partition], time) for partition, time in times.items()}
        assert wanted[0] == 0
        assert wanted[3] is None
        assert self.driver.offsets_at(gateway.address, topic, times) == wanted
        if timed:
            assert (wanted[1], wanted[2]) == (50, 51)

    def test_earliest_and_latest_are_the_ends_of_a_partition(
        self, gateway: GatewayProcess, topic: str
    ) -> None:
        create_topic(gateway.address, topic, partitions=2)
        assert self.driver.ends(gateway.address, topic, [0, 1]) == {0: (0, 0), 1: (0, 0)}
        assert not failures(self.driver.produce(gateway.address, topic, numbered_records(25)))
        assert self.driver.ends(gateway.address, topic, [0, 1]) == {0: (0, 25), 1: (0, 0)}

    def test_reading_begins_in_the_middle_of_a_batch(self, gateway: GatewayProcess, topic: str) -> None:
        create_topic(gateway.address, topic)
        assert not failures(self.driver.produce(gateway.address, topic, numbered_records(100)))
        # Where batches begin is the client's affair: the last record of the longest one lies inside of it.
        longest = max(stored_batches(gateway.address, topic), key=lambda one: one.record_count)
        assert longest.base_offset < longest.last_offset
        start = longest.last_offset
        received = self.driver.consume(gateway.address, topic, {0: start}, 100 - start)
        assert [one.offset for one in received] == list(range(start, 100))
        assert received[0].value == numbered_records(100)[start].value

    def test_a_consumer_at_the_end_gets_what_is_produced_next(
        self, gateway: GatewayProcess, topic: str
    ) -> None:
        create_topic(gateway.address, topic)
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(self.driver.consume, gateway.address, topic, {0: 0}, 3)
            sent = numbered_records(3)
            assert self.driver.produce(gateway.address, topic, sent) == accepted(3)
            assert_received(reading.result(), sent)

    def test_an_idempotent_producer_numbers_its_batches(self, gateway: GatewayProcess, topic: str) -> None:
        create_topic(gateway.address, topic)
        sent = numbered_records(2_000)
        assert self.driver.produce(gateway.address, topic, sent, idempotent=True) == accepted(2_000)
        batches = stored_batches(gateway.address, topic)
        assert len({(one.producer_id, one.producer_epoch) for one in batches}) == 1
        assert batches[0].producer_id >= 0
        assert [one.base_sequence for one in batches] == [one.base_offset for one in batches]
        assert_received(self.driver.consume(gateway.address, topic, {0: 0}, 2_000), sent)

    def test_a_producer_without_idempotence_has_no_number(self, gateway: GatewayProcess, topic: str) -> None:
        create_topic(gateway.address, topic)
        assert not failures(self.driver.produce(gateway.address, topic, numbered_records(5)))
        assert {one.producer_id for one in stored_batches(gateway.address, topic)} == {-1}

    def test_a_group_goes_on_where_it_committed(self, gateway: GatewayProcess, topic: str) -> None:
        create_topic(gateway.address, topic)
        assert not failures(self.driver.produce(gateway.address, topic, numbered_records(30)))
        group, other = f"{topic}-group", f"{topic}-other"
        assert offsets(self.driver.consume_in_group(gateway.address, topic, group, 10)) == list(range(10))
        assert offsets(self.driver.consume_in_group(gateway.address, topic, group, 10)) == list(range(10, 20))
        assert offsets(self.driver.consume_in_group(gateway.address, topic, other, 5)) == list(range(5))
        assert offsets(self.driver.consume_in_group(gateway.address, topic, group, 10)) == list(range(20, 30))

    def test_records_and_commits_outlive_a_killed_gateway(self, tmp_path: Path, topic: str) -> None:
        sent = numbered_records(60)
        with GatewayProcess(tmp_path) as gateway:
            create_topic(gateway.address, topic)
            assert self.driver.produce(gateway.address, topic, sent[:40]) == accepted(40)
            first = self.driver.consume_in_group(gateway.address, topic, "group", 15)
            assert offsets(first) == list(range(15))
            outcomes = self.driver.produce(gateway.address, topic, sent[40:50], idempotent=True)
            assert outcomes == accepted(10, base=40)
            gateway.kill()
            gateway.start()
            second = self.driver.consume_in_group(gateway.address, topic, "group", 25)
            assert offsets(second) == list(range(15, 40))
            outcomes = self.driver.produce(gateway.address, topic, sent[50:])
            assert outcomes == accepted(10, base=50)
            gateway.kill()
            gateway.start()
            third = self.driver.consume_in_group(gateway.address, topic, "group", 20)
            assert offsets(third) == list(range(40, 60))
            assert_received(self.driver.consume(gateway.address, topic, {0: 0}, 60), sent)

    def test_a_batch_of_exactly_the_limit_is_accepted(self, gateway: GatewayProcess, topic: str) -> None:
        create_topic(gateway.address, topic)
        sent = [Sent(0, value_filling(MESSAGE_BYTES_MAX))]
        assert self.driver.produce(gateway.address, topic, sent) == accepted(1)
        assert [one.size for one in stored_batches(gateway.address, topic)] == [MESSAGE_BYTES_MAX]
        assert_received(self.driver.consume(gateway.address, topic, {0: 0}, 1), sent)

    def test_a_batch_of_one_byte_more_is_too_large_and_harms_no_other_partition(
        self, gateway: GatewayProcess, topic: str
    ) -> None:
        create_topic(gateway.address, topic, partitions=3)
        sent = [Sent(0, b"small"), Sent(1, value_filling(MESSAGE_BYTES_MAX + 1)), Sent(2, b"small")]
        outcomes = self.driver.produce(gateway.address, topic, sent)
        assert outcomes == [Outcome(0), Outcome(-1, ErrorCode.message_too_large), Outcome(0)]
        assert [len(stored_batches(gateway.address, topic, index)) for index in range(3)] == [1, 0, 1]

    def test_a_topic_may_allow_larger_batches(self, gateway: GatewayProcess, topic: str) -> None:
        create_topic(gateway.address, topic, config={"max.message.bytes": str(2 << 20)})
        sent = [Sent(0, b"x" * (1 << 20))]
        assert self.driver.produce(gateway.address, topic, sent) == accepted(1)
        assert_received(self.driver.consume(gateway.address, topic, {0: 0}, 1), sent)


class AdminLaws:
    """What holds for a client that manages topics."""

    driver: ClassVar[AdminDriver]

    def test_a_created_topic_is_listed_and_used_until_it_is_deleted(
        self, gateway: GatewayProcess, topic: str
    ) -> None:
        assert topic not in self.driver.topics(gateway.address)
        self.driver.create_topic(gateway.address, topic, 3, {})
        assert topic in self.driver.topics(gateway.address)
        assert self.driver.partition_count(gateway.address, topic) == 3
        assert self.driver.produce(gateway.address, topic, [Sent(2, b"a value")]) == accepted(1)
        self.driver.delete_topic(gateway.address, topic)
        assert topic not in self.driver.topics(gateway.address)
        self.driver.create_topic(gateway.address, topic, 1, {})
        assert self.driver.ends(gateway.address, topic, [0]) == {0: (0, 0)}

    def test_what_cannot_be_is_refused_with_kafkas_error(self, gateway: GatewayProcess, topic: str) -> None:
        self.driver.create_topic(gateway.address, topic, 1, {})
        assert refusal(lambda: self.driver.create_topic(gateway.address, topic, 1, {})) == (
            ErrorCode.topic_already_exists
        )
        assert refusal(lambda: self.driver.create_topic(gateway.address, "not/a/name", 1, {})) == (
            ErrorCode.invalid_topic_exception
        )
        assert refusal(
            lambda: self.driver.create_topic(gateway.address, f"{topic}-2", 1, {"no.such": "1"})
        ) == (ErrorCode.invalid_config)
        assert refusal(lambda: self.driver.delete_topic(gateway.address, f"{topic}-3")) == (
            ErrorCode.unknown_topic_or_partition
        )
        assert refusal(lambda: self.driver.grow(gateway.address, topic, 1)) == ErrorCode.invalid_partitions
        assert refusal(
            lambda: self.driver.set_config(gateway.address, topic, {"max.message.bytes": "large"})
        ) == (ErrorCode.invalid_config)

    def test_new_partitions_take_records(self, gateway: GatewayProcess, topic: str) -> None:
        self.driver.create_topic(gateway.address, topic, 1, {})
        assert self.driver.produce(gateway.address, topic, [Sent(0, b"before")]) == accepted(1)
        self.driver.grow(gateway.address, topic, 4)
        assert self.driver.partition_count(gateway.address, topic) == 4
        assert self.driver.produce(gateway.address, topic, [Sent(3, b"after")]) == accepted(1)
        received = self.driver.consume(gateway.address, topic, {0: 0, 3: 0}, 2)
        assert sorted((one.partition, one.value) for one in received) == [(0, b"before"), (3, b"after")]

    def test_settings_of_a_topic_are_described_changed_and_obeyed(
        self, gateway: GatewayProcess, topic: str
    ) -> None:
        self.driver.create_topic(gateway.address, topic, 1, {"retention.ms": "86400000"})
        config = self.driver.config(gateway.address, topic)
        assert config["retention.ms"] == "86400000"
        assert config["max.message.bytes"] == str(MESSAGE_BYTES_MAX)
        assert config["cleanup.policy"] == "delete"
        changes = {"max.message.bytes": "2048", "retention.ms": "86400000"}
        self.driver.set_config(gateway.address, topic, changes)
        changed = self.driver.config(gateway.address, topic)
        assert changed == {**config, **changes}
        too_large = [Outcome(-1, ErrorCode.message_too_large)]
        assert self.driver.produce(gateway.address, topic, [Sent(0, b"x" * 3_000)]) == too_large
        assert self.driver.produce(gateway.address, topic, [Sent(0, b"x" * 1_000)]) == accepted(1)


def accepted(count: int, base: int = 0) -> list[Outcome]:
    """The outcome of records that all went to one partition."""
    return [Outcome(offset) for offset in range(base, base + count)]


def failures(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes that are errors."""
    return [one for one in outcomes if one.error]


def offsets(records: Sequence[Received]) -> list[int]:
    """The offsets, in the order of arrival."""
    return [one.offset for one in records]


def first_from(records: Sequence[Received], time: int) -> int | None:
    """The first offset at or after a time."""
    return next((one.offset for one in records if one.timestamp >= time), None)


def refusal(action: Callable[[], None]) -> int:
    """The error code with which it is refused."""
    with pytest.raises(Refused) as refused:
        action()
    return refused.value.code
