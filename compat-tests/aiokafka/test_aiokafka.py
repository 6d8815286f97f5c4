"""aiokafka against a gateway."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from tests.support.client_driver import REQUEST_BYTES_MAX, SECONDS_MAX, Outcome, Received, Refused, Sent
from tests.support.client_laws import AdminLaws, ClientLaws
from tests.support.compat import create_topic, stored_batches
from tests.support.gateway import GatewayProcess

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(SECONDS_MAX):
            return await coroutine

    return asyncio.run(bounded())


class AioKafka:
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    sends_timestamps = True
    sends_null_header_values = True

    def produce(
        self,
        address: str,
        topic: str,
        records: Sequence[Sent],
        *,
        codec: str = "none",
        idempotent: bool = False,
    ) -> list[Outcome]:
        async def produced() -> list[Outcome]:
            producer = aiokafka.AIOKafkaProducer(
                bootstrap_servers=address,
                acks="all",
                enable_idempotence=idempotent,
                compression_type=None if codec == "none" else codec,
                linger_ms=20,
                max_request_size=REQUEST_BYTES_MAX,
            )
            async with producer:
                futures = [
                    await producer.send(
                        topic,
                        partition=record.partition,
                        key=record.key,
                        value=record.value,
                        headers=list(record.headers),
                        timestamp_ms=record.timestamp,
                    )
                    for record in records
                ]
                return [await outcome(future) for future in futures]

        return run(produced())

    def consume(self, address: str, topic: str, starts: Mapping[int, int], count: int) -> list[Received]:
        async def consumed() -> list[Received]:
            async with aiokafka.AIOKafkaConsumer(
                bootstrap_servers=address, auto_offset_reset="none"
            ) as reader:
                reader.assign([aiokafka.TopicPartition(topic, partition) for partition in starts])
                for partition, offset in starts.items():
                    reader.seek(aiokafka.TopicPartition(topic, partition), offset)
                return await read(reader, count)

        return run(consumed())

    def consume_in_group(self, address: str, topic: str, group: str, count: int) -> list[Received]:
        async def consumed() -> list[Received]:
            async with member(address, topic, group) as reader:
                records = await read(reader, count)
                await reader.commit()
                return records

        return run(consumed())

    def offsets_at(self, address: str, topic: str, times: Mapping[int, int]) -> dict[int, int | None]:
        async def found() -> dict[int, int | None]:
            wanted = {aiokafka.TopicPartition(topic, partition): time for partition, time in times.items()}
            async with aiokafka.AIOKafkaConsumer(bootstrap_servers=address) as reader:
                offsets = await reader.offsets_for_times(wanted)
            return {place.partition: one and one.offset for place, one in offsets.items()}

        return run(found())

    def ends(self, address: str, topic: str, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        async def found() -> dict[int, tuple[int, int]]:
            places = [aiokafka.TopicPartition(topic, partition) for partition in partitions]
            async with aiokafka.AIOKafkaConsumer(bootstrap_servers=address) as reader:
                first, last = await reader.beginning_offsets(places), await reader.end_offsets(places)
            return {place.partition: (first[place], last[place]) for place in places}

        return run(found())

    def create_topic(self, address: str, topic: str, partitions: int, config: Mapping[str, str]) -> None:
        new = NewTopic(topic, partitions, 1, topic_configs=dict(config))
        code = run(administered(address, lambda admin: admin.create_topics([new]))).topic_errors[0][1]
        refuse(code)

    def delete_topic(self, address: str, topic: str) -> None:
        answer = run(administered(address, lambda admin: admin.delete_topics([topic])))
        refuse(answer.topic_error_codes[0][1])

    def topics(self, address: str) -> list[str]:
        return list(run(administered(address, lambda admin: admin.list_topics())))

    def partition_count(self, address: str, topic: str) -> int:
        (described,) = run(administered(address, lambda admin: admin.describe_topics([topic])))
        return len(described["partitions"])

    def grow(self, address: str, topic: str, partitions: int) -> None:
        wanted = {topic: NewPartitions(partitions)}
        answer = run(administered(address, lambda admin: admin.create_partitions(wanted)))
        refuse(answer.topic_errors[0][1])

    def config(self, address: str, topic: str) -> dict[str, str]:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        (answer,) = run(administered(address, lambda admin: admin.describe_configs([resource])))
        code, _message, _type, _name, entries = answer.resources[0]
        refuse(code)
        return {entry[0]: entry[1] for entry in entries}

    def set_config(self, address: str, topic: str, changes: Mapping[str, str]) -> None:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, dict(changes))
        (answer,) = run(administered(address, lambda admin: admin.alter_configs([resource])))
        refuse(answer.resources[0][0])


async def outcome(future: Any) -> Outcome:
    try:
        return Outcome((await future).offset)
    except KafkaError as error:
        return Outcome(-1, error.errno)


def member(address: str, topic: str, group: str) -> aiokafka.AIOKafkaConsumer:
    return aiokafka.AIOKafkaConsumer(
        topic,
        bootstrap_servers=address,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )


async def read(reader: aiokafka.AIOKafkaConsumer, count: int) -> list[Received]:
    received: list[Received] = []
    while len(received) < count:
        found = await reader.getmany(timeout_ms=500, max_records=min(500, count - len(received)))
        for records in found.values():
            received += [
                Received(one.partition, one.offset, one.timestamp, one.key, one.value, tuple(one.headers))
                for one in records
            ]
    return received


@asynccontextmanager
async def administrator(address: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=address)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def administered(address: str, action: Any) -> Any:
    async with administrator(address) as client:
        try:
            return await action(client)
        except KafkaError as error:
            raise Refused(error.errno) from error


def refuse(code: int) -> None:
    if code:
        raise Refused(code)


class TestAioKafka(ClientLaws, AdminLaws):
    driver = AioKafka()

    async def test_a_producer_and_a_consumer_live_through_a_killed_gateway(
        self, tmp_path: Path, topic: str
    ) -> None:
        with GatewayProcess(tmp_path) as gateway:
            create_topic(gateway.address, topic)
            async with (
                asyncio.timeout(2 * SECONDS_MAX),
                aiokafka.AIOKafkaProducer(
                    bootstrap_servers=gateway.address, enable_idempotence=True
                ) as producer,
                member(gateway.address, topic, "group") as reader,
            ):
                assert (await producer.send_and_wait(topic, b"before")).offset == 0
                assert [one.value for one in await read(reader, 1)] == [b"before"]
                await reader.commit()
                gateway.kill()
                sending = await producer.send(topic, b"meanwhile")
                await asyncio.to_thread(gateway.start)
                assert (await sending).offset == 1
                assert [one.value for one in await read(reader, 1)] == [b"meanwhile"]
                await reader.commit()
                batches = await asyncio.to_thread(stored_batches, gateway.address, topic)
                assert [one.base_sequence for one in batches] == [0, 1]
