"""Searching a partition by time: the log finds the run of batches, opening them finds the record.

Batches are opened off the event loop, each within a bound of memory.
"""

import asyncio

from gateway.errors import ErrorCode, Refused
from gateway.state import GatewayState
from protocol.batches import read_header, slice_from
from protocol.records import TimedOffset, first_at_or_after, latest
from wal.log import Log
from wal.types import StreamId

READ_BYTES = 64 * 1024
LOOK_BYTES_MAX = 64 * 1024 * 1024
"""Most bytes that one look-up by time goes through behind the place where the log has found it."""

NONE = TimedOffset(-1, -1, -1)
"""No such record."""

GatewayLog = Log[GatewayState]


async def newest(log: GatewayLog, stream: StreamId, bytes_max: int) -> TimedOffset:
    """The first record that has the largest time; NONE in an empty partition."""
    time, position = await log.time_max(stream)
    if time < 0:
        return NONE
    found = await log.read(stream, position, 1)
    for part in found.parts:
        at = slice_from(part, position)
        if at < len(part):
            batch = part[at : at + read_header(part, at).size]
            return await asyncio.to_thread(latest, batch, bytes_max) or NONE
    return NONE


async def first_from(log: GatewayLog, stream: StreamId, time: int, bytes_max: int) -> TimedOffset:
    """The first record whose time is `time` or later; NONE if there is none."""
    position = await log.time_position(stream, time)
    bytes_left = LOOK_BYTES_MAX
    while position is not None and position < log.durable_end(stream):
        if bytes_left <= 0:
            raise Refused(
                ErrorCode.unknown_server_error, "batches claim times that their records do not have"
            )
        slice_ = await log.read(stream, position, READ_BYTES)
        for part in slice_.parts:
            hit = await asyncio.to_thread(first_at_or_after, part, time, position, bytes_max)
            if hit is not None:
                return hit
            bytes_left -= len(part)
        position = slice_.end
    return NONE
