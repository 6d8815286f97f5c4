"""DeleteTopics: by name, and from version 6 on by id.

A deleted topic is gone when the answer comes; its data follows.
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from gateway.context import Context
from gateway.dispatch import Call
from gateway.errors import ErrorCode, Refused
from gateway.handlers.outcome import DONE, outcome
from wal.errors import WalError


class _Asked(NamedTuple):
    """One topic to delete: a name, or an id."""

    name: str | None
    topic_id: UUID | None


async def handle(call: Call, context: Context) -> Mapping[str, object]:
    """Delete the topics one after the other; one that cannot be deleted harms no other."""
    topics = getattr(call.body, "topics", None)
    if topics is None:
        asked = [_Asked(name, None) for name in call.body.topic_names]
    else:
        asked = [_Asked(topic.name, topic.topic_id) for topic in topics]
    counts = Counter(asked)
    return {"throttle_time": 0, "responses": [await _answer(one, counts[one], context) for one in counts]}


async def _answer(asked: _Asked, count: int, context: Context) -> Mapping[str, object]:
    result, name, topic_id = DONE, asked.name, asked.topic_id
    try:
        if count > 1:
            raise Refused(ErrorCode.invalid_request, "the request names this topic more than once")
        if (name is None) == (topic_id is None):
            raise Refused(ErrorCode.invalid_request, "name the topic either by its name or by its id")
        if topic_id is not None:
            topic = context.catalog.topic_by_id(topic_id)
            if topic is None:
                raise Refused(ErrorCode.unknown_topic_id, f"no topic has the id {topic_id}")
            name = topic.name
        topic_id = await context.catalog.delete(name or "", topic_id)
    except (Refused, WalError) as failure:
        result = outcome(failure)
        name = asked.name
    return {
        "name": name,
        "topic_id": topic_id,
        "error_code": result.code,
        "error_message": result.message,
    }
