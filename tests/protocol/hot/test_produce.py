"""Produce by hand equals Produce by kio, and any bytes end as a request or as a protocol error."""

import datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.index import load_request_schema, load_response_schema
from kio.schema.errors import ErrorCode
from kio.static.primitive import i16

from protocol.errors import RemoteProtocolError
from protocol.hot.primitives import NodeEndpoint
from protocol.hot.produce import PartitionResult, TopicResult, decode_request, encode_response
from tests.protocol.hot import kio_trees as kio

VERSIONS = range(3, 14)
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@st.composite
def request_entities(draw: st.DrawFn, version: int) -> Any:
    """Requests as kio has them."""
    schema: Any = load_request_schema(i16(0), i16(version))
    topic_class = kio.schema_class(schema, "TopicProduceData")
    partition_class = kio.schema_class(schema, "PartitionProduceData")
    topics = []
    for _ in range(draw(st.integers(0, 3))):
        partitions = tuple(
            partition_class(index=draw(kio.int32s), records=kio.records(draw(kio.nullable_blobs)))
            for _ in range(draw(st.integers(0, 3)))
        )
        name, topic_id = draw(kio.texts), draw(kio.topic_ids)
        topics.append(kio.fitting(topic_class, name=name, topic_id=topic_id, partition_data=partitions))
    return schema(
        transactional_id=draw(kio.nullable_texts),
        acks=draw(kio.int16s),
        timeout=kio.duration(draw(kio.milliseconds)),
        topic_data=tuple(topics),
    )


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_request_decodes_to_what_kio_wrote(version: int, data: st.DataObject) -> None:
    entity = data.draw(request_entities(version))
    request = decode_request(version, memoryview(kio.written(entity)))
    assert request.transactional_id == entity.transactional_id
    assert request.acks == entity.acks
    assert datetime.timedelta(milliseconds=request.timeout_ms) == entity.timeout
    assert [
        (topic.name, topic.topic_id, [(partition.index, partition.records) for partition in topic.partitions])
        for topic in request.topics
    ] == [
        (
            getattr(topic, "name", None),
            getattr(topic, "topic_id", None),
            [(partition.index, partition.records) for partition in topic.partition_data],
        )
        for topic in entity.topic_data
    ]


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
    try:
        request = decode_request(version, memoryview(body))
    except RemoteProtocolError:
        return
    held = sum(len(p.records or b"") for topic in request.topics for p in topic.partitions)
    assert held <= len(body)


def test_records_are_views_of_the_frame_and_as_writable() -> None:
    schema: Any = load_request_schema(i16(0), i16(12))
    partition = kio.schema_class(schema, "PartitionProduceData")(index=5, records=kio.records(b"abc"))
    topic = kio.schema_class(schema, "TopicProduceData")(name="t", partition_data=(partition,))
    frame = bytearray(
        kio.written(schema(transactional_id=None, acks=-1, timeout=kio.duration(1), topic_data=(topic,)))
    )
    records = decode_request(12, memoryview(frame)).topics[0].partitions[0].records
    assert records is not None
    records[:] = b"xyz"
    assert b"xyz" in frame
    records = decode_request(12, memoryview(bytes(frame))).topics[0].partitions[0].records
    assert records is not None
    assert records.readonly
    assert bytes(records) == b"xyz"


HEAD = bytes.fromhex("00 ffff 00000001")  # no transactional id, acks -1, one millisecond; flexible versions


