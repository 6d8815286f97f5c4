"""Metadata: the brokers, and topics with their partitions' leaders, answered from memory.

A topic that does not exist is made here and now where the request and the node's settings allow it, so it is
answered whole, where Kafka answers an error first.
"""

from collections.abc import Iterable
from typing import Any

from gateway.catalog import Topic, check_name
from gateway.context import Context
from gateway.dispatch import Call
from gateway.errors import ErrorCode, Refused
from gateway.metadata_answer import MetadataAnswer
from protocol.hot import metadata as codec
from wal.errors import WalError

BY_ID_LOWEST = 12
"""Before this version a topic is asked for by name alone."""


async def handle(call: Call, context: Context) -> bytes:
    """Answer for the topics asked for; null, or in version 0 an empty list, asks for all of them."""
    version = call.header.version
    answer = MetadataAnswer(version, context)
    asked = call.body.topics
    if asked is None or (version == 0 and not asked):
        body = await answer.everything()
    else:
        may_create = (
            getattr(call.body, "allow_auto_topic_creation", True) and context.settings.auto_create_topics
        )
        body = answer.body(await _topics(asked, version, may_create, answer, context))
    return codec.response(version, call.header.correlation_id, body)


async def _topics(
    asked: Iterable[Any], version: int, may_create: bool, answer: MetadataAnswer, context: Context
) -> list[bytes]:
    """The topics asked for, each once, in the order asked."""
    pieces = []
    for topic_id, name in dict.fromkeys((getattr(one, "topic_id", None), one.name) for one in asked):
        if version < BY_ID_LOWEST and (topic_id is not None or name is None):
            pieces.append(answer.without(ErrorCode.invalid_request, name, topic_id))
        elif topic_id is not None:
            topic = context.catalog.topic_by_id(topic_id)
            unknown = ErrorCode.unknown_topic_id
            pieces.append(await answer.whole(topic) if topic else answer.without(unknown, None, topic_id))
        else:
            pieces.append(await _named(name or "", may_create, answer, context))
    return pieces


async def _named(name: str, may_create: bool, answer: MetadataAnswer, context: Context) -> bytes:
    """The topic of this name, made if need be and allowed."""
    topic = context.catalog.topic(name)
    if topic is None:
        try:
            check_name(name)
            topic = await _created(name, context) if may_create else None
        except Refused as refusal:
            return answer.without(refusal.code, name, None)
        except WalError:
            return answer.without(ErrorCode.leader_not_available, name, None)
    return (
        await answer.whole(topic)
        if topic
        else answer.without(ErrorCode.unknown_topic_or_partition, name, None)
    )


async def _created(name: str, context: Context) -> Topic | None:
    """The new topic, or the one that somebody else has just made. Raises Refused and WalError."""
    try:
        return await context.catalog.create(name, context.settings.num_partitions, {})
    except Refused as refusal:
        if refusal.code != ErrorCode.topic_already_exists:
            raise
        return context.catalog.topic(name)
