import asyncio
import random

from tests.support.manual_clock import ManualClock
from tests.support.until import until
from wal.errors import Unavailable
from wal.meta.memory import MemoryMetaStore
from wal.session import Session


class ImpatientLease:
    """A lease whose keep-alives answer as the test says: True, False or no answer."""

    id = 1
    ttl_s = 0.03

    def __init__(self, clock: ManualClock) -> None:
        self.answer: bool | None = True
        self.calls = 0
        self._clock = clock

    async def keep_alive(self) -> bool:
        self.calls += 1
        self._clock.advance(0.01)
        if self.answer is None:
            raise Unavailable("no answer")
        return self.answer

    async def revoke(self) -> None:
        self.answer = False


async def test_a_session_key_lives_exactly_as_long_as_the_session() -> None:
    clock = ManualClock()
    meta = MemoryMetaStore(clock)
    session = await Session.open(meta, 3, ttl_s=10, clock=clock, random=random.Random(1), info=b"here")
    found = await meta.get(session.key)
    assert found is not None and found.value == b"here" and session.alive()
    await session.close()
    assert await meta.get(session.key) is None and not session.alive()
    await meta.close()


async def test_a_paused_process_knows_that_its_proof_is_stale_before_the_lease_expires() -> None:
    clock = ManualClock()
    meta = MemoryMetaStore(clock)
    session = await Session.open(meta, 3, ttl_s=10, clock=clock, random=random.Random(1))
    clock.advance(9.5)
    assert not session.alive()
    assert await meta.get(session.key) is not None
    clock.advance(1)
    assert await meta.get(session.key) is None
    await session.close()
    await meta.close()


async def test_keep_alives_count_from_when_they_were_sent() -> None:
    clock = ManualClock()
    lease = ImpatientLease(clock)
    session = Session("s", lease, clock, clock.boottime())
    assert not session.alive()
    await until(session.alive)
    lease.answer = None
    seen = lease.calls
    await until(lambda: lease.calls >= seen + 4)
    assert not session.alive() and not session.lost.done()
    await session.close()


async def test_a_lost_lease_is_told() -> None:
    clock = ManualClock()
    lease = ImpatientLease(clock)
    session = Session("s", lease, clock, clock.boottime() + 100)
    lease.answer = False
    error = await asyncio.wait_for(asyncio.shield(session.lost), 10)
    assert "expired" in str(error) and not session.alive()
    await session.close()
