"""The node's logs: opened at the start, lost without harm, acquired again, given up at the end."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from gateway import logs as module
from gateway.cluster_record import new_record
from gateway.errors import ErrorCode, Refused
from gateway.logs import NO_LEADER, Logs, Stores
from tests.support.until import until
from wal.clock import SystemClock
from wal.errors import Corrupt, Fenced, StoreRefused, Unavailable, WalError
from wal.meta.base import Delete
from wal.meta.memory import MemoryMetaStore
from wal.objects.memory import MemoryObjectStore
from wal.session import Session
from wal.types import LogId


class FakeLog:
    """A log with an epoch, which a test can take away."""

    def __init__(self, log_id: LogId, epoch: int) -> None:
        self.id = log_id
        self.epoch = epoch
        self.lost: asyncio.Future[WalError] = asyncio.get_running_loop().create_future()
        self.closed = False
        self.failure: WalError | None = None

    async def close(self) -> None:
        self.closed = True
        if self.failure is not None:
            raise self.failure


class World:
    """A node's logs over fakes; `failures` are what the next openings meet."""

    def __init__(self, meta: MemoryMetaStore, session: Session) -> None:
        self.meta = meta
        self.session = session
        self.opened: list[FakeLog] = []
        self.failures: list[WalError] = []
        self.logs = Logs(
            new_record(2, random.Random(1)),
            node_id=7,
            stores=Stores(MemoryObjectStore(), meta),
            session=session,
            opener=cast(Any, self.open),
            random=random.Random(2),
        )

    async def open(self, log_id: LogId) -> FakeLog:
        if self.failures:
            raise self.failures.pop(0)
        log = FakeLog(log_id, 1 + sum(one.id == log_id for one in self.opened))
        self.opened.append(log)
        return log

    def held(self, log_id: int) -> FakeLog:
        return cast(FakeLog, self.logs.get(LogId(log_id)))


@asynccontextmanager
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(module, "PAUSE_MS_MIN", 1)
    monkeypatch.setattr(module, "PAUSE_MS_MAX", 20)
    clock = SystemClock()
    meta = MemoryMetaStore(clock)
    session = await Session.open(meta, 7, ttl_s=10.0, clock=clock, random=random.Random(3))
    here = World(meta, session)
    try:
        yield here
    finally:
        await here.logs.close()
        await session.close()


async def test_all_logs_of_the_cluster_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as here:
        with pytest.raises(Refused) as refusal:
            here.held(0)
        assert refusal.value.code is ErrorCode.not_leader_or_follower
        assert here.logs.leader_of(LogId(0)) == NO_LEADER
        await here.logs.open(1.0)
        assert sorted(here.logs.owned()) == [0, 1]
        assert here.held(1).epoch == 1
        assert here.logs.leader_of(LogId(1)) == 7
        assert here.logs.slot_log(3) == LogId(1)


async def test_opening_waits_for_stores_and_for_a_session_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as here:
        here.failures = [Unavailable("away"), Fenced("owned by the living session 7-1"), Unavailable("away")]
        await here.logs.open(10.0)
        assert sorted(here.logs.owned()) == [0, 1]


async def test_opening_is_refused_while_another_node_lives_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as here:
        here.failures = [Fenced("log 0 is owned by the living session 8-2")] * 1000
        with pytest.raises(StoreRefused, match="living session 8-2"):
            await here.logs.open(0.01)


async def test_a_log_that_cannot_be_read_fails_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as here:
        here.failures = [Corrupt("a block is not what was written")]
        with pytest.raises(Corrupt):
            await here.logs.open(1.0)


async def test_a_lost_log_has_no_leader_until_it_is_acquired_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as here:
        await here.logs.open(1.0)
        lost = here.held(0)
        here.failures = [Unavailable("away"), Corrupt("not now"), Fenced("somebody is faster")]
        lost.failure = Fenced("lost")
        lost.lost.set_result(Fenced("a foreign block"))
        await until(lambda: here.logs.leader_of(LogId(0)) == NO_LEADER)
        assert here.held(1).epoch == 1
        await until(lambda: here.logs.leader_of(LogId(0)) == 7)
        assert lost.closed
        assert here.held(0).epoch == 2
        here.held(0).lost.set_result(Fenced("again"))
        await until(lambda: len(here.opened) == 4)
        await until(lambda: here.logs.leader_of(LogId(0)) == 7)
        assert here.held(0).epoch == 3


async def test_a_session_that_was_ended_by_others_ends_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as here:
        await here.logs.open(1.0)
        await here.meta.txn((), (Delete(here.session.key),))
        here.failures = [Fenced("session is gone")] * 1000
        here.held(0).lost.set_result(Fenced("a fence"))
        await until(here.logs.lost.done)
        assert isinstance(here.logs.lost.result(), Fenced)
        assert here.logs.leader_of(LogId(0)) == NO_LEADER


async def test_closing_closes_every_log_even_if_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as here:
        await here.logs.open(1.0)
        here.held(0).failure = Unavailable("away")
        await here.logs.close()
        assert all(log.closed for log in here.opened)
        assert not list(here.logs)
