"""Fetch by hand equals Fetch by kio, and any bytes end as a request or as a protocol error."""

import contextlib
import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.index import load_request_schema, load_response_schema
from kio.schema.errors import ErrorCode
from kio.static.primitive import i16

from protocol.errors import RemoteProtocolError
from protocol.hot.fetch import (
    AskedPartition,
    AskedTopic,
    FetchedPartition,
    FetchedTopic,
    FetchRequest,
    ForgottenTopic,
    decode_request,
    encode_response,
)
from protocol.hot.primitives import NodeEndpoint
from tests.protocol.hot import kio_trees as kio

VERSIONS = range(4, 19)


@st.composite
def request_entities(draw: st.DrawFn, version: int) -> Any:
    """Requests as kio has them, with the tagged fields that only followers send among them."""
    schema: Any = load_request_schema(i16(1), i16(version))
    topic_class = kio.schema_class(schema, "FetchTopic")
    partition_class = kio.schema_class(schema, "FetchPartition")
    topics = []
    for _ in range(draw(st.integers(0, 3))):
        partitions = tuple(
            kio.fitting(
                partition_class,
                partition=draw(kio.int32s),
                current_leader_epoch=draw(kio.int32s),
                fetch_offset=draw(kio.int64s),
                last_fetched_epoch=draw(kio.int32s),
                log_start_offset=draw(kio.int64s),
                partition_max_bytes=draw(kio.int32s),
                replica_directory_id=draw(st.none() | kio.topic_ids),
                high_watermark=draw(kio.int64s),
            )
            for _ in range(draw(st.integers(0, 3)))
        )
        name, topic_id = draw(kio.texts), draw(kio.topic_ids)
        topics.append(kio.fitting(topic_class, topic=name, topic_id=topic_id, partitions=partitions))
    replica = {}
    if version >= 15:
        state_class = kio.schema_class(schema, "ReplicaState")
        replica["replica_state"] = state_class(replica_id=draw(kio.int32s), replica_epoch=draw(kio.int64s))
    forgotten: list[Any] = []
    if version >= 7:
        forgotten_class = kio.schema_class(schema, "ForgottenTopic")
        for _ in range(draw(st.integers(0, 2))):
            indexes = tuple(draw(st.lists(kio.int32s, max_size=3)))
            name, topic_id = draw(kio.texts), draw(kio.topic_ids)
            forgotten.append(kio.fitting(forgotten_class, topic=name, topic_id=topic_id, partitions=indexes))
    return kio.fitting(
        schema,
        cluster_id=draw(kio.nullable_texts),
        replica_id=draw(kio.int32s),
        max_wait=kio.duration(draw(kio.milliseconds)),
        min_bytes=draw(kio.int32s),
        max_bytes=draw(kio.int32s),
        isolation_level=draw(kio.int8s),
        session_id=draw(kio.int32s),
        session_epoch=draw(kio.int32s),
        topics=tuple(topics),
        forgotten_topics_data=tuple(forgotten),
        rack_id=draw(kio.texts),
        **replica,
    )


