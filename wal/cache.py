"""Two byte-bounded caches: *hot* for blocks just flushed, *cold* for what is read back from the store.

They are apart, so that catching up never evicts the tail. The cold cache loads a missing value once however
many ask for it at the same time; a load belongs to the cache, so a reader that goes away harms no other.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, NamedTuple, TypeVar

from wal.block import Block
from wal.tasks import TaskSet

Value = TypeVar("Value")


class BlockName(NamedTuple):
    """A block, by log, segment and number."""

    log: int
    segment: int
    n: int


class HotCache:
    """The newest blocks of all logs of a node, the oldest going first."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.size = 0
        self._blocks: OrderedDict[BlockName, Block] = OrderedDict()

    def get(self, name: BlockName) -> Block | None:
        """The block, if it is still here."""
        return self._blocks.get(name)

    def put(self, name: BlockName, block: Block) -> None:
        """Keep a block that was just flushed."""
        self._blocks[name] = block
        self.size += block.size
        while self.size > self.bytes_max and self._blocks:
            _, oldest = self._blocks.popitem(last=False)
            self.size -= oldest.size


class ColdCache:
    """Values read from the store, least recently used going first."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.size = 0
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._loads: dict[Hashable, asyncio.Task[Any]] = {}
        self._tasks = TaskSet()

    def peek(self, key: Hashable) -> Any | None:
        """The value, if it is here."""
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    async def get(self, key: Hashable, load: Callable[[], Awaitable[tuple[Value, int]]]) -> Value:
        """The value, loaded by `load` (which gives it with its size in bytes) where it is missing.

        Raises what `load` raises.
        """
        found = self.peek(key)
        if found is not None:
            value: Value = found
            return value
        return await asyncio.shield(self.start(key, load))

    def start(self, key: Hashable, load: Callable[[], Awaitable[tuple[Value, int]]]) -> "asyncio.Task[Value]":
        """Begin to load the value, or join the load that is under way."""
        task = self._loads.get(key)
        if task is None:
            task = self._loads[key] = self._tasks.spawn(self._load(key, load), f"load {key}")
            task.add_done_callback(_outcome_seen)
        return task

    async def close(self) -> None:
        """End all loads and forget everything."""
        await self._tasks.close()
        self._values.clear()
        self.size = 0

    async def _load(self, key: Hashable, load: Callable[[], Awaitable[tuple[Value, int]]]) -> Value:
        try:
            value, size = await load()
        finally:
            del self._loads[key]
        self._values[key] = (value, size)
        self.size += size
        while self.size > self.bytes_max and len(self._values) > 1:
            _, (_, evicted) = self._values.popitem(last=False)
            self.size -= evicted
        return value


def _outcome_seen(task: "asyncio.Task[Any]") -> None:
    """A load may fail after everybody who asked for it has gone."""
    if not task.cancelled():
        task.exception()