@pytest.mark.parametrize(
    ("version", "body"),
    [
        (9, HEAD + bytes.fromhex("ff ff ff ff 0f")),  # four milliard topics
        (9, HEAD + bytes.fromhex("ff ff ff ff 7f")),  # a varint of more than 32 bits
        (9, HEAD + bytes.fromhex("00 00")),  # null topics
        (9, HEAD + bytes.fromhex("02 00 01 00 00")),  # a null name
        (9, HEAD + bytes.fromhex("02 02 ff 01 00 00")),  # a name that is no UTF-8
        (9, HEAD + bytes.fromhex("02 02 74 00 00 00")),  # null partitions
        (9, HEAD + bytes.fromhex("02 02 74 02 00000000 06 00 00 00 00")),  # records behind the end
        (9, HEAD + bytes.fromhex("01 01 00 05")),  # a tagged field behind the end
        (9, HEAD + bytes.fromhex("01 ff ff ff ff 0f")),  # four milliard tagged fields
        (13, HEAD + bytes.fromhex("02 0102030405060708")),  # half an id
        (3, bytes.fromhex("ffff ffff 00000001 ffffffff")),  # -1 topics
        (3, bytes.fromhex("ffff ffff 00000001 7fffffff")),
        (3, bytes.fromhex("fffe ffff 00000001 00000000")),  # a length of -2
        (3, bytes.fromhex("ffff ffff 00000001 00000001 ffff")),  # a null name
        (3, bytes.fromhex("ffff ffff 00000001 00000001 0001 74 00000001 00000000 fffffffe")),
    ],
)
def test_lengths_that_cannot_be_are_protocol_errors(version: int, body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_request(version, memoryview(body))


def test_elements_are_counted_over_the_whole_frame() -> None:
    topic = bytes.fromhex("02 74 01 00")  # no partitions
    many = HEAD + bytes.fromhex("a1 9c 01") + topic * 20_000 + b"\x00"
    assert len(decode_request(9, memoryview(many)).topics) == 20_000
    with pytest.raises(RemoteProtocolError, match="elements"):
        decode_request(9, memoryview(HEAD + bytes.fromhex("a2 9c 01") + topic * 20_001 + b"\x00"))
    tagged = HEAD + bytes.fromhex("a1 9c 01") + topic * 20_000 + b"\x01\x00\x00"
    with pytest.raises(RemoteProtocolError, match="elements"):
        decode_request(9, memoryview(tagged))


def test_unknown_tagged_fields_are_skipped() -> None:
    tags = bytes.fromhex("02 05 03 616263 80 01 00")  # tag 5 with three bytes, tag 128 with none
    partition = bytes.fromhex("00000007 03 6869")
    body = HEAD + bytes.fromhex("02 02 74 02") + partition + tags + tags + tags
    request = decode_request(11, memoryview(body))
    (partition_asked,) = request.topics[0].partitions
    assert (partition_asked.index, bytes(partition_asked.records or b"")) == (7, b"hi")


@st.composite
def responses(draw: st.DrawFn) -> tuple[list[TopicResult], int, list[NodeEndpoint]]:
    pairs = st.none() | st.tuples(st.integers(0, 2**31 - 1), kio.int32s)
    topics = []
    for _ in range(draw(st.integers(0, 3))):
        partitions = [
            PartitionResult(
                draw(kio.int32s),
                draw(st.sampled_from(ErrorCode)),
                draw(kio.int64s),
                draw(st.just(-1) | st.integers(0, 2**41)),
                draw(kio.int64s),
                draw(kio.nullable_texts),
                draw(pairs),
            )
            for _ in range(draw(st.integers(0, 3)))
        ]
        topics.append(TopicResult(draw(kio.texts), draw(kio.topic_ids), partitions))
    nodes = [NodeEndpoint(draw(kio.int32s), draw(kio.texts), draw(kio.int32s), draw(kio.nullable_texts))]
    return topics, draw(kio.milliseconds), nodes * draw(st.integers(0, 2))


def response_entity(version: int, topics: list[TopicResult], throttle: int, nodes: list[NodeEndpoint]) -> Any:
    schema: Any = load_response_schema(i16(0), i16(version))
    topic_class = kio.schema_class(schema, "TopicProduceResponse")
    partition_class = kio.schema_class(schema, "PartitionProduceResponse")

    def partition_entity(partition: PartitionResult) -> Any:
        time = partition.log_append_time_ms
        leader = {}
        if version >= 10 and partition.current_leader is not None:
            leader_id, leader_epoch = partition.current_leader
            leader_class = kio.schema_class(schema, "LeaderIdAndEpoch")
            leader = {"current_leader": leader_class(leader_id=leader_id, leader_epoch=leader_epoch)}
        return kio.fitting(
            partition_class,
            index=partition.index,
            error_code=ErrorCode(partition.error_code),
            base_offset=partition.base_offset,
            log_append_time=None if time == -1 else EPOCH + datetime.timedelta(milliseconds=time),
            log_start_offset=partition.log_start_offset,
            record_errors=(),
            error_message=partition.error_message,
            **leader,
        )

    responses = tuple(
        kio.fitting(
            topic_class,
            name=topic.name,
            topic_id=topic.topic_id,
            partition_responses=tuple(map(partition_entity, topic.partitions)),
        )
        for topic in topics
    )
    endpoints = ()
    if version >= 10:
        endpoint_class = kio.schema_class(schema, "NodeEndpoint")
        endpoints = tuple(endpoint_class(**node._asdict()) for node in nodes)
    return kio.fitting(
        schema, responses=responses, throttle_time=kio.duration(throttle), node_endpoints=endpoints
    )


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=25, deadline=None)
@given(response=responses(), correlation_id=kio.int32s)
def test_a_response_is_byte_for_byte_what_kio_writes(
    version: int, response: tuple[list[TopicResult], int, list[NodeEndpoint]], correlation_id: int
) -> None:
    topics, throttle, nodes = response
    entity = response_entity(version, topics, throttle, nodes)
    header = kio.response_header(entity, correlation_id)
    encoded = encode_response(version, correlation_id, topics, throttle, nodes)
    assert encoded == header + kio.written(entity)
    assert kio.read(type(entity), encoded[len(header) :]) == entity


def test_a_topic_without_an_id_is_written_with_zeros() -> None:
    encoded = encode_response(13, 1, [TopicResult(None, None, [])])
    assert encoded == encode_response(13, 1, [TopicResult(None, UUID(int=0), [])])
