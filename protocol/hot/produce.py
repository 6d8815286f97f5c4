"""Produce by hand, versions 3 to 13: requests into views of their frame, responses out of plain tuples.

The records of a decoded request are memoryviews of the body that was given, so they are as writable as it is,
and live as long as they do. The decoder needs no guard before it: any bytes end as a request or as
RemoteProtocolError, after work in proportion to at most 100,000 elements. Bytes behind the request are left
alone, as Kafka does.
"""

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple
from uuid import UUID

from protocol.errors import RemoteProtocolError
from protocol.hot import primitives as wire
from protocol.hot.primitives import NodeEndpoint

_FLEXIBLE_FROM = 9
_TOPIC_ID_FROM = 13
_LEADERS_FROM = 10

_SETTINGS = Struct(">hi")
_INDEX = Struct(">i")
_INDEX_AND_LENGTH = Struct(">ii")


class ProducedPartition(NamedTuple):
    """What a producer sends to one partition. `records` is None where it sent null."""

    index: int  # type: ignore[assignment]  # Kafka's word, over the method of tuples
    records: memoryview | None


class ProducedTopic(NamedTuple):
    """A topic by name, or by id from version 13 on: the other one is None."""

    name: str | None
    topic_id: UUID | None
    partitions: list[ProducedPartition]


class ProduceRequest(NamedTuple):
    """A decoded request. `acks` is as sent: any int16."""

    transactional_id: str | None
    acks: int
    timeout_ms: int
    topics: list[ProducedTopic]


class PartitionResult(NamedTuple):
    """How one partition fared. The fields a version lacks are left out when it is written.

    current_leader: (node id, leader epoch), from version 10 on, with errors that send the producer elsewhere.
    """

    index: int  # type: ignore[assignment]  # Kafka's word, over the method of tuples
    error_code: int = 0
    base_offset: int = -1
    log_append_time_ms: int = -1
    log_start_offset: int = -1
    error_message: str | None = None
    current_leader: tuple[int, int] | None = None


class TopicResult(NamedTuple):
    """The partitions of one topic, named as the request named it."""

    name: str | None
    topic_id: UUID | None
    partitions: Sequence[PartitionResult]


def decode_request(version: int, body: memoryview) -> ProduceRequest:
    """Decode the body that follows the request header. Raises RemoteProtocolError, nothing else."""
    try:
        if version < _FLEXIBLE_FROM:
            return _decode_fixed(body)
        return _decode_flexible(body, by_id=version >= _TOPIC_ID_FROM)
    except wire.MALFORMED as error:
        raise RemoteProtocolError(f"Produce request: {error}") from error


def _decode_fixed(body: memoryview) -> ProduceRequest:
    """Versions 3 to 8."""
    size = len(body)
    transactional_id, at = wire.read_nullable_string(body, 0)
    acks, timeout_ms = _SETTINGS.unpack_from(body, at)
    topic_count, elements, at = wire.read_count(body, at + _SETTINGS.size, 0)
    topics = []
    for _ in range(topic_count):
        name, at = wire.read_string(body, at)
        partition_count, elements, at = wire.read_count(body, at, elements)
        partitions = []
        for _ in range(partition_count):
            index, length = _INDEX_AND_LENGTH.unpack_from(body, at)
            at += 8
            records = None
            if length != -1:
                end = at + length
                if length < 0 or end > size:
                    raise RemoteProtocolError(f"records of {length} bytes where {size - at} are left")
                records = body[at:end]
                at = end
            partitions.append(ProducedPartition(index, records))
        topics.append(ProducedTopic(name, None, partitions))
    return ProduceRequest(transactional_id, acks, timeout_ms, topics)


