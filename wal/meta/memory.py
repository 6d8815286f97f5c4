"""The embedded metadata store: records in memory, optionally made durable by a journal before anybody sees
them.

Behind `memory://` and simulations there is no journal; `wal.meta.sqlite` puts a database behind it. One store
may have several handles, which play the nodes of a cluster in a test.

What must hold: changes happen one at a time, each planned, journalled, and only then committed; a caller that
is cancelled leaves its change to run to its end. A lease that has run out by the clock is ended before any
operation looks.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from wal.clock import Clock
from wal.errors import Closed, Unavailable
from wal.meta.base import Change, Compare, KeyValue, Operation, TxnResult
from wal.meta.records import Plan, Records, check_key, check_txn

T = TypeVar("T")

EXPIRY_CHECK_S = 1.0
"""How late a watch may see the end of a lease, at most, where the clock and the event loop's timers disagree.
"""


class Journal(Protocol):
    """Where a plan becomes durable."""

    async def write(self, plan: Plan) -> None:
        """Return once the plan would survive a crash. Raises Unavailable if it was not, or may not have been,
        written.
        """


class MemoryLease:
    """A lease of an embedded store."""

    def __init__(self, core: "_Core", number: int, ttl_s: float) -> None:
        self._core = core
        self._id = number
        self._ttl_s = ttl_s

    @property
    def id(self) -> int:
        """The number to put keys with."""
        return self._id

    @property
    def ttl_s(self) -> float:
        """Seconds from a keep-alive until expiry."""
        return self._ttl_s

    async def keep_alive(self) -> bool:
        """Start the time to live anew. False: the lease is gone for good."""
        await self._core.settle()
        return self._core.records.keep_alive(self._id, self._core.clock.boottime())

    async def revoke(self) -> None:
        """End it now; its keys disappear. Once more is no error."""
        await self._core.run(self._core.end_leases([self._id]))


class MemoryMetaStore:
    """A MetaStore in this process. Linearizable: an operation sees all that returned before it began."""

    def __init__(self, clock: Clock, journal: Journal | None = None, records: Records | None = None) -> None:
        """`clock.boottime` decides about leases. `records`: what the journal has kept."""
        self._core = _Core(clock, journal, records or Records())
        self._closed = False

    def share(self) -> "MemoryMetaStore":
        """Another handle on the same records, closed on its own: another node's view of one store."""
        self._check_open()
        other = MemoryMetaStore.__new__(MemoryMetaStore)
        other._core = self._core
        other._closed = False
        self._core.handles += 1
        return other

    async def get(self, key: str) -> KeyValue | None:
        """The newest value of the key; None where there is none."""
        check_key(key)
        self._check_open()
        await self._core.settle()
        return self._core.records.get(key)

    async def list(self, prefix: str) -> tuple[Sequence[KeyValue], int]:
        """All records whose key begins with `prefix`, in key order, and the store's revision as of the same
        moment.
        """
        self._check_open()
        await self._core.settle()
        return self._core.records.list(prefix), self._core.records.revision

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        """Do all operations if all compares hold and all leases to put with are alive; otherwise none.

        Raises ValueError for more than OPERATIONS_MAX, values above 1 MiB, or a key written twice.
        """
        check_txn(compares, operations)
        self._check_open()
        return await self._core.run(self._core.transact(tuple(compares), tuple(operations)))

    async def watch(self, prefix: str, after: int) -> AsyncIterator[Change]:
        """Every change to keys with `prefix` at a revision above `after`, in order, without gaps, for ever.

        Raises WatchGap where they are no longer all kept, Closed when the store closes.
        """
        self._check_open()
        wake = asyncio.Event()
        self._core.wakes.add(wake)
        try:
            while True:
                wake.clear()
                self._check_open()
                changes = self._core.records.changes_after(after, prefix)
                after = max(after, self._core.records.revision)
                for change in changes:
                    yield change
                    self._check_open()
                if not changes:
                    await wake.wait()
        finally:
            self._core.wakes.discard(wake)

    async def lease(self, ttl_s: float) -> MemoryLease:
        """Grant a lease of this many seconds."""
        if not ttl_s > 0:
            raise ValueError(f"a lease of {ttl_s} s cannot be kept")
        self._check_open()
        number = self._core.records.grant(ttl_s, self._core.clock.boottime())
        self._core.watch_expiry()
        return MemoryLease(self._core, number, ttl_s)

    async def close(self) -> None:
        """Close this handle, and with the last one the store. Leases are not revoked."""
        if self._closed:
            return
        self._closed = True
        self._core.wake_all()
        self._core.handles -= 1
        if self._core.handles == 0:
            await self._core.close()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the metadata store was closed")


class _Core:
    """What the handles of one store share, and the parent of its tasks."""

    def __init__(self, clock: Clock, journal: Journal | None, records: Records) -> None:
        self.clock = clock
        self.records = records
        self.handles = 1
        self.wakes: set[asyncio.Event] = set()
        self._journal = journal
        self._changing = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()
        self._expiry: asyncio.Task[None] | None = None

    async def run(self, change: Coroutine[Any, Any, T]) -> T:
        """Let a change run to its end, also if who waits for it is cancelled."""
        if not self.handles:
            change.close()
            raise Closed("the metadata store was closed")
        if self._journal is None:
            # Nothing in it waits, so nothing can cancel it half-way.
            return await change
        task = asyncio.create_task(change)
        self._running.add(task)
        task.add_done_callback(self._ran)
        return await asyncio.shield(task)

    def _ran(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Its error may have nobody left to wait for it.
            task.exception()

    async def settle(self) -> None:
        """End the leases that have run out."""
        if self.records.expired(self.clock.boottime()):
            await self.run(self.end_leases([]))

    async def transact(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        """One transaction; for `run`."""
        async with self._changing:
            await self._end_expired()
            plan = self.records.plan(compares, operations, self.clock.boottime())
            if plan is not None:
                await self._commit(plan)
            return self.records.result(plan is not None, operations)

    async def end_leases(self, leases: Sequence[int]) -> None:
        """End these leases, and all that have run out; for `run`."""
        async with self._changing:
            await self._end_expired()
            await self._commit(self.records.plan_end_of_leases(leases))

    async def _end_expired(self) -> None:
        expired = self.records.expired(self.clock.boottime())
        if expired:
            await self._commit(self.records.plan_end_of_leases(expired))

    async def _commit(self, plan: Plan) -> None:
        if plan.changes and self._journal is not None:
            await self._journal.write(plan)
        self.records.commit(plan)
        if plan.changes:
            self.wake_all()

    def wake_all(self) -> None:
        """Let every watch look again."""
        for wake in self.wakes:
            wake.set()

    def watch_expiry(self) -> None:
        """See to it that leases end in time even if nobody asks for anything."""
        if self._expiry is None or self._expiry.done():
            self._expiry = asyncio.create_task(self._expire())

    async def _expire(self) -> None:
        while True:
            delay_s = EXPIRY_CHECK_S
            with suppress(Unavailable):
                await self.settle()
                deadline = self.records.next_deadline()
                if deadline is None:
                    return
                delay_s = min(delay_s, max(deadline - self.clock.boottime(), 0.0))
            await asyncio.sleep(delay_s)

    async def close(self) -> None:
        """Stop looking for expiry; wait for the changes under way."""
        if self._expiry is not None:
            self._expiry.cancel()
            await asyncio.gather(self._expiry, return_exceptions=True)
        await asyncio.gather(*self._running, return_exceptions=True)
