"""OffsetCommit: a group's offsets made durable, those that can be in one entry of the log.

A partition that does not exist, or a note that is too long, harms no other partition; what is wrong with the
group or the member, is said of each.
"""

from collections.abc import Mapping
from typing import Any

from gateway.context import Context
from gateway.dispatch import Call
from gateway.errors import ErrorCode, Refused
from gateway.groups.member import Identity
from gateway.groups.records import Committed, PlaceId
from gateway.lookup import find

NO_LEADER_EPOCH = -1


async def handle(call: Call, context: Context) -> Mapping[str, object]:
    """Answer for each partition when its offset is durable."""
    body = call.body
    offsets: dict[PlaceId, Committed] = {}
    answers: list[tuple[Any, list[tuple[int, ErrorCode]]]] = []
    for topic in body.topics:
        rows = []
        for asked in topic.partitions:
            code = ErrorCode.none
            try:
                place, committed = _checked(topic, asked, context)
                offsets[place] = committed
            except Refused as refusal:
                code = refusal.code
            rows.append((asked.partition_index, code))
        answers.append((topic, rows))
    failure = await _commit(body, offsets, context) if offsets else ErrorCode.none
    return {
        "topics": [
            {
                "name": getattr(topic, "name", ""),
                "topic_id": getattr(topic, "topic_id", None),
                "partitions": [
                    {"partition_index": index, "error_code": failure if code == ErrorCode.none else code}
                    for index, code in rows
                ],
            }
            for topic, rows in answers
        ]
    }


def _checked(topic: Any, asked: Any, context: Context) -> tuple[PlaceId, Committed]:
    """What is to be committed for one partition. Raises Refused."""
    name, topic_id = getattr(topic, "name", None), getattr(topic, "topic_id", None)
    partition = find(context.catalog, name, topic_id, asked.partition_index)
    metadata = asked.committed_metadata or ""
    bytes_max = context.settings.offset_metadata_bytes_max
    if len(metadata) > bytes_max or len(metadata.encode()) > bytes_max:
        raise Refused(
            ErrorCode.offset_metadata_too_large, f"a note beside an offset has at most {bytes_max} bytes"
        )
    epoch = getattr(asked, "committed_leader_epoch", NO_LEADER_EPOCH)
    return PlaceId(partition.topic_id, partition.index), Committed(asked.committed_offset, epoch, metadata)


async def _commit(body: Any, offsets: Mapping[PlaceId, Committed], context: Context) -> ErrorCode:
    who = Identity(body.member_id, getattr(body, "group_instance_id", None))
    try:
        await context.groups.commit(body.group_id, who, body.generation_id_or_member_epoch, offsets)
    except Refused as refusal:
        return refusal.code
    return ErrorCode.none