def _decode_flexible(body: memoryview, *, by_id: bool) -> ProduceRequest:
    """Versions from 9 on."""
    size = len(body)
    transactional_id, at = wire.read_compact_nullable_string(body, 0)
    acks, timeout_ms = _SETTINGS.unpack_from(body, at)
    topic_count, elements, at = wire.read_compact_count(body, at + _SETTINGS.size, 0)
    topics = []
    name: str | None = None
    topic_id: UUID | None = None
    for _ in range(topic_count):
        if by_id:
            topic_id, at = wire.read_uuid(body, at)
        else:
            name, at = wire.read_compact_string(body, at)
        partition_count, elements, at = wire.read_compact_count(body, at, elements)
        partitions = []
        for _ in range(partition_count):
            (index,) = _INDEX.unpack_from(body, at)
            length, at = wire.read_uvarint(body, at + 4)
            records = None
            if length:
                end = at + length - 1
                if end > size:
                    raise RemoteProtocolError(f"records of {length - 1} bytes where {size - at} are left")
                records = body[at:end]
                at = end
            if body[at]:
                elements, at = wire.skip_tags(body, at, elements)
            else:
                at += 1
            partitions.append(ProducedPartition(index, records))
        elements, at = wire.skip_tags(body, at, elements)
        topics.append(ProducedTopic(name, topic_id, partitions))
    wire.skip_tags(body, at, elements)
    return ProduceRequest(transactional_id, acks, timeout_ms, topics)


_RESULT = Struct(">ihqq")
_RESULT_WITH_START = Struct(">ihqqq")
_RESULT_WITH_NO_ERRORS = Struct(">ihqqqi")
_RESULT_FLEXIBLE = Struct(">ihqqqB")
_RESULT_PLAIN = Struct(">ihqqqBBB")
_LEADER = Struct(">iiB")
_HEADER_AND_COUNT = Struct(">ii")
_FLEXIBLE_HEADER = Struct(">iB")
_THROTTLE = Struct(">i")


def encode_response(
    version: int,
    correlation_id: int,
    topics: Sequence[TopicResult],
    throttle_ms: int = 0,
    node_endpoints: Sequence[NodeEndpoint] = (),
) -> bytes:
    """Encode response header and body. `node_endpoints` are written from version 10 on.

    Topics need their name below version 13, and their id from there on. There are never record errors in it.
    """
    if version < _FLEXIBLE_FROM:
        return _encode_fixed(version, correlation_id, topics, throttle_ms)
    out = bytearray(_FLEXIBLE_HEADER.pack(correlation_id, 0))
    out += wire.uvarint(len(topics) + 1)
    with_leaders = version >= _LEADERS_FROM
    for name, topic_id, partitions in topics:
        if version >= _TOPIC_ID_FROM:
            out += wire.topic_id_bytes(topic_id)
        else:
            assert name is not None
            out += wire.compact_string(name)
        out += wire.uvarint(len(partitions) + 1)
        for index, code, base_offset, time_ms, start_offset, message, leader in partitions:
            if message is None and (leader is None or not with_leaders):
                out += _RESULT_PLAIN.pack(index, code, base_offset, time_ms, start_offset, 1, 0, 0)
                continue
            out += _RESULT_FLEXIBLE.pack(index, code, base_offset, time_ms, start_offset, 1)
            out += wire.compact_nullable_string(message)
            has_leader = leader is not None and with_leaders
            out += wire.tags([(0, _LEADER.pack(*leader, 0))] if leader and has_leader else [])
        out += b"\x00"
    out += _THROTTLE.pack(throttle_ms)
    out += wire.endpoints_tags(node_endpoints if with_leaders else ())
    return bytes(out)


def _encode_fixed(
    version: int, correlation_id: int, topics: Sequence[TopicResult], throttle_ms: int
) -> bytes:
    """Versions 3 to 8."""
    out = bytearray(_HEADER_AND_COUNT.pack(correlation_id, len(topics)))
    for name, _topic_id, partitions in topics:
        assert name is not None
        out += wire.string(name)
        out += _INDEX.pack(len(partitions))
        for index, code, base_offset, time_ms, start_offset, message, _leader in partitions:
            if version >= 8:
                out += _RESULT_WITH_NO_ERRORS.pack(index, code, base_offset, time_ms, start_offset, 0)
                out += wire.nullable_string(message)
            elif version >= 5:
                out += _RESULT_WITH_START.pack(index, code, base_offset, time_ms, start_offset)
            else:
                out += _RESULT.pack(index, code, base_offset, time_ms)
    out += _THROTTLE.pack(throttle_ms)
    return bytes(out)
