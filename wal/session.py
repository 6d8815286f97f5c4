"""A node session: the lease that says this process is alive, and the key that others look at.

One session per process life; a restart is a new one. Owners of logs are named by session, so a log may be
acquired as soon as its owner's session key is gone. `alive()` is the proof of design rule "answers that must
be the newest": it compares the clock at the moment of answering with the *send* time of the last answered
keep-alive, and never trusts a timer, so a process that was stopped and continued tells nothing stale.
"""

import asyncio
import random as random_module
from contextlib import suppress

from wal.clock import Clock
from wal.errors import Fenced, Unavailable, WalError
from wal.meta.base import Lease, MetaStore, Put

SESSIONS_PREFIX = "sessions/"
KEEP_ALIVES_PER_TTL = 3
MARGIN = 0.1
"""Share of the time to live that is never relied on: clocks may run apart by as much."""


class Session:
    """A live lease with a key `sessions/<id>`; made by `open`."""

    def __init__(self, session_id: str, lease: Lease, clock: Clock, valid_until: float) -> None:
        self.id = session_id
        self.lost: asyncio.Future[WalError] = asyncio.get_running_loop().create_future()
        self._lease = lease
        self._clock = clock
        self._valid_until = valid_until
        self._task = asyncio.create_task(self._keep_alive(), name=f"session {session_id}")

    @classmethod
    async def open(
        cls,
        meta: MetaStore,
        node_id: int,
        *,
        ttl_s: float,
        clock: Clock,
        random: random_module.Random,
        info: bytes = b"",
    ) -> "Session":
        """Grant a lease and write the session key with `info`. Raises Unavailable."""
        sent = clock.boottime()
        lease = await meta.lease(ttl_s)
        session_id = f"{node_id}-{random.getrandbits(64):016x}"
        if not (await meta.txn((), (Put(SESSIONS_PREFIX + session_id, info, lease.id),))).succeeded:
            raise Unavailable(f"the lease of session {session_id} was over before its key was written")
        return cls(session_id, lease, clock, sent + ttl_s * (1 - MARGIN))

    @property
    def key(self) -> str:
        """The key that exists exactly as long as the session lives."""
        return SESSIONS_PREFIX + self.id

    def alive(self) -> bool:
        """No other session can have taken what this one owns, as of now."""
        return not self.lost.done() and self._clock.boottime() < self._valid_until

    async def close(self) -> None:
        """End the session at once: its key disappears, its logs are free."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._valid_until = 0.0
        with suppress(Unavailable):
            await self._lease.revoke()
        if not self.lost.done():
            self.lost.cancel()

    async def _keep_alive(self) -> None:
        interval = self._lease.ttl_s / KEEP_ALIVES_PER_TTL
        while True:
            await asyncio.sleep(interval)
            sent = self._clock.boottime()
            try:
                async with asyncio.timeout(interval):
                    kept = await self._lease.keep_alive()
            except (TimeoutError, Unavailable):
                continue
            if not kept:
                self._valid_until = 0.0
                if not self.lost.done():
                    self.lost.set_result(
                        Fenced("this node's session has expired; its logs may have new owners")
                    )
                return
            self._valid_until = sent + self._lease.ttl_s * (1 - MARGIN)
