"""Logs over shared stores in one process: several nodes, faults between, a state machine to watch."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from tests.support.manual_clock import ManualClock
from wal.budget import ByteBudget
from wal.cache import ColdCache, HotCache
from wal.errors import Unavailable, WalError
from wal.flush_policy import GroupCommit
from wal.log import Log, NodeParts
from wal.meta.base import MetaStore
from wal.meta.memory import MemoryMetaStore
from wal.objects.base import ObjectInfo, ObjectStore
from wal.objects.memory import MemoryObjectStore
from wal.session import Session
from wal.settings import LogSettings
from wal.types import STATE_STREAMS, Buffer, Entry, LogId, Position, StreamId

LOG = LogId(0)
SMALL = LogSettings(segment_blocks=4, retry_ms_min=1, retry_ms_max=4, index_suffix_bytes=256)


class TagList:
    """A state machine that remembers every tag of each stream, in order."""

    def __init__(self) -> None:
        self.tags: dict[StreamId, list[tuple[int, int, bytes, bytes]]] = {}

    def apply(
        self, stream: StreamId, position: Position, n: int, epoch: int, time: int, tag: bytes, payload: Buffer
    ) -> None:
        kept = bytes(payload) if stream < STATE_STREAMS else b""
        self.tags.setdefault(stream, []).append((position, n, tag, kept))

    def snapshot(self, stream: StreamId) -> bytes:
        return repr(self.tags[stream]).encode() if stream in self.tags else b""

    def restore(self, stream: StreamId, data: bytes) -> None:
        self.tags[stream] = eval(data)

    def forget(self, stream: StreamId) -> None:
        self.tags.pop(stream, None)


class FaultyObjects:
    """An object store before the real one: `before` and `after` may raise or wait, by method and key."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.before: Callable[[str, str], Awaitable[None]] | None = None
        self.after: Callable[[str, str], Awaitable[None]] | None = None
        self.calls: list[tuple[str, str]] = []

    async def _around(self, method: str, key: str, call: Awaitable[bytes | None]) -> bytes | None:
        self.calls.append((method, key))
        try:
            if self.before is not None:
                await self.before(method, key)
        except BaseException:
            call.close()  # type: ignore[attr-defined]
            raise
        result = await call
        if self.after is not None:
            await self.after(method, key)
        return result

    async def put_if_absent(self, key: str, parts: Sequence[Buffer]) -> None:
        await self._around("put", key, self.store.put_if_absent(key, parts))

    async def get(self, key: str) -> bytes:
        return await self._around("get", key, self.store.get(key)) or b""

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        return await self._around("get", key, self.store.get_range(key, start, length)) or b""

    async def list(self, prefix: str, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        self.calls.append(("list", prefix))
        if self.before is not None:
            await self.before("list", prefix)
        async for info in self.store.list(prefix, start_after):
            yield info

    async def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            await self._around("delete", key, self.store.delete((key,)))

    async def close(self) -> None:
        pass


@dataclass
class World:
    """Stores that outlive nodes, and the nodes of one test."""

    objects: ObjectStore = field(default_factory=MemoryObjectStore)
    clock: ManualClock = field(default_factory=ManualClock)
    settings: LogSettings = SMALL
    seed: int = 0
    meta: MetaStore = field(init=False)
    logs: list[Log[TagList]] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.meta = MemoryMetaStore(self.clock)

    async def session(self, node: int = 0) -> Session:
        session = await Session.open(
            self.meta, node, ttl_s=600, clock=self.clock, random=random.Random(f"{self.seed}/{node}")
        )
        self.sessions.append(session)
        return session

    async def open(
        self,
        node: int = 0,
        *,
        objects: ObjectStore | None = None,
        session: Session | None = None,
        policy: GroupCommit | None = None,
        **settings: int,
    ) -> Log[TagList]:
        """Open the log as a node would, with caches of its own."""
        numbers = replace(self.settings, **settings)
        parts = NodeParts(
            objects=objects or self.objects,
            meta=self.meta,
            session=session or await self.session(node),
            hot=HotCache(numbers.cache_bytes_max),
            cold=ColdCache(numbers.cold_cache_bytes_max),
            budget=ByteBudget(numbers.buffer_bytes_max),
            clock=self.clock,
            random=random.Random(f"{self.seed}/{node}/{len(self.logs)}"),
            settings=numbers,
        )
        policy = policy or GroupCommit(flushes_in_flight_max=numbers.flushes_in_flight_max)
        log = await Log.open(LOG, parts, state=TagList, policy=policy)
        self.logs.append(log)
        return log

    async def kill(self, log: Log[TagList], session: Session) -> None:
        """The process is gone: nothing is handed over, its session has expired."""
        await log._writer.close()
        await log._tasks.close()
        await session.close()


@asynccontextmanager
async def world(**arguments: object) -> AsyncIterator[World]:
    """A world whose nodes all end with it."""
    made = World(**arguments)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        for log in made.logs:
            with suppress(WalError):
                await log.close()
        for session in made.sessions:
            with suppress(Unavailable):
                await session.close()
        await made.meta.close()


def data(text: str, n: int = 1, time: int = -1, tag: bytes = b"", group: int = 0) -> Entry:
    return Entry(text.encode(), n, time, tag, group)


async def read_all(log: Log[TagList], stream: StreamId, start: int = 0) -> bytes:
    """Everything durable of the stream from `start` on, read in steps."""
    read, position = b"", Position(start)
    while position < log.durable_end(stream):
        piece = await log.read(stream, position, 64)
        assert piece.end > position
        read += b"".join(piece.parts)
        position = piece.end
    return read
