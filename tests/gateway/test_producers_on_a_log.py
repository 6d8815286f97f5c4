"""Producers on a real log: what was acknowledged stays known, with its offset, whoever owns the log next."""

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.errors import ErrorCode
from gateway.state import GatewayState
from protocol.batches import BatchHeader, walk
from tests.support.kafka_calls import begin_fetch, begin_produce, bytes_of, fetched, produced
from tests.support.logs import LOG, World, world
from tests.support.one_node import OneNode, batch_of, new_state
from wal.budget import ByteBudget
from wal.cache import ColdCache, HotCache
from wal.flush_policy import GroupCommit
from wal.log import Log, NodeParts
from wal.session import Session


class RealNode(OneNode):
    """A node whose log lies in stores that outlive it."""

    def __init__(self, stores: World) -> None:
        super().__init__()
        self.stores = stores
        self.opened: list[tuple[Log[GatewayState], Session]] = []

    async def start(self) -> None:
        """Acquire the log under a new epoch."""
        numbers = self.stores.settings
        session = await self.stores.session(len(self.opened))
        parts = NodeParts(
            objects=self.stores.objects,
            meta=self.stores.meta,
            session=session,
            hot=HotCache(numbers.cache_bytes_max),
            cold=ColdCache(numbers.cold_cache_bytes_max),
            budget=ByteBudget(numbers.buffer_bytes_max),
            clock=self.stores.clock,
            random=random.Random(len(self.opened)),
            settings=numbers,
        )
        policy = GroupCommit(flushes_in_flight_max=numbers.flushes_in_flight_max)
        log = await Log.open(LOG, parts, state=new_state, policy=policy)
        self.opened.append((log, session))
        by_log: dict[Any, Any] = self.by_log
        by_log[LOG] = log

    async def kill(self) -> None:
        """The process is gone; nothing is handed over."""
        await self.stores.kill(*self.opened[-1])  # type: ignore[arg-type]


@pytest.fixture
async def node() -> AsyncIterator[RealNode]:
    async with world() as stores:
        made = RealNode(stores)
        made.add_topic("t", 3)
        await made.start()
        yield made
        await made.opened[-1][0].close()


def numbered(sequence: int, *, index: int = 0, producer_id: int = 5) -> tuple[str, int, bytearray]:
    return ("t", index, batch_of(2, producer_id=producer_id, producer_epoch=0, base_sequence=sequence))


async def send(node: RealNode, *batches: tuple[str, int, bytearray]) -> list[tuple[ErrorCode, int]]:
    return [(row.error_code, row.base_offset) for row in await produced(begin_produce(node, *batches))]


async def test_acknowledged_batches_are_known_by_every_next_owner(node: RealNode) -> None:
    none = ErrorCode.none
    for restart in range(3):
        for i in range(4):
            step = 4 * restart + i
            assert (
                await send(node, numbered(2 * step), numbered(2 * step, index=1, producer_id=6))
                == [(none, 2 * step)] * 2
            )
        await node.kill()
        await node.start()
        last = 4 * restart + 3
        for back in range(4):
            assert await send(node, numbered(2 * (last - back))) == [(none, 2 * (last - back))]
        assert await send(node, numbered(2 * last + 4)) == [(ErrorCode.out_of_order_sequence_number, -1)]
    headers: list[BatchHeader] = []
    while len(headers) < 12:
        offset = headers[-1].last_offset + 1 if headers else 0
        [row] = await fetched(begin_fetch(node, ("t", 0, offset)))
        headers += [header for _, header in walk(bytes_of(row))]
    assert [header.base_offset for header in headers] == list(range(0, 24, 2))
    assert [header.leader_epoch for header in headers] == sorted(header.leader_epoch for header in headers)
    assert len({header.leader_epoch for header in headers}) == 3


async def test_appended_and_durable_windows_agree_once_everything_landed(node: RealNode) -> None:
    for i in range(12):
        await send(node, numbered(2 * i), numbered(2 * i, producer_id=8))
    log, _ = node.opened[-1]
    partition = node.partition("t", 0)
    assert partition is not None
    assert log.appended.producers.snapshot(partition.stream) == log.durable.producers.snapshot(
        partition.stream
    )


async def test_many_batches_in_one_flush_leave_the_window_of_the_last_five(node: RealNode) -> None:
    begins = [begin_produce(node, numbered(2 * i)) for i in range(20)]
    assert [(await produced(begun))[0].base_offset for begun in begins] == list(range(0, 40, 2))
    await node.kill()
    await node.start()
    assert await send(node, numbered(38), numbered(30)) == [(ErrorCode.none, 38), (ErrorCode.none, 30)]
    assert await send(node, numbered(28)) == [(ErrorCode.out_of_order_sequence_number, -1)]
    assert await send(node, numbered(40)) == [(ErrorCode.none, 40)]
