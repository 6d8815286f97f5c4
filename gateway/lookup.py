"""What requests about partitions share: which one is meant, whose view is older, are we still its leader.

Refusals carry the code that makes a client refresh its metadata where its view is the older one.
"""

import asyncio
from uuid import UUID

from gateway.catalog import Catalog
from gateway.errors import ErrorCode, Refused
from gateway.partition import Partition
from gateway.state import GatewayState
from wal.errors import Unavailable, WalError
from wal.log import Log

NO_EPOCH = -1
"""A request that names no leader epoch."""
PROOF_S_MAX = 10.0
"""How long an answer that must be the newest may wait for the proof that it is."""


def find(catalog: Catalog, name: str | None, topic_id: UUID | None, index: int) -> Partition:
    """The partition of the topic of this name or, where there is no name, of this id.

    An id that a deleted topic had never finds the topic made again under its name. Raises Refused.
    """
    if name is not None:
        partition = catalog.partition(name, index)
        topic_is_known = partition is not None or catalog.topic(name) is not None
    else:
        partition = catalog.partition_by_id(topic_id, index) if topic_id is not None else None
        topic_is_known = partition is not None or (
            topic_id is not None and catalog.topic_by_id(topic_id) is not None
        )
    if partition is not None:
        return partition
    if topic_is_known:
        raise Refused(ErrorCode.unknown_topic_or_partition, f"the topic has no partition {index}")
    if name is not None:
        raise Refused(ErrorCode.unknown_topic_or_partition, f"there is no topic {name!r:.300}")
    raise Refused(ErrorCode.unknown_topic_id, f"no topic has the id {topic_id}")


def check_leader_epoch(believed: int, current: int) -> None:
    """Compare the leader epoch that a request names, if it does, with the current one. Raises Refused."""
    if believed in (current, NO_EPOCH):
        return
    if believed < current:
        raise Refused(ErrorCode.fenced_leader_epoch, f"the leader epoch is {current}, {believed} is older")
    raise Refused(ErrorCode.unknown_leader_epoch, f"the leader epoch is {current}, {believed} is not known")


async def unproven(log: Log[GatewayState]) -> WalError | None:
    """Why the log cannot prove in time that no other node owned it when this began; None when it has."""
    try:
        async with asyncio.timeout(PROOF_S_MAX):
            await log.prove()
    except WalError as error:
        return error
    except TimeoutError:
        return Unavailable(f"log {log.id}: no proof of being the owner within {PROOF_S_MAX} s")
    return None
