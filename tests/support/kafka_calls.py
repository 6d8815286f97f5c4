"""Produce and Fetch as a client sends them, by kio, and what it makes of the answers."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, cast
from uuid import UUID

from kio.index import load_request_schema, load_response_schema
from kio.serial import entity_reader
from kio.static.primitive import i16

from gateway.dispatch import Begun
from gateway.handlers import fetch, produce
from gateway.partition import Partition
from tests.protocol.hot import kio_trees as kio
from tests.support.one_node import OneNode
from wal.types import Buffer

PRODUCE = 0
FETCH = 1


def _ids(node: OneNode, name: str) -> UUID:
    topic = node.topic(name)
    return topic.id if topic is not None else UUID(int=99)


def produce_body(
    node: OneNode,
    batches: Sequence[tuple[str, int, Buffer | None]],
    *,
    version: int,
    acks: int = -1,
    timeout_ms: int = 10_000,
    transactional_id: str | None = None,
) -> memoryview:
    """A writable body, as the connection hands it over; consecutive partitions of a topic stand together."""
    schema: Any = load_request_schema(i16(PRODUCE), i16(version))
    topic_class = kio.schema_class(schema, "TopicProduceData")
    partition_class = kio.schema_class(schema, "PartitionProduceData")
    grouped: list[tuple[str, list[Any]]] = []
    for name, index, records in batches:
        data = None if records is None else bytes(records)
        partition = partition_class(index=index, records=kio.records(data))
        if not grouped or grouped[-1][0] != name:
            grouped.append((name, []))
        grouped[-1][1].append(partition)
    entity = schema(
        transactional_id=transactional_id,
        acks=acks,
        timeout=kio.duration(timeout_ms),
        topic_data=tuple(
            kio.fitting(topic_class, name=name, topic_id=_ids(node, name), partition_data=tuple(partitions))
            for name, partitions in grouped
        ),
    )
    return memoryview(bytearray(kio.written(entity)))


def begin_produce(
    node: OneNode, *batches: tuple[str, int, Buffer | None], version: int = 9, **fields: Any
) -> Begun:
    """Begin a Produce request."""
    body = produce_body(node, batches, version=version, **fields)
    return produce.begin(node.call(PRODUCE, version, body), node.context)


async def produced(begun: Begun, version: int = 9) -> list[Any]:
    """The partitions of the answer, in order."""
    response = await _answer(begun, PRODUCE, version)
    return [row for topic in response.responses for row in topic.partition_responses]


def fetch_body(
    node: OneNode,
    wanted: Sequence[tuple[str, int, int]],
    *,
    version: int,
    partition_max_bytes: int = 1 << 20,
    leader_epoch: int = -1,
    max_wait_ms: int = 0,
    min_bytes: int = 1,
    max_bytes: int = 1 << 30,
    isolation_level: int = 0,
    session_id: int = 0,
    session_epoch: int = -1,
) -> memoryview:
    """A body that asks for (topic, partition, offset), each its own topic row."""
    schema: Any = load_request_schema(i16(FETCH), i16(version))
    topic_class = kio.schema_class(schema, "FetchTopic")
    partition_class = kio.schema_class(schema, "FetchPartition")
    topics = tuple(
        kio.fitting(
            topic_class,
            topic=name,
            topic_id=_ids(node, name),
            partitions=(
                kio.fitting(
                    partition_class,
                    partition=index,
                    current_leader_epoch=leader_epoch,
                    fetch_offset=offset,
                    last_fetched_epoch=-1,
                    log_start_offset=-1,
                    partition_max_bytes=partition_max_bytes,
                ),
            ),
        )
        for name, index, offset in wanted
    )
    entity = kio.fitting(
        schema,
        replica_id=-1,
        max_wait=kio.duration(max_wait_ms),
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        isolation_level=isolation_level,
        session_id=session_id,
        session_epoch=session_epoch,
        topics=topics,
        forgotten_topics_data=(),
        rack_id="",
    )
    return memoryview(bytearray(kio.written(entity)))


def begin_fetch(node: OneNode, *wanted: tuple[str, int, int], version: int = 12, **fields: Any) -> Begun:
    """Begin a Fetch request for (topic, partition, offset)s."""
    body = fetch_body(node, wanted, version=version, **fields)
    return fetch.begin(node.call(FETCH, version, body), node.context)


async def fetched(begun: Begun, version: int = 12) -> list[Any]:
    """The partitions of the answer, in order."""
    response = await fetch_response(begun, version)
    return [row for topic in response.responses for row in topic.partitions]


async def fetch_response(begun: Begun, version: int = 12) -> Any:
    """The whole answer."""
    return await _answer(begun, FETCH, version)


def bytes_of(row: Any) -> bytes:
    """The records of a fetched partition."""
    return bytes(row.records or b"")


async def _answer(begun: Begun, api_key: int, version: int) -> Any:
    async with asyncio.timeout(10):
        answer = (
            begun if begun is None or isinstance(begun, list | tuple) else await cast(Awaitable[Any], begun)
        )
    assert answer is not None
    data = b"".join(bytes(part) for part in answer)
    schema: Any = load_response_schema(i16(api_key), i16(version))
    header, rest = entity_reader(schema.__header_schema__)(data, 0)
    assert header.correlation_id == 7
    entity, used = entity_reader(schema)(data, rest)
    assert rest + used == len(data)
    return entity


def stored(node: OneNode, partition: Partition) -> bytes:
    """All durable bytes of a partition."""
    log = node.by_log[partition.log_id]
    position, parts = log.start(partition.stream), []
    while position < log.durable_end(partition.stream):
        found = log.read_cached(partition.stream, position, 1 << 30)
        assert found is not None
        parts += found.parts
        position = found.end
    return b"".join(parts)
