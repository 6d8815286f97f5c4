"""A node in memory whose blocks a test holds back on their way to the store; its wall clock may be moved."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.logs import GatewayLog, Stores
from gateway.partition import Partition
from gateway.runtime import Gateway, Parts
from tests.support.gateway import running
from tests.support.logs import FaultyObjects
from wal.clock import SystemClock
from wal.meta.memory import MemoryMetaStore
from wal.objects.memory import MemoryObjectStore


class LaterClock(SystemClock):
    """The machine's clocks, whose wall clock a test puts forward."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


class HeldNode:
    """A running gateway with a topic t of four partitions. `hold` and `release` say whether blocks land."""

    def __init__(self, gateway: Gateway, objects: FaultyObjects, clock: LaterClock) -> None:
        self.gateway = gateway
        self.objects = objects
        self.clock = clock
        self.held = 0
        self._open = asyncio.Event()
        self._open.set()
        objects.before = self._wait

    @property
    def port(self) -> int:
        return self.gateway.server.port

    @property
    def log(self) -> GatewayLog:
        """The log that all partitions lie in."""
        return next(iter(self.gateway.context.logs))

    def partition(self, index: int = 0, topic: str = "t") -> Partition:
        """The place of a partition."""
        found = self.gateway.context.catalog.partition(topic, index)
        assert found is not None
        return found

    def hold(self, *, landed: bool = False) -> None:
        """Blocks wait from now on: before they are stored or, with `landed`, before the node is told."""
        self._open.clear()
        self.objects.before, self.objects.after = (None, self._wait) if landed else (self._wait, None)

    def release(self) -> None:
        """Nothing waits any more."""
        self._open.set()

    async def _wait(self, method: str, key: str) -> None:
        if method != "put" or not key.endswith(".block") or self._open.is_set():
            return
        self.held += 1
        try:
            await self._open.wait()
        finally:
            self.held -= 1


@asynccontextmanager
async def held_node(**settings: Any) -> AsyncIterator[HeldNode]:
    """A node on stores of its own, stopped in order at the end."""
    clock = LaterClock()
    objects = FaultyObjects(MemoryObjectStore())
    parts = Parts(Stores(objects, MemoryMetaStore(clock)), clock, random.Random(1))
    async with running(parts=parts, **settings) as gateway:
        node = HeldNode(gateway, objects, clock)
        await gateway.context.catalog.create("t", 4, {})
        try:
            yield node
        finally:
            node.release()
