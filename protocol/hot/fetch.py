"""Fetch by hand, versions 4 to 18: requests into plain tuples, responses into buffers around the records.

The records of a response are never copied: they go out as the views that came from the log, between small
buffers with everything else. The decoder needs no guard before it: any bytes end as a request or as
RemoteProtocolError, after work in proportion to at most 100,000 elements. What only followers send (replica
id, replica state, directory ids, their high watermark) and the cluster id are skipped; bytes behind the
request are left alone, as Kafka does.
"""

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple
from uuid import UUID

from protocol.batches import Buffer
from protocol.errors import RemoteProtocolError
from protocol.hot import primitives as wire
from protocol.hot.primitives import NodeEndpoint

_LOG_START_FROM = 5
_SESSION_FROM = 7
_LEADER_EPOCH_FROM = 9
_RACK_FROM = 11
_FLEXIBLE_FROM = 12
_TOPIC_ID_FROM = 13
_NO_REPLICA_ID_FROM = 15
_ENDPOINTS_FROM = 16

_LIMITS = Struct(">iiib")
_SESSION = Struct(">ii")
_INDEX = Struct(">i")

_PARTITION_V4 = Struct(">iqi")
_PARTITION_V5 = Struct(">iqqi")
_PARTITION_V9 = Struct(">iiqqi")
_PARTITION_V12 = Struct(">iiqiqi")


class AskedPartition(NamedTuple):
    """What is asked of one partition. Epochs are -1 where none is given or the version has none."""

    index: int  # type: ignore[assignment]  # Kafka's word, over the method of tuples
    current_leader_epoch: int
    fetch_offset: int
    last_fetched_epoch: int
    log_start_offset: int
    partition_max_bytes: int


class AskedTopic(NamedTuple):
    """A topic by name, or by id from version 13 on: the other one is None."""

    name: str | None
    topic_id: UUID | None
    partitions: list[AskedPartition]


class ForgottenTopic(NamedTuple):
    """Partitions that leave a fetch session, named as in `AskedTopic`."""

    name: str | None
    topic_id: UUID | None
    partitions: list[int]


class FetchRequest(NamedTuple):
    """A decoded request. Below version 7 there are no sessions: id 0, epoch -1."""

    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    isolation_level: int
    session_id: int
    session_epoch: int
    topics: list[AskedTopic]
    forgotten: list[ForgottenTopic]
    rack_id: str


class FetchedPartition(NamedTuple):
    """What one partition gives. The fields a version lacks are left out when it is written.

    parts: whole batches, in order; empty for none.
    aborted_transactions: (producer id, first offset) each; None for null, as readers of uncommitted
        records get.
    diverging_epoch: (epoch, its end offset), from version 12 on.
    current_leader: (node id, leader epoch), from version 12 on.
    """

    index: int  # type: ignore[assignment]  # Kafka's word, over the method of tuples
    error_code: int = 0
    high_watermark: int = -1
    last_stable_offset: int = -1
    log_start_offset: int = -1
    parts: Sequence[Buffer] = ()
    aborted_transactions: Sequence[tuple[int, int]] | None = None
    preferred_read_replica: int = -1
    diverging_epoch: tuple[int, int] | None = None
    current_leader: tuple[int, int] | None = None


class FetchedTopic(NamedTuple):
    """The partitions of one topic, named as the request named it."""

    name: str | None
    topic_id: UUID | None
    partitions: Sequence[FetchedPartition]


def decode_request(version: int, body: memoryview) -> FetchRequest:
    """Decode the body that follows the request header. Raises RemoteProtocolError, nothing else."""
    try:
        return _decode(version, body)
    except wire.MALFORMED as error:
        raise RemoteProtocolError(f"Fetch request: {error}") from error


