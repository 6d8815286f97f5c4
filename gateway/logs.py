"""The logs that this node owns: opened at the start, watched, and acquired again when one is lost.

A log is lost when its writer meets a foreign block or a fence. Its partitions then have no leader here, and
clients are told so, until the log is acquired again with a new epoch: after a pause, after a read of the
object store has succeeded, and for as long as the node's session lives. A session that is gone ends the
node, not the log: `lost` tells.
"""

import asyncio
import random as random_module
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from gateway.cluster_record import MARKS_PREFIX, ClusterRecord
from gateway.errors import ErrorCode, Refused
from gateway.events import EventLog, describe
from gateway.partition import Partition
from gateway.state import GatewayState
from wal.errors import Fenced, StoreRefused, Unavailable, WalError
from wal.log import Log
from wal.meta.base import MetaStore
from wal.objects.base import ObjectStore
from wal.session import Session
from wal.tasks import Backoff, TaskSet
from wal.types import LogId

LOG = EventLog(__name__)

NO_LEADER = -1
PAUSE_MS_MIN = 100
PAUSE_MS_MAX = 10_000

GatewayLog = Log[GatewayState]
Opener = Callable[[LogId], Awaitable[GatewayLog]]


class Stores(NamedTuple):
    """Where the logs live."""

    objects: ObjectStore
    meta: MetaStore


class Logs:
    """The node's logs by id. `lost` is done when the session is gone and nothing can be owned any more."""

    def __init__(
        self,
        record: ClusterRecord,
        *,
        node_id: int,
        stores: Stores,
        session: Session,
        opener: Opener,
        random: random_module.Random,
    ) -> None:
        self.lost: asyncio.Future[WalError] = asyncio.get_running_loop().create_future()
        self._record = record
        self._node_id = node_id
        self._stores = stores
        self._session = session
        self._opener = opener
        self._random = random
        self._logs: dict[LogId, GatewayLog] = {}
        self._tasks = TaskSet()

    async def open(self, wait_s_max: float) -> None:
        """Acquire all logs of the cluster, waiting so long for a session that owns one of them to end.

        Raises StoreRefused where another node lives on, Fenced where our own session is gone, and Corrupt.
        """
        await asyncio.gather(
            *(
                self._tasks.spawn(self._open_first(log_id, wait_s_max), f"log {log_id} opened")
                for log_id in self._record.logs
            )
        )

    def get(self, log_id: LogId) -> GatewayLog:
        """The log, if this node may append to it and read from it now. Raises Refused
        (NOT_LEADER_OR_FOLLOWER).
        """
        log = self._logs.get(log_id)
        if log is None:
            raise Refused(ErrorCode.not_leader_or_follower, f"log {log_id} is not held by this node now")
        return log

    def crowded(self) -> GatewayLog | None:
        """A log that takes no more appends until its sealing has caught up; None, as a rule."""
        for log in self._logs.values():
            if log.crowded:
                return log
        return None

    def owned(self) -> Iterable[LogId]:
        """The logs that `get` returns now."""
        return tuple(self._logs)

    def __iter__(self) -> Iterator[GatewayLog]:
        """The logs that this node holds now."""
        return iter(tuple(self._logs.values()))

    def leader_of(self, log_id: LogId) -> int:
        """The node that leads the log's partitions; NO_LEADER while the log is being acquired again."""
        return self._node_id if log_id in self._logs else NO_LEADER

    def partition_epoch(self, partition: Partition) -> int:
        """The partition's leader epoch. Raises Refused (NOT_LEADER_OR_FOLLOWER)."""
        return partition.epoch_base + self.get(partition.log_id).epoch

    def slot_log(self, slot: int) -> LogId:
        """The log that holds a slot."""
        return self._record.slots[slot]

    async def close(self) -> None:
        """Flush, seal and give up every log. A log that fails to is recovered by its next owner."""
        await self._tasks.close()
        outcomes = await asyncio.gather(*(log.close() for log in self), return_exceptions=True)
        for log, outcome in zip(self, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                LOG.warning("log_not_closed", log=log.id, cause=describe(outcome))
        self._logs.clear()

    async def _open_first(self, log_id: LogId, wait_s_max: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s_max
        backoff = Backoff(PAUSE_MS_MIN, PAUSE_MS_MAX // 10, self._random)
        while True:
            try:
                self._hold(await self._opener(log_id))
                return
            except Fenced as failure:
                if await self._session_is_gone():
                    raise
                if loop.time() >= deadline:
                    raise StoreRefused(f"{failure}; only one node can serve this data now.") from failure
                LOG.warning("log_not_acquired", log=log_id, cause=describe(failure))
            except Unavailable as failure:
                LOG.warning("log_not_acquired", log=log_id, cause=describe(failure))
            await backoff.pause()

    def _hold(self, log: GatewayLog) -> None:
        self._logs[log.id] = log
        self._tasks.spawn(self._supervise(log), name=f"log {log.id} supervised")
        LOG.event("log_acquired", log=log.id, epoch=log.epoch)

    async def _supervise(self, log: GatewayLog) -> None:
        """Wait until the log is lost, then get it back."""
        await asyncio.wait((log.lost,))
        if log.lost.cancelled():
            return
        del self._logs[log.id]
        LOG.warning("log_lost", log=log.id, epoch=log.epoch, cause=describe(log.lost.result()))
        with suppress(WalError):
            await log.close()
        again = await self._acquire_again(log.id)
        if again is not None:
            self._hold(again)

    async def _acquire_again(self, log_id: LogId) -> GatewayLog | None:
        """The log with a new epoch, however long it takes; None when the session is gone."""
        backoff = Backoff(PAUSE_MS_MIN, PAUSE_MS_MAX, self._random)
        while not self._session.lost.done():
            await backoff.pause()
            try:
                await self._probe()
                return await self._opener(log_id)
            except WalError as failure:
                LOG.warning("log_not_acquired", log=log_id, cause=describe(failure))
                if isinstance(failure, Fenced) and await self._session_is_gone():
                    break
        return None

    async def _probe(self) -> None:
        """A read that tells whether the object store answers. Raises Unavailable."""
        async for _ in self._stores.objects.list(MARKS_PREFIX):
            return

    async def _session_is_gone(self) -> bool:
        """Whether somebody took this node's place; if so, `lost` is told."""
        with suppress(Unavailable):
            if await self._stores.meta.get(self._session.key) is None:
                if not self.lost.done():
                    self.lost.set_result(Fenced(f"session {self._session.id} was ended by another process"))
                return True
        return False
