"""What nobody can ask for any more is forgotten: offsets of deleted topics, and empty groups without offsets.

Judged by the appended view at the moment of appending, so nothing that is under way is harmed: what was
appended before was looked at, and what comes later makes the group anew.
"""

import asyncio
from collections.abc import Iterator
from typing import Protocol
from uuid import UUID

from gateway.cluster_record import SLOTS
from gateway.events import EventLog, describe
from gateway.groups.coordinator import GatewayLog, states_of
from gateway.groups.offsets import GroupData
from gateway.groups.records import GroupForgotten, OffsetsForgotten, encode_record
from gateway.groups.slots import stream_of
from wal.errors import WalError
from wal.types import Entry, LogId, StreamId

LOG = EventLog(__name__)

SWEEP_S = 600.0
"""Time between two looks, as long as Kafka's."""
GROUPS_AT_ONCE = 200


class SweptLogs(Protocol):
    """What is asked of the node's logs."""

    def __iter__(self) -> Iterator[GatewayLog]:
        """The logs that this node holds now."""

    def slot_log(self, slot: int) -> LogId:
        """The log that holds a slot."""


class KnownTopics(Protocol):
    """What is asked of the catalog."""

    async def load(self) -> None:
        """Become as new as the moment of the call. Raises Unavailable."""

    def topic_by_id(self, topic_id: UUID) -> object | None:
        """The topic with this id."""


async def keep_sweeping(logs: SweptLogs, topics: KnownTopics) -> None:
    """Sweep at intervals for ever. Ends only by cancellation."""
    while True:
        await asyncio.sleep(SWEEP_S)
        try:
            await sweep(logs, topics)
        except WalError as error:
            LOG.warning("groups_not_swept", cause=describe(error))


async def sweep(logs: SweptLogs, topics: KnownTopics) -> int:
    """Forget what can be forgotten in the logs that this node holds; how many entries that took.

    An id that the catalog does not have after it was loaded is a deleted topic's: whoever committed for it
    knew it. Raises WalError.
    """
    await topics.load()
    written = 0
    for log in logs:
        for slot in range(SLOTS):
            if logs.slot_log(slot) == log.id:
                written += await _sweep_slot(log, stream_of(slot), topics)
    return written


async def _sweep_slot(log: GatewayLog, stream: StreamId, topics: KnownTopics) -> int:
    written = 0
    flush = None
    states = states_of(log.appended)
    for looked, (name, _) in enumerate(states.groups(stream)):
        if looked % GROUPS_AT_ONCE == GROUPS_AT_ONCE - 1:
            await asyncio.sleep(0)
        data = states.group(stream, name)
        record = _forgotten(name, data, topics) if data is not None else None
        if record is not None:
            tag, payload = encode_record(record)
            flush = log.append(stream, Entry(payload, 1, tag=tag)).flush
            written += 1
    if flush is not None:
        await flush.wait()
    return written


def _forgotten(name: str, data: GroupData, topics: KnownTopics) -> OffsetsForgotten | GroupForgotten | None:
    """What is to be forgotten of a group, if anything."""
    gone = tuple(place for place in data.offsets if topics.topic_by_id(place.topic_id) is None)
    if len(gone) < len(data.offsets):
        return OffsetsForgotten(name, gone) if gone else None
    is_empty = data.stored is None or not data.stored.members
    if is_empty:
        return GroupForgotten(name)
    return OffsetsForgotten(name, gone) if gone else None
