"""The log: append, read, trim, durable end, close. The whole public face of a log that this node owns.

A `Log` is one ownership: it is opened by acquiring the log and replaying it, and ends when it is closed, or
lost to another owner (`lost`); to go on, open it again. Two views stand side by side: `appended`, ahead of
durability, which checks new entries, and `durable`, as far as blocks were released, which readers see and
checkpoints are made of.
"""

import asyncio
import logging
import random as random_module
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from wal.block import TagRow
from wal.budget import ByteBudget
from wal.cache import BlockName, ColdCache, HotCache
from wal.clock import Clock
from wal.durability import Flush, Watchers
from wal.errors import BeyondEnd, Closed, Corrupt, Trimmed, Unavailable, WalError
from wal.flush_policy import FlushPolicy
from wal.history import History
from wal.maintenance.seal import Sealer
from wal.maintenance.truncate import Truncator
from wal.manifest import SegmentRecord
from wal.meta.base import MetaStore
from wal.objects.base import ObjectStore
from wal.objects.retrying import RetryingObjectStore
from wal.ownership import Acquired, acquire
from wal.reader import Reader
from wal.recovery import Replayed, replay
from wal.segment import OpenSegment
from wal.session import Session
from wal.settings import LogSettings
from wal.tasks import Backoff, TaskSet
from wal.types import STATE_STREAMS, Buffer, Entry, LogId, Position, Slice, StreamId, TagKind
from wal.view import DurableView, StateT, start_tag
from wal.writer import Flight, Writer

logger = logging.getLogger("drumlog.wal.log")

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class NodeParts:
    """What all logs of a node share: stores, caches, the bound on buffered bytes, clock and randomness."""

    objects: ObjectStore
    meta: MetaStore
    session: Session
    hot: HotCache
    cold: ColdCache
    budget: ByteBudget
    clock: Clock
    random: random_module.Random
    settings: LogSettings


class Appended(NamedTuple):
    """Where an entry was put, and the flush that makes it durable."""

    position: Position
    flush: Flush


@dataclass(frozen=True, slots=True)
class _Recovered(Generic[StateT]):
    """A log acquired and replayed: all that a new `Log` begins with. `objects` repeats its reads."""

    acquired: Acquired
    objects: ObjectStore
    history: History
    view: DurableView[StateT]
    appended: StateT
    replayed: Replayed