def _decode(version: int, body: memoryview) -> FetchRequest:
    at = 0 if version >= _NO_REPLICA_ID_FROM else 4
    max_wait_ms, min_bytes, max_bytes, isolation_level = _LIMITS.unpack_from(body, at)
    at += _LIMITS.size
    session_id, session_epoch = 0, -1
    if version >= _SESSION_FROM:
        session_id, session_epoch = _SESSION.unpack_from(body, at)
        at += _SESSION.size
    topics, elements, at = _decode_topics(version, body, at)
    forgotten: list[ForgottenTopic] = []
    if version >= _SESSION_FROM:
        forgotten, elements, at = _decode_forgotten(version, body, at, elements)
    rack_id = ""
    if version >= _FLEXIBLE_FROM:
        rack_id, at = wire.read_compact_string(body, at)
        wire.skip_tags(body, at, elements)
    elif version >= _RACK_FROM:
        rack_id, at = wire.read_string(body, at)
    return FetchRequest(
        max_wait_ms,
        min_bytes,
        max_bytes,
        isolation_level,
        session_id,
        session_epoch,
        topics,
        forgotten,
        rack_id,
    )


def _decode_topics(version: int, body: memoryview, at: int) -> tuple[list[AskedTopic], int, int]:
    flexible = version >= _FLEXIBLE_FROM
    read_count = wire.read_compact_count if flexible else wire.read_count
    topic_count, elements, at = read_count(body, at, 0)
    topics = []
    for _ in range(topic_count):
        name, topic_id, at = _decode_topic_name(version, body, at)
        partition_count, elements, at = read_count(body, at, elements)
        partitions = []
        for _ in range(partition_count):
            if flexible:
                partitions.append(AskedPartition._make(_PARTITION_V12.unpack_from(body, at)))
                at += _PARTITION_V12.size
                if body[at]:
                    elements, at = wire.skip_tags(body, at, elements)
                else:
                    at += 1
            else:
                partition, at = _decode_partition(version, body, at)
                partitions.append(partition)
        if flexible:
            elements, at = wire.skip_tags(body, at, elements)
        topics.append(AskedTopic(name, topic_id, partitions))
    return topics, elements, at


def _decode_partition(version: int, body: memoryview, at: int) -> tuple[AskedPartition, int]:
    """Versions 4 to 11."""
    leader_epoch = start = -1
    if version >= _LEADER_EPOCH_FROM:
        index, leader_epoch, offset, start, bytes_max = _PARTITION_V9.unpack_from(body, at)
        at += _PARTITION_V9.size
    elif version >= _LOG_START_FROM:
        index, offset, start, bytes_max = _PARTITION_V5.unpack_from(body, at)
        at += _PARTITION_V5.size
    else:
        index, offset, bytes_max = _PARTITION_V4.unpack_from(body, at)
        at += _PARTITION_V4.size
    return AskedPartition(index, leader_epoch, offset, -1, start, bytes_max), at


def _decode_topic_name(version: int, body: memoryview, at: int) -> tuple[str | None, UUID | None, int]:
    name: str | None = None
    topic_id: UUID | None = None
    if version >= _TOPIC_ID_FROM:
        topic_id, at = wire.read_uuid(body, at)
    elif version >= _FLEXIBLE_FROM:
        name, at = wire.read_compact_string(body, at)
    else:
        name, at = wire.read_string(body, at)
    return name, topic_id, at


def _decode_forgotten(
    version: int, body: memoryview, at: int, elements: int
) -> tuple[list[ForgottenTopic], int, int]:
    flexible = version >= _FLEXIBLE_FROM
    read_count = wire.read_compact_count if flexible else wire.read_count
    topic_count, elements, at = read_count(body, at, elements)
    forgotten = []
    for _ in range(topic_count):
        name, topic_id, at = _decode_topic_name(version, body, at)
        partition_count, elements, at = read_count(body, at, elements)
        end = at + 4 * partition_count
        if end > len(body):
            raise RemoteProtocolError(f"{partition_count} partitions where {len(body) - at} bytes are left")
        partitions = [index for (index,) in _INDEX.iter_unpack(body[at:end])]
        at = end
        if flexible:
            elements, at = wire.skip_tags(body, at, elements)
        forgotten.append(ForgottenTopic(name, topic_id, partitions))
    return forgotten, elements, at


_HEADER_V4 = Struct(">ii")
_HEADER_V7 = Struct(">iihi")
_HEADER_V12 = Struct(">iBihi")

_FETCHED_V4 = Struct(">ihqq")
_FETCHED_V5 = Struct(">ihqqq")
_FETCHED_V12_PLAIN = Struct(">ihqqqBi")

_NULL_ARRAY = b"\xff\xff\xff\xff"
_ABORTED = Struct(">qq")
_ABORTED_FLEXIBLE = Struct(">qqB")
_DIVERGING_EPOCH = Struct(">iqB")
_LEADER = Struct(">iiB")


