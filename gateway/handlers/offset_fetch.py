"""OffsetFetch: a group's durable offsets, those asked for or all.

A partition without an offset, and by name also one that does not exist, has the offset -1 and no error. A
topic that was deleted took its offsets along, even if there is another one of its name. No offset is ever
pending, since there are no transactions yet, so stable offsets are all there are.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from gateway.context import Context
from gateway.dispatch import Call
from gateway.errors import ErrorCode, Refused
from gateway.groups.records import PlaceId, TimedCommit

BATCHED_FROM = 8
"""From this version on a request names several groups."""
GROUP_ERROR_FROM = 2
"""Before this version an error of the group stands at each partition."""
TOPIC_IDS_FROM = 10

Offsets = Mapping[PlaceId, TimedCommit]
NO_OFFSET = -1
NO_LEADER_EPOCH = -1


async def handle(call: Call, context: Context) -> Mapping[str, object]:
    """Answer for the group, or for each of the groups in order."""
    version, body = call.header.version, call.body
    if version < BATCHED_FROM:
        return await _group(version, body, context)
    return {
        "groups": [
            {"group_id": asked.group_id, **await _group(version, asked, context)} for asked in body.groups
        ]
    }


async def _group(version: int, asked: Any, context: Context) -> Mapping[str, object]:
    by_id = version >= TOPIC_IDS_FROM
    try:
        offsets = await context.groups.offsets(asked.group_id)
    except Refused as refusal:
        code = _code(refusal.code)
        if version >= GROUP_ERROR_FROM:
            return {"error_code": code, "topics": []}
        return {
            "topics": [
                {"name": one.name, "partitions": [_row(index, None, code) for index in one.partition_indexes]}
                for one in asked.topics
            ]
        }
    if asked.topics is None:
        topics = _all(offsets, by_id, context)
    else:
        topics = [_topic(one, offsets, by_id, context) for one in asked.topics]
    return {"error_code": ErrorCode.none, "topics": topics}


def _code(code: ErrorCode) -> ErrorCode:
    """COORDINATOR_NOT_AVAILABLE is no answer to an OffsetFetch for most clients; to ask again is."""
    if code == ErrorCode.coordinator_not_available:
        return ErrorCode.coordinator_load_in_progress
    return code


def _topic(asked: Any, offsets: Offsets, by_id: bool, context: Context) -> Mapping[str, object]:
    """The partitions asked for of one topic."""
    if by_id:
        topic = context.catalog.topic_by_id(asked.topic_id) if asked.topic_id is not None else None
        missing = ErrorCode.unknown_topic_id
    else:
        topic = context.catalog.topic(asked.name)
        missing = ErrorCode.none
    rows = []
    for index in asked.partition_indexes:
        commit = offsets.get(PlaceId(topic.id, index)) if topic is not None else None
        rows.append(_row(index, commit, ErrorCode.none if topic is not None else missing))
    named = {"topic_id": asked.topic_id} if by_id else {"name": asked.name}
    return {**named, "partitions": rows}


def _all(offsets: Offsets, by_id: bool, context: Context) -> list[Mapping[str, object]]:
    """All offsets of topics that exist."""
    found: dict[UUID, list[tuple[int, TimedCommit]]] = {}
    for place, commit in offsets.items():
        found.setdefault(place.topic_id, []).append((place.partition, commit))
    answers: list[Mapping[str, object]] = []
    for topic_id, commits in found.items():
        topic = context.catalog.topic_by_id(topic_id)
        if topic is not None:
            named = {"topic_id": topic_id} if by_id else {"name": topic.name}
            rows = [_row(index, commit, ErrorCode.none) for index, commit in sorted(commits)]
            answers.append({**named, "partitions": rows})
    return answers


def _row(index: int, commit: TimedCommit | None, code: ErrorCode) -> Mapping[str, object]:
    committed = commit.committed if commit is not None else None
    return {
        "partition_index": index,
        "committed_offset": committed.offset if committed else NO_OFFSET,
        "committed_leader_epoch": committed.leader_epoch if committed else NO_LEADER_EPOCH,
        "metadata": committed.metadata if committed else "",
        "error_code": code,
    }
