"""OffsetForLeaderEpoch: where an epoch ended, so that a client can tell whether what it read is there."""

from collections.abc import Mapping
from typing import Any

from gateway.context import Context
from gateway.dispatch import Call
from gateway.errors import ErrorCode, Refused, read_error_code
from gateway.leader_epochs import UNKNOWN, EpochEnd, epoch_end, leader_epochs
from gateway.lookup import check_leader_epoch, find, unproven
from wal.errors import WalError


async def handle(call: Call, context: Context) -> Mapping[str, object]:
    """Answer for each partition, in the order of the request."""
    topics = []
    for topic in call.body.topics:
        rows = []
        for asked in topic.partitions:
            code, found = ErrorCode.none, UNKNOWN
            try:
                found = await _find(context, topic.topic, asked)
            except Refused as refusal:
                code = refusal.code
            except WalError as error:
                code = read_error_code(error)
            rows.append(
                {
                    "error_code": code,
                    "partition": asked.partition,
                    "leader_epoch": found.epoch,
                    "end_offset": found.end,
                }
            )
        topics.append({"topic": topic.topic, "partitions": rows})
    return {"topics": topics}


async def _find(context: Context, name: str, asked: Any) -> EpochEnd:
    """Where the epoch asked for ended in one partition. Raises Refused, WalError.

    The proof comes first: an owner that was replaced would tell of an end that consumers have long passed.
    """
    partition = find(context.catalog, name, None, asked.partition)
    log = context.logs.get(partition.log_id)
    current = partition.epoch_base + log.epoch
    check_leader_epoch(asked.current_leader_epoch, current)
    failure = await unproven(log)
    if failure is not None:
        raise failure
    stream = partition.stream
    return epoch_end(
        leader_epochs(partition.epoch_base, log.epochs(stream)),
        asked.leader_epoch,
        current=current,
        log_start=log.start(stream),
        log_end=log.durable_end(stream),
    )
