"""Retention: partitions give up what is older or more than their topic's settings allow, by whole segments.

One step looks at every partition whose log this node owns, a few at a time so that requests come in between;
the trims that it finds due share a block. Trimming moves a partition's start; segments wholly below their
streams' starts are deleted by the log's own maintenance.
"""

import asyncio

from gateway.context import Context
from gateway.errors import Refused
from gateway.events import EventLog, describe
from gateway.partition import Partition
from gateway.state import GatewayState
from wal.errors import WalError
from wal.log import Log
from wal.types import Position

events = EventLog(__name__)

PARTITIONS_AT_ONCE = 50
"""Partitions looked at without giving way to the event loop."""
TRIMS_AT_ONCE = 1_000
"""Trims gathered before they are appended together."""
UNLIMITED = -1

Due = tuple[Log[GatewayState], Partition, Position]


async def keep_trimming(context: Context) -> None:
    """Do a step every `retention_check_interval_ms`, for ever. Ends only by cancellation."""
    while True:
        await asyncio.sleep(context.settings.retention_check_interval_ms / 1000)
        await step(context)


async def step(context: Context) -> int:
    """Look at all partitions once; returns how many were trimmed, durably.

    A partition that cannot be looked at or trimmed now is left for the next step.
    """
    trimmed = 0
    due: list[Due] = []
    looked_at = 0
    for topic in context.catalog.topics():
        config = topic.config
        if config.retention_ms == UNLIMITED and config.retention_bytes == UNLIMITED:
            continue
        for index in range(topic.partitions):
            looked_at += 1
            if looked_at % PARTITIONS_AT_ONCE == 0:
                await asyncio.sleep(0)
            partition = topic.partition(index)
            found = await _due(context, partition) if partition is not None else None
            if found is not None:
                due.append(found)
            if len(due) >= TRIMS_AT_ONCE:
                trimmed += await _trim(context, due)
                due = []
    return trimmed + await _trim(context, due)


async def _due(context: Context, partition: Partition) -> Due | None:
    """Up to where the partition should be trimmed; None where nothing is to be done, or can be now."""
    config = partition.config
    stream = partition.stream
    time_before = UNLIMITED
    if config.retention_ms != UNLIMITED:
        time_before = max(UNLIMITED, context.clock.now_ms() - config.retention_ms)
    try:
        log = context.logs.get(partition.log_id)
        if log.start(stream) == log.durable_end(stream):
            return None
        position = await log.retention_position(stream, time_before, config.retention_bytes)
        return (log, partition, position) if position > log.start(stream) else None
    except Refused:
        return None
    except WalError as error:
        _failed(partition, error)
        return None


async def _trim(context: Context, due: list[Due]) -> int:
    """Append all trims, then wait until they are durable; returns how many are.

    A topic that was deleted meanwhile is left out: its streams may be dropped already.
    """
    trimmed = 0
    flushes = []
    for log, partition, position in due:
        if context.catalog.partition_by_id(partition.topic_id, partition.index) is None:
            continue
        try:
            flushes.append((log.trim(partition.stream, position), partition, position))
        except WalError as error:
            _failed(partition, error)
    for flush, partition, position in flushes:
        try:
            await flush.wait()
        except WalError as error:
            _failed(partition, error)
        else:
            trimmed += 1
            events.debug("trimmed", topic=partition.topic, partition=partition.index, start=position)
    if trimmed:
        events.event("retention_trimmed", partitions=trimmed)
    return trimmed


def _failed(partition: Partition, error: WalError) -> None:
    """Retention is tried again with the next step; no more than a line for whoever looks."""
    events.debug("retention_failed", topic=partition.topic, partition=partition.index, cause=describe(error))
