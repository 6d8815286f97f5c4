"""DescribeTopicPartitions: topics in order of name, a page at a time, with a cursor for the next page."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from gateway.catalog import Topic, check_name
from gateway.context import Context
from gateway.dispatch import Call
from gateway.errors import ErrorCode, Refused
from gateway.leadership import Leaders

PARTITIONS_MAX = 2_000
"""Most partitions of one answer, whatever the client asks."""


async def handle(call: Call, context: Context) -> Mapping[str, object]:
    """Describe the topics asked for, or all of them, from the cursor on."""
    body = call.body
    cursor = body.cursor
    if cursor is not None and cursor.partition_index < 0:
        names = dict.fromkeys([cursor.topic_name, *(topic.name for topic in body.topics)])
        return {"throttle_time": 0, "topics": [_without(ErrorCode.invalid_request, name) for name in names]}
    room = min(max(body.response_partition_limit, 1), PARTITIONS_MAX)
    leaders = Leaders(context.logs)
    topics: list[Mapping[str, object]] = []
    for name, topic in _asked(body, context):
        if topic is None:
            topics.append(_unknown(name))
            continue
        first = cursor.partition_index if cursor is not None and cursor.topic_name == name else 0
        if first >= topic.partitions:
            continue
        if not room:
            return _page(topics, {"topic_name": name, "partition_index": first})
        rows = min(room, topic.partitions - first)
        topics.append(_described(topic, first, rows, leaders))
        room -= rows
        if first + rows < topic.partitions:
            return _page(topics, {"topic_name": name, "partition_index": first + rows})
    return _page(topics, None)


def _asked(body: Any, context: Context) -> Iterator[tuple[str, Topic | None]]:
    """The topics from the cursor on in order of name; None for one that was named and is not there."""
    start = body.cursor.topic_name if body.cursor is not None else ""
    if body.topics:
        names = sorted({topic.name for topic in body.topics})
        return ((name, context.catalog.topic(name)) for name in names if name >= start)
    topics = context.catalog.topics()
    at = bisect_left(topics, start, key=lambda topic: topic.name)
    return ((topic.name, topic) for topic in islice(topics, at, None))


def _page(topics: list[Mapping[str, object]], cursor: Mapping[str, object] | None) -> Mapping[str, object]:
    return {"throttle_time": 0, "topics": topics, "next_cursor": cursor}


def _unknown(name: str) -> Mapping[str, object]:
    try:
        check_name(name)
    except Refused as refusal:
        return _without(refusal.code, name)
    return _without(ErrorCode.unknown_topic_or_partition, name)


def _without(code: ErrorCode, name: str) -> Mapping[str, object]:
    return {"error_code": code, "name": name, "topic_id": None, "is_internal": False, "partitions": []}


def _described(topic: Topic, first: int, count: int, leaders: Leaders) -> Mapping[str, object]:
    """A topic with `count` partitions from `first` on."""
    partitions = []
    for index, (log_id, epoch_base) in enumerate(islice(topic.places.each(), first, first + count), first):
        leader, epoch = leaders.of(log_id).over(epoch_base)
        replicas = [leader] if leader >= 0 else []
        partitions.append(
            {
                "error_code": ErrorCode.none if replicas else ErrorCode.leader_not_available,
                "partition_index": index,
                "leader_id": leader,
                "leader_epoch": epoch,
                "replica_nodes": replicas,
                "isr_nodes": replicas,
                "eligible_leader_replicas": [],
                "last_known_elr": [],
                "offline_replicas": [],
            }
        )
    return {
        "error_code": ErrorCode.none,
        "name": topic.name,
        "topic_id": topic.id,
        "is_internal": topic.internal,
        "partitions": partitions,
    }