def encode_response(
    version: int,
    correlation_id: int,
    topics: Sequence[FetchedTopic],
    *,
    error_code: int = 0,
    session_id: int = 0,
    throttle_ms: int = 0,
    node_endpoints: Sequence[NodeEndpoint] = (),
) -> list[Buffer]:
    """Encode response header and body as buffers to be sent in order; parts are passed on, not copied.

    A partition with records costs one buffer besides its parts. `node_endpoints` are written from version 16
    on. Topics need their name below version 13, and their id from there on.
    """
    if version >= _FLEXIBLE_FROM:
        head = bytearray(_HEADER_V12.pack(correlation_id, 0, throttle_ms, error_code, session_id))
        endpoints = node_endpoints if version >= _ENDPOINTS_FROM else ()
        return _encode_flexible(version, head, topics, wire.endpoints_tags(endpoints))
    if version >= _SESSION_FROM:
        head = bytearray(_HEADER_V7.pack(correlation_id, throttle_ms, error_code, session_id))
    else:
        head = bytearray(_HEADER_V4.pack(correlation_id, throttle_ms))
    return _encode_fixed(version, head, topics)


def _encode_flexible(
    version: int, head: bytearray, topics: Sequence[FetchedTopic], tail: bytes
) -> list[Buffer]:
    """Versions from 12 on: the topics behind `head`, and `tail` behind them."""
    buffers: list[Buffer] = []
    head += wire.uvarint(len(topics) + 1)
    for name, topic_id, partitions in topics:
        if version >= _TOPIC_ID_FROM:
            head += wire.topic_id_bytes(topic_id)
        else:
            assert name is not None
            head += wire.compact_string(name)
        head += wire.uvarint(len(partitions) + 1)
        for index, code, high, stable, start, parts, aborted, replica, diverging, leader in partitions:
            if aborted is None:
                head += _FETCHED_V12_PLAIN.pack(index, code, high, stable, start, 0, replica)
            else:
                head += _FETCHED_V5.pack(index, code, high, stable, start)
                head += wire.uvarint(len(aborted) + 1)
                head += b"".join([_ABORTED_FLEXIBLE.pack(*transaction, 0) for transaction in aborted])
                head += _INDEX.pack(replica)
            if parts:
                head += wire.uvarint((len(parts[0]) if len(parts) == 1 else sum(map(len, parts))) + 1)
                buffers.append(head)
                buffers += parts
                head = bytearray()
            else:
                head += b"\x01"
            head += b"\x00" if diverging is None and leader is None else _partition_tags(diverging, leader)
        head += b"\x00"
    head += tail
    buffers.append(head)
    return buffers


def _encode_fixed(version: int, head: bytearray, topics: Sequence[FetchedTopic]) -> list[Buffer]:
    """Versions 4 to 11: the topics behind `head`."""
    buffers: list[Buffer] = []
    head += _INDEX.pack(len(topics))
    for name, _topic_id, partitions in topics:
        assert name is not None
        head += wire.string(name)
        head += _INDEX.pack(len(partitions))
        for index, code, high, stable, start, parts, aborted, replica, _, _ in partitions:
            if version >= _LOG_START_FROM:
                head += _FETCHED_V5.pack(index, code, high, stable, start)
            else:
                head += _FETCHED_V4.pack(index, code, high, stable)
            if aborted is None:
                head += _NULL_ARRAY
            else:
                head += _INDEX.pack(len(aborted))
                head += b"".join([_ABORTED.pack(*transaction) for transaction in aborted])
            if version >= _RACK_FROM:
                head += _INDEX.pack(replica)
            head += _INDEX.pack(sum(map(len, parts)))
            if parts:
                buffers.append(head)
                buffers += parts
                head = bytearray()
    if head:
        buffers.append(head)
    return buffers


def _partition_tags(diverging: tuple[int, int] | None, leader: tuple[int, int] | None) -> bytes:
    """The tagged fields behind a partition's records."""
    fields = []
    if diverging is not None:
        fields.append((0, _DIVERGING_EPOCH.pack(*diverging, 0)))
    if leader is not None:
        fields.append((1, _LEADER.pack(*leader, 0)))
    return wire.tags(fields)
