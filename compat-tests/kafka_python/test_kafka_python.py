"""kafka-python against a gateway."""

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

import kafka
import pytest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError

from tests.support.client_driver import REQUEST_BYTES_MAX, SECONDS_MAX, Outcome, Received, Refused, Sent
from tests.support.client_laws import AdminLaws, ClientLaws, offsets
from tests.support.compat import create_topic, numbered_records, stored_batches
from tests.support.gateway import GatewayProcess


class KafkaPython:
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    sends_timestamps = True
    sends_null_header_values = False

    def produce(
        self,
        address: str,
        topic: str,
        records: Sequence[Sent],
        *,
        codec: str = "none",
        idempotent: bool = False,
    ) -> list[Outcome]:
        producer = kafka.KafkaProducer(
            bootstrap_servers=address,
            acks="all",
            enable_idempotence=idempotent,
            compression_type=None if codec == "none" else codec,
            linger_ms=20,
            max_request_size=REQUEST_BYTES_MAX,
        )
        with closing(producer):
            futures = [
                producer.send(
                    topic,
                    partition=record.partition,
                    key=record.key,
                    value=record.value,
                    headers=list(record.headers),
                    timestamp_ms=record.timestamp,
                )
                for record in records
            ]
            producer.flush(SECONDS_MAX)
            return [outcome(future) for future in futures]

    def consume(self, address: str, topic: str, starts: Mapping[int, int], count: int) -> list[Received]:
        with closing(kafka.KafkaConsumer(bootstrap_servers=address, auto_offset_reset="none")) as consumer:
            consumer.assign([kafka.TopicPartition(topic, partition) for partition in starts])
            for partition, offset in starts.items():
                consumer.seek(kafka.TopicPartition(topic, partition), offset)
            return polled(consumer, count)

    def consume_in_group(self, address: str, topic: str, group: str, count: int) -> list[Received]:
        consumer = kafka.KafkaConsumer(
            topic,
            bootstrap_servers=address,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        with closing(consumer):
            records = polled(consumer, count)
            consumer.commit()
            return records

    def offsets_at(self, address: str, topic: str, times: Mapping[int, int]) -> dict[int, int | None]:
        wanted = {kafka.TopicPartition(topic, partition): time for partition, time in times.items()}
        with closing(kafka.KafkaConsumer(bootstrap_servers=address)) as consumer:
            found = consumer.offsets_for_times(wanted)
        return {place.partition: one and one.offset for place, one in found.items()}

    def ends(self, address: str, topic: str, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        places = [kafka.TopicPartition(topic, partition) for partition in partitions]
        with closing(kafka.KafkaConsumer(bootstrap_servers=address)) as consumer:
            first, last = consumer.beginning_offsets(places), consumer.end_offsets(places)
        return {place.partition: (first[place], last[place]) for place in places}

    def create_topic(self, address: str, topic: str, partitions: int, config: Mapping[str, str]) -> None:
        rows = {topic: {"num_partitions": partitions, "replication_factor": 1, "configs": dict(config)}}
        self._admin(address, "create_topics", rows)

    def delete_topic(self, address: str, topic: str) -> None:
        self._admin(address, "delete_topics", [topic])

    def topics(self, address: str) -> list[str]:
        return list(self._admin(address, "list_topics"))

    def partition_count(self, address: str, topic: str) -> int:
        (described,) = self._admin(address, "describe_topics", [topic])
        return len(described["partitions"])

    def grow(self, address: str, topic: str, partitions: int) -> None:
        self._admin(address, "create_partitions", {topic: partitions})

    def config(self, address: str, topic: str) -> dict[str, str]:
        wanted = ConfigResource(ConfigResourceType.TOPIC, topic)
        found = self._admin(address, "describe_configs", [wanted], config_filter="all")
        return {name: row["value"] for name, row in found["topic"][topic].items()}

    def set_config(self, address: str, topic: str, changes: Mapping[str, str]) -> None:
        wanted = ConfigResource(ConfigResourceType.TOPIC, topic, dict(changes))
        said = self._admin(address, "alter_configs", [wanted])["topic"][topic]
        if said != "OK":
            raise Refused(int(re.findall(r"\[Error (\d+)\]", said)[0]))

    def _admin(self, address: str, method: str, *arguments: object, **named: object) -> Any:
        with closing(KafkaAdminClient(bootstrap_servers=address)) as client:
            try:
                return getattr(client, method)(*arguments, **named)
            except KafkaError as error:
                raise Refused(error.errno) from error


def outcome(future: Any) -> Outcome:
    try:
        return Outcome(future.get(SECONDS_MAX).offset)
    except KafkaError as error:
        return Outcome(-1, error.errno)


def polled(consumer: kafka.KafkaConsumer, count: int) -> list[Received]:
    received: list[Received] = []
    deadline = monotonic() + SECONDS_MAX
    while len(received) < count:
        if monotonic() > deadline:
            raise TimeoutError(f"{len(received)} of {count} records")
        for records in consumer.poll(500, max_records=min(500, count - len(received))).values():
            received += [
                Received(one.partition, one.offset, one.timestamp, one.key, one.value, tuple(one.headers))
                for one in records
            ]
    return received


class TestKafkaPython(ClientLaws, AdminLaws):
    driver = KafkaPython()

    @pytest.mark.usefixtures("forgotten_sockets")
    @pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
    def test_a_producer_and_a_consumer_live_through_a_killed_gateway(
        self, tmp_path: Path, topic: str
    ) -> None:
        with GatewayProcess(tmp_path) as gateway:
            create_topic(gateway.address, topic)
            producer = kafka.KafkaProducer(bootstrap_servers=gateway.address)
            consumer = kafka.KafkaConsumer(
                topic, bootstrap_servers=gateway.address, group_id="group", auto_offset_reset="earliest"
            )
            with closing(producer), closing(consumer):
                assert producer.send(topic, b"before").get(SECONDS_MAX).offset == 0
                assert [one.value for one in polled(consumer, 1)] == [b"before"]
                consumer.commit()
                gateway.kill()
                sending = producer.send(topic, b"meanwhile")
                gateway.start()
                assert sending.get(SECONDS_MAX).offset == 1
                assert [one.value for one in polled(consumer, 1)] == [b"meanwhile"]
                consumer.commit()
                assert [one.base_sequence for one in stored_batches(gateway.address, topic)] == [0, 1]

    def test_with_defaults_a_group_commits_by_itself(self, gateway: GatewayProcess, topic: str) -> None:
        records = numbered_records(20)
        with closing(kafka.KafkaProducer(bootstrap_servers=gateway.address)) as producer:
            for record in records:
                producer.send(topic, record.value, key=record.key)
        read: list[int] = []
        for count in (8, 12):
            consumer = kafka.KafkaConsumer(
                topic, bootstrap_servers=gateway.address, group_id=topic, auto_offset_reset="earliest"
            )
            with closing(consumer):
                read += offsets(polled(consumer, count))
        assert read == list(range(20))