class Log(Generic[StateT]):
    """One log, owned. Made by `open`."""

    @classmethod
    async def open(
        cls, log: LogId, parts: NodeParts, *, state: Callable[[], StateT], policy: FlushPolicy
    ) -> "Log[StateT]":
        """Acquire the log under a new epoch, fence earlier owners, replay.

        Raises Fenced while a living session owns it, Unavailable where a store does not answer (repeat),
        Corrupt.
        """
        writer_id = parts.random.randbytes(16)
        ms_min, ms_max = parts.settings.retry_ms_min, parts.settings.retry_ms_max
        objects = RetryingObjectStore(
            parts.objects, random=parts.random, retry_ms_min=ms_min, retry_ms_max=ms_max
        )
        acquired = await acquire(
            log,
            objects=objects,
            meta=parts.meta,
            session=parts.session,
            writer=writer_id,
            now_ms=parts.clock.now_ms(),
            pauses=Backoff(ms_min, ms_max, parts.random),
        )
        history = History(log, objects, parts.cold, acquired.sealed)
        view, appended = DurableView(state()), state()
        replayed = await replay(
            log,
            objects=objects,
            history=history,
            found=acquired.found,
            view=view,
            appended=appended,
            settings=parts.settings,
        )
        return cls(_Recovered(acquired, objects, history, view, appended, replayed), parts, policy, writer_id)

    def __init__(
        self, recovered: _Recovered[StateT], parts: NodeParts, policy: FlushPolicy, writer_id: bytes
    ) -> None:
        """Use `open`."""
        acquired, view, history = recovered.acquired, recovered.view, recovered.history
        ownership = acquired.ownership
        self.id = ownership.log
        self.epoch = ownership.epoch
        self.appended = recovered.appended
        self.durable = view.state
        self.lost: asyncio.Future[WalError] = asyncio.get_running_loop().create_future()
        self._parts = parts
        self._ownership = ownership
        self._view = view
        self._history = history
        self._watchers = Watchers()
        self._tasks = TaskSet()
        self._meta_answers = True
        first = OpenSegment(
            SegmentRecord(segment=acquired.first_segment, epoch=self.epoch),
            previous_last=acquired.previous_last,
        )
        self._unsealed = [*(segment for segment, _ in recovered.replayed.closed), first]
        self._reader = Reader(
            log=self.id,
            objects=recovered.objects,
            hot=parts.hot,
            cold=parts.cold,
            history=history,
            unsealed=self._unsealed,
        )
        self._sealer = self._new_sealer(recovered)
        self._writer = Writer(
            ownership=ownership,
            objects=parts.objects,
            writer_id=writer_id,
            segment=first,
            policy=policy,
            settings=parts.settings,
            budget=parts.budget,
            clock=parts.clock,
            random=parts.random,
            events=self,
            durable_end=self.durable_end,
        )
        self.truncator = Truncator(
            ownership=ownership,
            objects=recovered.objects,
            meta=parts.meta,
            history=history,
            streams=view.streams,
            clock=parts.clock,
        )
        self._tasks.spawn(self._seal(), f"sealer of log {self.id}")

    def _new_sealer(self, recovered: _Recovered[StateT]) -> Sealer:
        """A sealer that begins with the segments that recovery found."""
        sealer = Sealer(
            ownership=self._ownership,
            objects=self._parts.objects,
            history=self._history,
            chunks=recovered.replayed.chunks,
            settings=self._parts.settings,
            random=self._parts.random,
            sealed=self._unsealed.remove,
        )
        for segment, capture in recovered.replayed.closed:
            sealer.add(segment, capture)
        return sealer

    # -- writing

    def append(self, stream: StreamId, entry: Entry) -> Appended:
        """Assign the entry its position, in call order, and put it into the open block; await the flush for
        durability.

        The entry's tag is applied to `appended` at once. Raises Fenced, Unavailable or Closed when the log is
        not ours any more.
        """
        position, flight = self._writer.append(stream, entry, TagKind.DATA)
        if entry.tag:
            payload = entry.payload if stream < STATE_STREAMS else b""
            self.appended.apply(stream, position, entry.n, self.epoch, flight.created_at, entry.tag, payload)
        return Appended(position, flight.flush)

    def trim(self, stream: StreamId, position: Position) -> Flush:
        """The stream begins at `position` once the flush is durable; never lower than before, never above its
        end.
        """
        # Bounded here, since the block may bring the stream more entries by the time it is applied.
        entry = Entry(b"", 0, tag=start_tag(min(position, self.appended_end(stream))))
        return self._writer.append(stream, entry, TagKind.TRIM)[1].flush

    def drop(self, stream: StreamId) -> Flush:
        """The stream is gone for good once the flush is durable; nothing may be appended to it again."""
        flight = self._writer.append(stream, Entry(b"", 0), TagKind.DROP)[1]
        flight.flush.on_done(lambda: self._writer.forget(stream))
        self.appended.forget(stream)
        return flight.flush

    def appended_end(self, stream: StreamId) -> Position:
        """The position that the next entry appended to the stream will get."""
        return self._writer.appended_end(stream)

    def flush_of(self, stream: StreamId, position: Position) -> Flush | None:
        """The pending flush that an appended position waits for; None where it is durable.

        Raises what an append would raise when the log is lost and the position was not durable before.
        """
        return self._writer.flush_of(stream, position)

    async def room(self) -> None:
        """Return when more may be appended: the node's buffers have room and sealing is not too far behind.

        While the metadata store is away segments cannot be sealed; then only the buffers count.
        """
        await self._parts.budget.room()
        await self.caught_up()

    async def caught_up(self) -> None:
        """Return when the log is not `crowded`. Who waits may hold buffers: only the sealing counts here."""
        while self.crowded:
            await self._sealer.progressed()

    @property
    def crowded(self) -> bool:
        """Sealing is too far behind for more appends."""
        if not self._meta_answers or self.lost.done():
            return False
        settings = self._parts.settings
        behind = len(self._sealer) >= settings.segments_unsealed_max
        return behind or self._sealer.blocks >= settings.blocks_unsealed_max

    # -- reading

    def durable_end(self, stream: StreamId) -> Position:
        """The position after the last durable entry: consumers see what lies below."""
        facts = self._view.streams.get(stream)
        return Position(facts.end if facts else 0)

    def start(self, stream: StreamId) -> Position:
        """The position of the first entry that is not trimmed, as far as trims are durable."""
        facts = self._view.streams.get(stream)
        return Position(facts.start if facts else 0)

    def epochs(self, stream: StreamId) -> Sequence[tuple[int, Position]]:
        """The epochs under which the stream was written: (epoch, first position), ascending."""
        facts = self._view.streams.get(stream)
        return facts.epoch_pairs() if facts else ()

    def read_cached(self, stream: StreamId, position: Position, bytes_max: int) -> Slice | None:
        """As `read`, but from memory alone and at once; None where memory does not hold it.

        At the end: an empty slice.
        """
        if self._at_end(stream, position):
            return Slice(position, position, [])
        return self._reader.read_cached(stream, position, bytes_max)

    async def read(self, stream: StreamId, position: Position, bytes_max: int) -> Slice:
        """Whole entries from the run that holds `position` on, at least one run, up to about `bytes_max`.

        At the durable end the slice is empty. Raises Trimmed, BeyondEnd, Corrupt or Unavailable, and Fenced
        where the log has a new owner that truncated it.
        """

        async def look() -> Slice:
            found = self.read_cached(stream, position, bytes_max)
            return found if found is not None else await self._reader.read(stream, position, bytes_max)

        return await self._looked_up(look)

    def watch(self, stream: StreamId, wake: Callable[[], None]) -> None:
        """Call `wake` whenever the stream's durable end advances, or the log is lost, until `unwatch`."""
        self._watchers.add(stream, wake)

    def unwatch(self, stream: StreamId, wake: Callable[[], None]) -> None:
        """Undo one `watch`."""
        self._watchers.remove(stream, wake)

    async def time_position(self, stream: StreamId, time: int) -> Position | None:
        """First position of the earliest run that holds an entry with a time of at least `time`; None for
        none.
        """

        async def look() -> Position | None:
            facts = self._view.streams.get(stream)
            if facts is None or facts.time_max < time:
                return None
            return await self._reader.time_position(stream, time, Position(facts.start), Position(facts.end))

        return await self._looked_up(look)

    async def time_max(self, stream: StreamId) -> tuple[int, Position]:
        """The stream's largest time and the first position of the entry with it; (-1, -1) for none."""

        async def look() -> tuple[int, Position]:
            facts = self._view.streams.get(stream)
            if facts is None or facts.start >= facts.end:
                return -1, Position(-1)
            if facts.time_max_position >= facts.start:
                return facts.time_max, Position(facts.time_max_position)
            return await self._reader.time_max(stream, Position(facts.start))

        return await self._looked_up(look)

    async def size(self, stream: StreamId) -> int:
        """Bytes of the stream that are kept, counting whole segments."""

        async def look() -> int:
            facts = self._view.streams.get(stream)
            if facts is None:
                return 0
            size = facts.size
            return size - await self._reader.size_before(stream, Position(facts.start))

        return await self._looked_up(look)

    async def retention_position(self, stream: StreamId, time_before: int, bytes_max: int) -> Position:
        """Where the stream may be trimmed to, in whole segments: older than `time_before` (ms) or beyond
        `bytes_max`.

        -1 stands for no limit. Never above the end of the sealed segments; may lie below the start.
        """

        async def look() -> Position:
            facts = self._view.streams.get(stream)
            if facts is None or facts.start >= facts.end or (time_before < 0 and bytes_max < 0):
                return Position(0)
            return await self._reader.retention_position(stream, facts, time_before, bytes_max)

        return await self._looked_up(look)

    async def prove(self) -> None:
        """Return once it is certain that nobody else owned the log at some moment after this call began.

        A live lease is proof; without one a block must land, an empty one if need be, shared by all who wait.
        Raises Fenced, Unavailable or Closed.
        """
        if self._writer.refusal is not None or not self._parts.session.alive():
            await self._writer.proof().wait()

    # -- the end

    async def close(self) -> None:
        """Flush, seal and give the log up, so that the next owner has nothing to recover.

        Nothing is accepted from the call on: what came after the last block is sealed would be lost.
        What cannot be done for want of a store is left to recovery: nothing acknowledged depends on it.
        Cancellation is safe.
        """
        try:
            self._writer.refuse(Closed("the log was closed"))
            if self._writer.failure is None:
                await self._writer.drain()
            if self._writer.failure is None:
                # Ends the timers and tasks that could still roll the segment that is handed over.
                await self._writer.close()
                await self._hand_over()
        except WalError as error:
            logger.warning(
                "log %d was not handed over in order, the next owner recovers it: %s", self.id, error
            )
        finally:
            await self._writer.close()
            await self._tasks.close()

    async def _hand_over(self) -> None:
        await self._tasks.close()
        current = self._writer.segment
        empty = [current.number + 1]
        if current.next_n:
            self._sealer.add(current, self._view.capture(current.number))
        else:
            empty.append(current.number)
        while await self._sealer.step():
            pass
        await self._ownership.release(current.number + 2, empty)

    async def _looked_up(self, look: Callable[[], Awaitable[Found]]) -> Found:
        """What `look` finds; once more where truncation took segments away while it was looking.

        Objects that a new owner of the log deleted are missing, too: then it raises what `prove` raises.
        """
        while True:
            removals = self._history.removals
            try:
                return await look()
            except Corrupt:
                if self._history.removals == removals:
                    await self.prove()
                    raise

    def _at_end(self, stream: StreamId, position: Position) -> bool:
        facts = self._view.streams.get(stream)
        start, end = (facts.start, facts.end) if facts else (0, 0)
        if position < start:
            raise Trimmed(start)
        if position > end:
            raise BeyondEnd(end)
        return position == end

    # -- what the writer tells (WriterEvents)

    def durable_block(self, flight: Flight) -> None:
        """A block and all before it are durable: show it to readers and state."""
        block, segment = flight.block, flight.segment
        assert block is not None and segment is not None

        def payload_of(row: TagRow) -> Buffer:
            return block.payload(row)

        grown = self._view.apply(block.index, flight.n, segment.directory, payload_of)
        self._parts.hot.put(BlockName(self.id, segment.number, flight.n), block)
        self._watchers.wake(grown)

    def rolled(self, closed: OpenSegment) -> OpenSegment:
        """All blocks of `closed` are released: have it sealed, go on with the next."""
        self._sealer.add(closed, self._view.capture(closed.number))
        following = OpenSegment(
            SegmentRecord(segment=closed.number + 1, epoch=self.epoch), previous_last=closed.last
        )
        self._unsealed.append(following)
        return following

    def poisoned(self, error: WalError) -> None:
        """The log is lost: nobody may go on waiting for it."""
        if not self.lost.done():
            self.lost.set_result(error)
        self._sealer.tried()
        self._watchers.wake_all()

    async def _seal(self) -> None:
        """Seal what is closed, one segment after the other, for as long as the log is ours."""
        backoff = Backoff(
            self._parts.settings.retry_ms_min, self._parts.settings.retry_ms_max, self._parts.random
        )
        while True:
            await self._sealer.arrived()
            try:
                await self._sealer.step()
                self._meta_answers = True
                backoff.reset()
            except Unavailable as error:
                self._meta_answers = False
                self._sealer.tried()
                logger.warning("log %d cannot seal a segment yet: %s", self.id, error)
                await backoff.pause()
            except WalError as error:
                self._writer.poison(error)
                return
            except Exception as error:
                logger.exception("sealing of log %d failed", self.id)
                self._writer.poison(Unavailable(f"sealing failed: {error!r}"))
                return
