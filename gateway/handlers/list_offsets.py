"""ListOffsets: where a partition begins and ends, and which record is the first of a time.

The latest offset is the durable end, after a proof that no other node owns the log. A look-up by time lets
the log find the run of batches that may hold it, then opens batches, off the event loop, for the record
itself. There is one tier of storage: what asks for another one is answered with -1.
"""

from collections import Counter
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from gateway.context import Context
from gateway.dispatch import Call
from gateway.errors import ErrorCode, Refused, read_error_code, wire_error_code
from gateway.leader_epochs import EpochStarts, epoch_of, leader_epochs
from gateway.lookup import check_leader_epoch, find, unproven
from gateway.time_search import NONE, GatewayLog, first_from, newest
from protocol.errors import WireError
from protocol.records import TimedOffset
from wal.errors import WalError


class Moment(IntEnum):
    """Timestamps that are none: what a client asks for instead of a time."""

    LATEST = -1
    EARLIEST = -2
    MAX_TIMESTAMP = -3
    EARLIEST_LOCAL = -4
    LATEST_TIERED = -5
    EARLIEST_PENDING_UPLOAD = -6


VERSIONS_FROM: Mapping[int, int] = {
    Moment.LATEST: 1,
    Moment.EARLIEST: 1,
    Moment.MAX_TIMESTAMP: 7,
    Moment.EARLIEST_LOCAL: 8,
    Moment.LATEST_TIERED: 9,
    Moment.EARLIEST_PENDING_UPLOAD: 11,
}
"""The first version of the request that knows each of them."""


async def handle(call: Call, context: Context) -> Mapping[str, object]:
    """Answer for each partition; one that is named twice is refused."""
    body = call.body
    asked = Counter((topic.name, row.partition_index) for topic in body.topics for row in topic.partitions)
    proofs: dict[GatewayLog, WalError | None] = {}
    topics = []
    for topic in body.topics:
        rows = []
        for row in topic.partitions:
            code, found = ErrorCode.none, NONE
            try:
                if asked[topic.name, row.partition_index] > 1:
                    raise Refused(ErrorCode.invalid_request, "a partition is named twice")
                found = await _find(context, call.header.version, topic.name, row, proofs)
            except Refused as refusal:
                code = refusal.code
            except WalError as error:
                code = read_error_code(error)
            except WireError as error:
                code = wire_error_code(error)
            rows.append(_row(row.partition_index, code, found))
        topics.append({"name": topic.name, "partitions": rows})
    return {"topics": topics}


def _row(index: int, code: ErrorCode, found: TimedOffset) -> Mapping[str, object]:
    return {
        "partition_index": index,
        "error_code": code,
        "timestamp": found.timestamp,
        "offset": found.offset,
        "leader_epoch": found.leader_epoch,
    }


async def _find(
    context: Context, version: int, name: str, asked: Any, proofs: dict[GatewayLog, WalError | None]
) -> TimedOffset:
    """What one partition answers; NONE for a time after all records. Raises Refused, WalError, WireError."""
    moment = asked.timestamp
    if moment < 0 and version < VERSIONS_FROM.get(moment, version + 1):
        raise Refused(
            ErrorCode.unsupported_version, f"version {version} does not know the timestamp {moment}"
        )
    partition = find(context.catalog, name, None, asked.partition_index)
    log = context.logs.get(partition.log_id)
    current = partition.epoch_base + log.epoch
    check_leader_epoch(getattr(asked, "current_leader_epoch", -1), current)
    stream = partition.stream
    if moment in (Moment.LATEST_TIERED, Moment.EARLIEST_PENDING_UPLOAD):
        return NONE
    if moment not in (Moment.EARLIEST, Moment.EARLIEST_LOCAL):
        await _prove(log, proofs)
    starts = leader_epochs(partition.epoch_base, log.epochs(stream))
    bytes_max = context.settings.batch_open_bytes_max
    if moment == Moment.LATEST:
        return _untimed(log.durable_end(stream), starts, current)
    if moment in (Moment.EARLIEST, Moment.EARLIEST_LOCAL):
        return _untimed(log.start(stream), starts, current)
    if moment == Moment.MAX_TIMESTAMP:
        return await newest(log, stream, bytes_max)
    return await first_from(log, stream, moment, bytes_max)


def _untimed(offset: int, starts: EpochStarts, current: int) -> TimedOffset:
    """An end of the partition: no timestamp, and the leader epoch to check the offset by later."""
    return TimedOffset(offset, -1, epoch_of(starts, offset, current))


async def _prove(log: GatewayLog, proofs: dict[GatewayLog, WalError | None]) -> None:
    """One proof per log and request. Raises what the log does."""
    if log not in proofs:
        proofs[log] = await unproven(log)
    failure = proofs[log]
    if failure is not None:
        raise Refused(read_error_code(failure), str(failure))
