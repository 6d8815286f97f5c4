"""confluent-kafka, of whatever release the running Python has: librdkafka in Python's clothes.

Imports nothing of this project but the words of `client_driver`, and so runs beside a release that cannot
share an environment with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from time import monotonic
from typing import Any

import confluent_kafka as library
from confluent_kafka import admin

from tests.support.client_driver import REQUEST_BYTES_MAX, SECONDS_MAX, Outcome, Received, Refused, Sent

Settings = dict[str, Any]


class Confluent:
    """The driver; keeps nothing between calls."""

    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    sends_timestamps = True
    sends_null_header_values = True

    def versions(self) -> tuple[str, str]:
        """Of the package and of librdkafka."""
        package: Any = library
        return metadata.version("confluent-kafka"), package.libversion()[0]

    def produce(
        self,
        address: str,
        topic: str,
        records: Sequence[Sent],
        *,
        codec: str = "none",
        idempotent: bool = False,
    ) -> list[Outcome]:
        """See Driver."""
        settings = {
            "enable.idempotence": idempotent,
            "compression.type": codec,
            "linger.ms": 20,
            "message.max.bytes": REQUEST_BYTES_MAX,
            "message.timeout.ms": int(SECONDS_MAX * 1000),
        }
        producer: Any = library.Producer(common(address) | settings)
        outcomes: list[Outcome | None] = [None] * len(records)
        for at, record in enumerate(records):

            def delivered(error: Any, message: Any, at: int = at) -> None:
                outcomes[at] = Outcome(-1, error.code()) if error else Outcome(message.offset())

            producer.produce(
                topic,
                partition=record.partition,
                key=record.key,
                value=record.value,
                headers=list(record.headers),
                timestamp=record.timestamp or 0,
                on_delivery=delivered,
            )
            producer.poll(0)
        left = producer.flush(SECONDS_MAX)
        if left:
            raise TimeoutError(f"{left} records were not delivered")
        return [outcome or Outcome(-1, -1) for outcome in outcomes]

    def consume(self, address: str, topic: str, starts: Mapping[int, int], count: int) -> list[Received]:
        """See Driver."""
        with consumer(address, {"auto.offset.reset": "error"}) as reader:
            reader.assign(
                [library.TopicPartition(topic, partition, offset) for partition, offset in starts.items()]
            )
            return consumed(reader, count)

    def consume_in_group(self, address: str, topic: str, group: str, count: int) -> list[Received]:
        """See Driver."""
        # Its close does not wait until the gateway has heard that it leaves. If the gateway is killed
        # meanwhile, the next member has to wait for this one's session to end.
        settings = {"group.id": group, "auto.offset.reset": "earliest", "session.timeout.ms": 6_000}
        with consumer(address, settings) as reader:
            reader.subscribe([topic])
            records = consumed(reader, count)
            reader.commit(asynchronous=False)
            return records

    def offsets_at(self, address: str, topic: str, times: Mapping[int, int]) -> dict[int, int | None]:
        """See Driver."""
        wanted = [library.TopicPartition(topic, partition, time) for partition, time in times.items()]
        with consumer(address, {}) as reader:
            found = reader.offsets_for_times(wanted, timeout=SECONDS_MAX)
        return {one.partition: one.offset if one.offset >= 0 else None for one in found}

    def ends(self, address: str, topic: str, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        """See Driver."""
        with consumer(address, {}) as reader:
            return {
                partition: reader.get_watermark_offsets(
                    library.TopicPartition(topic, partition), timeout=SECONDS_MAX
                )
                for partition in partitions
            }

    def create_topic(self, address: str, topic: str, partitions: int, config: Mapping[str, str]) -> None:
        """See AdminDriver."""
        new = admin.NewTopic(topic, num_partitions=partitions, replication_factor=1, config=dict(config))
        administered(address, "create_topics", new)

    def delete_topic(self, address: str, topic: str) -> None:
        """See AdminDriver."""
        administered(address, "delete_topics", topic)

    def topics(self, address: str) -> list[str]:
        """See AdminDriver."""
        return list(administrator(address).list_topics(timeout=SECONDS_MAX).topics)

    def partition_count(self, address: str, topic: str) -> int:
        """See AdminDriver."""
        found = administrator(address).list_topics(topic, timeout=SECONDS_MAX)
        return len(found.topics[topic].partitions)

    def grow(self, address: str, topic: str, partitions: int) -> None:
        """See AdminDriver."""
        administered(address, "create_partitions", admin.NewPartitions(topic, partitions))

    def config(self, address: str, topic: str) -> dict[str, str]:
        """See AdminDriver."""
        found = administered(address, "describe_configs", admin.ConfigResource("topic", topic))
        return {name: entry.value for name, entry in found.items()}

    def set_config(self, address: str, topic: str, changes: Mapping[str, str]) -> None:
        """See AdminDriver. Releases that know it change only what is named; old ones reset all else."""
        if not hasattr(admin, "AlterConfigOpType"):
            administered(address, "alter_configs", admin.ConfigResource("topic", topic, dict(changes)))
            return
        operation = admin.AlterConfigOpType.SET
        entries = [
            admin.ConfigEntry(name, value, incremental_operation=operation) for name, value in changes.items()
        ]
        resource = admin.ConfigResource("topic", topic, incremental_configs=entries)
        administered(address, "incremental_alter_configs", resource)


def common(address: str) -> Settings:
    """Settings of every client."""
    return {"bootstrap.servers": address}


@contextmanager
def consumer(address: str, settings: Settings) -> Iterator[Any]:
    """A consumer, closed at the end. It needs a group's name even where it joins none."""
    defaults = {"group.id": "none", "enable.auto.commit": False}
    reader: Any = library.Consumer(common(address) | defaults | settings)
    try:
        yield reader
    finally:
        reader.close()


def administrator(address: str) -> Any:
    """An admin client; it has nothing to close."""
    return admin.AdminClient(common(address))


def consumed(reader: Any, count: int) -> list[Received]:
    """The next records of a consumer."""
    received: list[Received] = []
    deadline = monotonic() + SECONDS_MAX
    while len(received) < count:
        if monotonic() > deadline:
            raise TimeoutError(f"{len(received)} of {count} records")
        for message in reader.consume(min(500, count - len(received)), timeout=0.5):
            if message.error():
                raise library.KafkaException(message.error())
            headers = tuple(message.headers() or ())
            received.append(
                Received(
                    message.partition(),
                    message.offset(),
                    message.timestamp()[1],
                    message.key(),
                    message.value(),
                    headers,
                )
            )
    return received


def administered(address: str, method: str, wanted: Any) -> Any:
    """What the one thing that an admin client was asked for came to."""
    client = administrator(address)
    (future,) = getattr(client, method)([wanted]).values()
    try:
        return future.result(SECONDS_MAX)
    except library.KafkaException as error:
        raise Refused(error.args[0].code()) from error