def as_request(entity: Any) -> FetchRequest:
    """What an entity says, in our words."""
    return FetchRequest(
        entity.max_wait // datetime.timedelta(milliseconds=1),
        entity.min_bytes,
        entity.max_bytes,
        entity.isolation_level,
        getattr(entity, "session_id", 0),
        getattr(entity, "session_epoch", -1),
        [
            AskedTopic(
                getattr(topic, "topic", None),
                getattr(topic, "topic_id", None),
                [
                    AskedPartition(
                        partition.partition,
                        getattr(partition, "current_leader_epoch", -1),
                        partition.fetch_offset,
                        getattr(partition, "last_fetched_epoch", -1),
                        getattr(partition, "log_start_offset", -1),
                        partition.partition_max_bytes,
                    )
                    for partition in topic.partitions
                ],
            )
            for topic in entity.topics
        ],
        [
            ForgottenTopic(
                getattr(topic, "topic", None), getattr(topic, "topic_id", None), list(topic.partitions)
            )
            for topic in getattr(entity, "forgotten_topics_data", ())
        ],
        getattr(entity, "rack_id", ""),
    )


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_request_decodes_to_what_kio_wrote(version: int, data: st.DataObject) -> None:
    entity = data.draw(request_entities(version))
    assert decode_request(version, memoryview(kio.written(entity))) == as_request(entity)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_request_that_is_cut_short_is_a_protocol_error(version: int, data: st.DataObject) -> None:
    whole = kio.written(data.draw(request_entities(version)))
    size = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(RemoteProtocolError):
        decode_request(version, memoryview(whole[:size]))


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_bytes_are_a_request_or_a_protocol_error(version: int, data: st.DataObject) -> None:
    body = bytearray(kio.written(data.draw(request_entities(version))) + data.draw(st.binary(max_size=10)))
    for _ in range(data.draw(st.integers(0, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RemoteProtocolError):
        decode_request(version, memoryview(body))


LIMITS = bytes.fromhex("00000001 00000001 00000001 00")
SESSION = bytes.fromhex("00000000 ffffffff")


@pytest.mark.parametrize(
    ("version", "body"),
    [
        (18, LIMITS + SESSION + bytes.fromhex("ff ff ff ff 7f")),  # a varint of more than 32 bits
        (18, LIMITS + SESSION + bytes.fromhex("ff ff ff ff 0f")),  # four milliard topics
        (18, LIMITS + SESSION + bytes.fromhex("00 01 01 00")),  # null topics
        (18, LIMITS + SESSION + bytes.fromhex("01 02") + bytes(16) + bytes.fromhex("a1 9c 01")),
        (18, LIMITS + SESSION + bytes.fromhex("01 01 00 00")),  # a null rack
        (18, LIMITS + SESSION + bytes.fromhex("01 01 01 01 00 ff ff 03")),  # a tag behind the end
        (11, bytes(4) + LIMITS + SESSION + bytes.fromhex("7fffffff")),
        (11, bytes(4) + LIMITS + SESSION + bytes.fromhex("ffffffff")),
        (11, bytes(4) + LIMITS + SESSION + bytes.fromhex("00000000 00000000 0002 ffff")),  # no UTF-8
    ],
)
def test_lengths_that_cannot_be_are_protocol_errors(version: int, body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_request(version, memoryview(body))


def test_elements_are_counted_over_the_whole_frame() -> None:
    head = LIMITS + SESSION + b"\x02" + bytes(16)
    partition = bytes(33)
    tail = b"\x00\x01\x01\x00"
    body = head + bytes.fromhex("a0 9c 01") + partition * 19_999 + tail
    assert len(decode_request(18, memoryview(body)).topics[0].partitions) == 19_999
    with pytest.raises(RemoteProtocolError, match="elements"):
        decode_request(18, memoryview(head + bytes.fromhex("a1 9c 01") + partition * 20_000 + tail))


@st.composite
def fetched_topics(draw: st.DrawFn) -> list[FetchedTopic]:
    offsets = st.integers(0, 2**63 - 1)
    topics = []
    for _ in range(draw(st.integers(0, 3))):
        partitions = [
            FetchedPartition(
                draw(kio.int32s),
                draw(st.sampled_from(ErrorCode)),
                draw(kio.int64s),
                draw(kio.int64s),
                draw(kio.int64s),
                [
                    memoryview(part)
                    for part in draw(st.lists(st.binary(min_size=1, max_size=200), max_size=3))
                ],
                draw(st.none() | st.lists(st.tuples(offsets, offsets), max_size=2)),
                draw(kio.int32s),
                draw(st.none() | st.tuples(st.integers(0, 2**31 - 1), offsets)),
                draw(st.none() | st.tuples(st.integers(0, 2**31 - 1), kio.int32s)),
            )
            for _ in range(draw(st.integers(0, 3)))
        ]
        topics.append(FetchedTopic(draw(kio.texts), draw(kio.topic_ids), partitions))
    return topics


def partition_entity(schema: Any, version: int, partition: FetchedPartition) -> Any:
    def nested(name: str, **fields: Any) -> Any:
        return kio.schema_class(schema, name)(**fields)

    tagged = {}
    if version >= 12 and partition.diverging_epoch is not None:
        epoch, end_offset = partition.diverging_epoch
        tagged["diverging_epoch"] = nested("EpochEndOffset", epoch=epoch, end_offset=end_offset)
    if version >= 12 and partition.current_leader is not None:
        leader_id, leader_epoch = partition.current_leader
        tagged["current_leader"] = nested("LeaderIdAndEpoch", leader_id=leader_id, leader_epoch=leader_epoch)
    aborted = partition.aborted_transactions
    return kio.fitting(
        kio.schema_class(schema, "PartitionData"),
        partition_index=partition.index,
        error_code=ErrorCode(partition.error_code),
        high_watermark=partition.high_watermark,
        last_stable_offset=partition.last_stable_offset,
        log_start_offset=partition.log_start_offset,
        aborted_transactions=None
        if aborted is None
        else tuple(
            nested("AbortedTransaction", producer_id=producer_id, first_offset=first_offset)
            for producer_id, first_offset in aborted
        ),
        preferred_read_replica=partition.preferred_read_replica,
        records=kio.records(b"".join(partition.parts)),
        **tagged,
    )


def response_entity(version: int, topics: list[FetchedTopic], **fields: Any) -> Any:
    schema: Any = load_response_schema(i16(1), i16(version))
    responses = tuple(
        kio.fitting(
            kio.schema_class(schema, "FetchableTopicResponse"),
            topic=topic.name,
            topic_id=topic.topic_id,
            partitions=tuple(partition_entity(schema, version, partition) for partition in topic.partitions),
        )
        for topic in topics
    )
    if version >= 16:
        endpoint_class = kio.schema_class(schema, "NodeEndpoint")
        fields["node_endpoints"] = tuple(
            endpoint_class(**node._asdict()) for node in fields["node_endpoints"]
        )
    return kio.fitting(schema, responses=responses, **fields)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=25, deadline=None)
@given(topics=fetched_topics(), data=st.data())
def test_a_response_is_byte_for_byte_what_kio_writes(
    version: int, topics: list[FetchedTopic], data: st.DataObject
) -> None:
    correlation_id, session_id = data.draw(kio.int32s), data.draw(kio.int32s)
    error_code, throttle_ms = data.draw(st.sampled_from(ErrorCode)), data.draw(kio.milliseconds)
    nodes = [NodeEndpoint(1, "host-ü", 9092, None), NodeEndpoint(2, "", -1, "rack")]
    nodes = nodes[: data.draw(st.integers(0, 2))]
    entity = response_entity(
        version,
        topics,
        throttle_time=kio.duration(throttle_ms),
        error_code=error_code,
        session_id=session_id,
        node_endpoints=nodes,
    )
    buffers = encode_response(
        version,
        correlation_id,
        topics,
        error_code=error_code,
        session_id=session_id,
        throttle_ms=throttle_ms,
        node_endpoints=nodes,
    )
    header = kio.response_header(entity, correlation_id)
    encoded = b"".join(buffers)
    assert encoded == header + kio.written(entity)
    assert kio.read(type(entity), encoded[len(header) :]) == entity


@pytest.mark.parametrize("version", VERSIONS)
def test_records_are_passed_on_and_not_copied(version: int) -> None:
    parts = [memoryview(b"first"), memoryview(b"second")]
    empty = FetchedPartition(0)
    full = FetchedPartition(1, parts=parts)
    buffers = encode_response(version, 1, [FetchedTopic("t", None, [empty, full, empty, empty])])
    assert [buffer for buffer in buffers if any(buffer is part for part in parts)] == parts
    assert len(buffers) == 4
