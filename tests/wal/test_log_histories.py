"""Whole lives of a log under a seeded simulation: several nodes, faults in both stores, zombies, truncation.

Everything runs in virtual time on one event loop, so one seed gives one trace. What is read is compared with
a reference model that knows what was sent and what was acknowledged, and nothing of blocks or segments.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from tests.support.logs import FaultyObjects, TagList, World, world
from wal.durability import Flush
from wal.errors import BeyondEnd, Closed, Corrupt, Fenced, Trimmed, Unavailable, WalError
from wal.log import Log
from wal.meta.base import Change, Compare, KeyValue, Lease, MetaStore, Operation, TxnResult
from wal.session import Session
from wal.types import Entry, Position, StreamId

WIDTH = 6
STEPS = 160
STATE = (StreamId(3), StreamId(7))
FIRST_DATA = 1024


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer as soon as there is nothing else to do."""

    def __init__(self) -> None:
        self._virtual_now = 0.0
        super().__init__()

    def time(self) -> float:
        return self._virtual_now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self._virtual_now = max(self._virtual_now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


class FaultyMeta:
    """A MetaStore that now and then gives no answer, before or after it has done what was asked."""

    def __init__(self, meta: MetaStore, fault: Callable[[str, str], None]) -> None:
        self._meta = meta
        self._fault = fault

    async def get(self, key: str) -> KeyValue | None:
        self._fault("meta get", key)
        return await self._meta.get(key)

    async def list(self, prefix: str) -> tuple[Sequence[KeyValue], int]:
        self._fault("meta list", prefix)
        return await self._meta.list(prefix)

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        name = " ".join(type(one).__name__ + str(one[0])[-8:] for one in operations)
        self._fault("meta txn", name)
        await asyncio.sleep(0)
        result = await self._meta.txn(compares, operations)
        await asyncio.sleep(0)
        self._fault("meta did", f"{name} {result.succeeded} {result.revision}")
        return result

    def watch(self, prefix: str, after: int) -> AsyncIterator[Change]:
        return self._meta.watch(prefix, after)

    async def lease(self, ttl_s: float) -> Lease:
        return await self._meta.lease(ttl_s)

    async def close(self) -> None:
        await self._meta.close()


@dataclass
class Sent:
    """One entry as it was appended, by its serial number."""

    stream: StreamId
    n: int
    time: int


@dataclass
class Model:
    """What clients know: what they sent, what was acknowledged, what they read."""

    sent: dict[int, Sent] = field(default_factory=dict)
    acked: dict[StreamId, dict[int, int]] = field(default_factory=dict)
    starts_acked: dict[StreamId, int] = field(default_factory=dict)
    starts_tried: dict[StreamId, int] = field(default_factory=dict)
    dropped: dict[StreamId, bool] = field(default_factory=dict)

    def add(self, stream: StreamId, n: int, time: int) -> int:
        serial = len(self.sent)
        self.sent[serial] = Sent(stream, n, time)
        return serial

    def check_piece(
        self, stream: StreamId, first: int, parts: Sequence[bytes | memoryview]
    ) -> dict[int, int]:
        """The serials of a slice by position: of this stream, in order, what was acked in its place."""
        text = b"".join(parts)
        serials = [int(text[at : at + WIDTH]) for at in range(0, len(text), WIDTH)]
        assert serials == sorted(set(serials))
        found: dict[int, int] = {}
        for serial in serials:
            assert self.sent[serial].stream == stream
            found[first] = serial
            first += self.sent[serial].n
        acked = self.acked.get(stream, {})
        assert all(acked.get(position, serial) == serial for position, serial in found.items())
        return found


@dataclass
class Node:
    """A log that is open, or was: its owner may have lost it and not know."""

    log: Log[TagList]
    session: Session
    busy: asyncio.Task[None] | None = None


class History:
    """One seed's life of a log."""

    def __init__(self, w: World, seed: int) -> None:
        self.w = w
        self.rng = random.Random(seed)
        self.model = Model()
        self.trace: list[str] = []
        self.faults = self.rng.choice([0.0, 0.03, 0.12])
        self.nodes: list[Node] = []
        self.streams = [StreamId(FIRST_DATA + i * 700) for i in range(4)]
        self.waiters: list[asyncio.Task[None]] = []
        self.opened = 0
        w.meta = FaultyMeta(w.meta, self.fault)

    def fault(self, what: str, key: str) -> None:
        self.trace.append(f"{what} {key}")
        if self.rng.random() < self.faults:
            raise Unavailable("fault")

    async def run(self) -> None:
        await self.take_over()
        for _ in range(STEPS):
            await self.rng.choices(*zip(*self.actions(), strict=True))[0]()
            if self.rng.random() < 0.5:
                await passes(self.rng.choice([0, 0, 0, 0.001, 0.01]))
        await self.end()

    def actions(self) -> list[tuple[Callable[[], object], int]]:
        return [
            (self.append, 60),
            (self.read, 12),
            (self.look_up, 6),
            (self.trim, 5),
            (self.maintain, 8),
            (self.advance, 3),
            (self.drop, 1),
            (self.cancel_waiter, 4),
            (self.take_over, 3),
            (self.acquire_again, 2),
            (self.close_orderly, 2),
            (self.kill, 1),
        ]

    # -- owners

    async def take_over(self) -> None:
        """A new node takes the log; the last owner's session has ended, and its process may go on."""
        for node in self.nodes:
            await node.session.close()
        for zombie in self.nodes[:-2]:
            await self.w.kill(zombie.log, zombie.session)
            self.nodes.remove(zombie)
        await self.open(await self.session())

    async def session(self) -> Session:
        faults, self.faults = self.faults, 0.0
        session = await self.w.session(self.opened)
        self.faults = faults
        return session

    async def open(self, session: Session) -> None:
        for _ in range(500):
            objects = FaultyObjects(self.w.objects)
            objects.before = objects.after = self.around
            self.opened += 1
            try:
                log = await self.w.open(
                    self.opened,
                    objects=objects,
                    session=session,
                    segment_blocks=self.rng.choice([1, 2, 4, 100]),
                    flushes_in_flight_max=self.rng.choice([1, 3, 8]),
                    cache_bytes_max=self.rng.choice([0, 800, 1 << 20]),
                    cold_cache_bytes_max=self.rng.choice([1, 2000, 1 << 20]),
                    segment_ms=self.rng.choice([5, 600_000]),
                )
            except Unavailable:
                continue
            assert log.durable.tags == log.appended.tags
            self.nodes.append(Node(log, session))
            return
        raise AssertionError("the log could not be opened")

    async def around(self, method: str, key: str) -> None:
        for _ in range(self.rng.randrange(4)):
            await asyncio.sleep(0)
        if self.rng.random() < 0.05:
            await passes(0.005)
        self.fault(method, key)

    async def acquire_again(self) -> None:
        node = self.nodes.pop()
        node.log._writer.poison(Unavailable("test"))
        session = node.session if node.session.alive() else await self.session()
        try:
            await self.open(session)
        except Fenced:  # its session ran out by the store's clock
            await node.session.close()
            await self.open(await self.session())

    async def close_orderly(self) -> None:
        node = self.nodes[-1]
        closing = asyncio.create_task(node.log.close())
        for _ in range(self.rng.randrange(8)):
            await asyncio.sleep(0)
            await self.append(node)
        await closing
        await self.take_over()

    async def kill(self) -> None:
        node = self.nodes.pop()
        await self.w.kill(node.log, node.session)
        await self.take_over()

    # -- clients

    def any_node(self) -> Node:
        return self.nodes[-1] if self.rng.random() < 0.8 else self.rng.choice(self.nodes)

    async def append(self, node: Node | None = None) -> None:
        log = (node or self.any_node()).log
        with suppress(WalError):
            for _ in range(self.rng.choice([1, 1, 2, 5])):
                stream = self.rng.choice([*self.streams, *STATE])
                n, time = self.rng.randint(1, 3), self.rng.randint(0, 50)
                serial = self.model.add(stream, n, time)
                text = b"%06d" % serial
                tag = text if stream in STATE or self.rng.random() < 0.5 else b""
                position, flush = log.append(stream, Entry(text, n, time, tag))
                acked = self.model.acked.setdefault(stream, {})
                self.wait(flush, lambda a=acked, p=position, s=serial: a.__setitem__(p, s))  # type: ignore[misc]

    def wait(self, flush: Flush, acknowledged: Callable[[], None]) -> None:
        async def waiting() -> None:
            with suppress(WalError):
                await flush.wait()
                acknowledged()

        self.waiters.append(asyncio.create_task(waiting()))

    async def cancel_waiter(self) -> None:
        if self.waiters:
            self.rng.choice(self.waiters).cancel()

    async def trim(self) -> None:
        log, stream = self.any_node().log, self.rng.choice(self.streams)
        end = log.appended_end(stream)
        position = self.rng.randint(0, end + 2)
        with suppress(WalError):
            flush = log.trim(stream, Position(position))
            position = min(position, end)
            tried, acked = self.model.starts_tried, self.model.starts_acked
            tried[stream] = max(tried.get(stream, 0), position)
            self.wait(flush, lambda: acked.__setitem__(stream, max(acked.get(stream, 0), position)))

    async def drop(self) -> None:
        """A dropped stream is replaced by one with a new id."""
        log, at = self.nodes[-1].log, self.rng.randrange(len(self.streams))
        stream = self.streams[at]
        with suppress(WalError):
            flush = log.drop(stream)
            self.streams[at] = StreamId(stream + 1)
            self.model.dropped[stream] = False
            self.wait(flush, lambda: self.model.dropped.__setitem__(stream, True))

    async def read(self) -> None:
        log, stream = self.any_node().log, self.rng.choice(self.streams)
        position = Position(self.rng.randint(0, log.durable_end(stream) + 1))
        try:
            piece = await log.read(stream, position, self.rng.choice([1, 30, 1000]))
        except (Trimmed, BeyondEnd, Unavailable, Fenced, Closed):
            return
        found = self.model.check_piece(stream, piece.first, piece.parts)
        assert not found or piece.first <= position < piece.end

    async def look_up(self) -> None:
        log, stream = self.nodes[-1].log, self.rng.choice(self.streams)
        with suppress(Unavailable, Fenced, Closed):
            if self.rng.random() < 0.5:
                await log.retention_position(stream, self.rng.randint(-1, 60), self.rng.choice([-1, 100]))
            await log.time_position(stream, self.rng.randint(0, 50))
            assert await log.size(stream) >= 0

    # -- time

    async def advance(self) -> None:
        self.w.clock.advance(self.rng.choice([30, 120, 400, 8 * 24 * 3600]))

    async def maintain(self) -> None:
        node = self.any_node()
        if node.busy is None or node.busy.done():
            node.busy = asyncio.create_task(self.truncate(node))

    async def truncate(self, node: Node) -> None:
        try:
            while await node.log.truncator.step():
                pass
            await node.log.truncator.sweep()
        except (Fenced, Unavailable):
            pass
        except Corrupt:  # what a new owner deleted is missing to an old one
            assert node is not self.nodes[-1]

    # -- the end

    async def end(self) -> None:
        self.faults = 0.0
        for node in self.nodes:
            await self.w.kill(node.log, node.session)
            if node.busy is not None:
                await node.busy
        await asyncio.gather(*self.waiters, return_exceptions=True)
        await self.open(await self.session())
        log = self.nodes[-1].log
        for stream in sorted({one.stream for one in self.model.sent.values()} - set(STATE)):
            if self.model.dropped.get(stream):
                assert log._view.streams.get(stream) is None and stream not in log.durable.tags
            elif stream not in self.model.dropped:
                await self.check_stream(log, stream)
        for stream in STATE:
            self.check_state(log, stream)
        await self.truncate(self.nodes[-1])
        for stream in self.streams:
            await self.check_stream(log, stream)
        self.trace.append(repr(log.durable.tags))

    async def check_stream(self, log: Log[TagList], stream: StreamId) -> None:
        model = self.model
        start, end = log.start(stream), log.durable_end(stream)
        assert model.starts_acked.get(stream, 0) <= start <= model.starts_tried.get(stream, 0)
        found: dict[int, int] = {}
        position = start
        while position < end:
            piece = await log.read(stream, position, self.rng.choice([1, 50, 5000]))
            assert piece.first <= position < piece.end
            found |= model.check_piece(stream, piece.first, piece.parts)
            position = piece.end
        ordered = sorted(found)
        assert [found[p] for p in ordered] == sorted(found.values())
        ends = [p + model.sent[found[p]].n for p in ordered]
        assert ordered[1:] == ends[:-1] and (not ends or ends[-1] == end)
        for at, serial in model.acked.get(stream, {}).items():
            assert at < start or found[at] == serial
        left = {p: model.sent[found[p]].time for p in ordered if p >= start}
        await self.check_times(log, stream, left)

    async def check_times(self, log: Log[TagList], stream: StreamId, left: dict[int, int]) -> None:
        start = log.start(stream)
        for time in range(0, 52, 3):
            answer = await log.time_position(stream, time)
            first = min((p for p, t in left.items() if t >= time), default=None)
            if first is None or answer == start:
                continue  # the first run may hold, below the start, a time that is searched for
            assert answer is not None and start <= answer <= first
            assert first < (await log.read(stream, answer, 1)).end
        time_max, position = await log.time_max(stream)
        if time_max >= 0:
            assert left[position] == time_max
        size = await log.size(stream)
        assert WIDTH * len(left) <= size <= WIDTH * sum(s.stream == stream for s in self.model.sent.values())

    def check_state(self, log: Log[TagList], stream: StreamId) -> None:
        rows = log.durable.tags.get(stream, [])
        serials = [int(tag) for _, _, tag, _ in rows]
        assert serials == sorted(set(serials))
        assert all(
            payload == tag and self.model.sent[int(tag)].stream == stream for _, _, tag, payload in rows
        )
        places = {position: int(tag) for position, _, tag, _ in rows}
        assert all(places[p] == serial for p, serial in self.model.acked.get(stream, {}).items())


async def passes(seconds: float) -> None:
    """Virtual time passes."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()


def live(seed: int) -> list[str]:
    """Live through the history of a seed; its trace."""

    async def lives() -> list[str]:
        async with world(seed=seed) as w:
            history = History(w, seed)
            try:
                await history.run()
            finally:
                history.faults = 0.0
            return history.trace

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(lives())


@pytest.mark.parametrize("seed", range(10))
def test_any_history_keeps_the_laws(seed: int) -> None:
    live(seed)


def test_a_seed_has_one_trace() -> None:
    assert live(77) == live(77)
