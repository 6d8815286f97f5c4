"""The write path of one log: the open block, the flushes under way, their release in block order.

`append` never waits: it assigns the position and puts the entry into the open block. When to cut the block is
the flush policy's say. A cut block waits for a free place among the running flushes, gets its number, is
built and sent. What must hold:

- acknowledgements are released strictly in block order, and each flush has one outcome;
- without an answer the same bytes are sent again for as long as the log is ours; "exists" is read back and is
  ours only if the stored block is the one sent. A foreign block or a fence poisons the writer: everything
  pending fails, nothing more is accepted;
- the first block of a segment is sent only after every block of the segment before has landed, and only to a
  segment that this ownership has recorded. A late record lets the current segment grow on.
"""

import asyncio
import logging
import random as random_module
from collections import deque
from collections.abc import Callable
from typing import Protocol

from wal import keys
from wal.block import Block, BlockHeader, proof_range, same_write
from wal.block_build import BlockBuilder
from wal.budget import ByteBudget
from wal.clock import Clock
from wal.durability import Flush
from wal.errors import Closed, Fenced, Unavailable, WalError
from wal.flush_policy import FlushPolicy
from wal.objects.base import ObjectExists, ObjectMissing, ObjectStore
from wal.ownership import Ownership
from wal.segment import OpenSegment
from wal.settings import LogSettings
from wal.tasks import Backoff, TaskSet
from wal.types import Entry, Position, StreamId, TagKind

logger = logging.getLogger("drumlog.wal.writer")

ENTRY_COST = 64
"""Bytes that an entry costs in memory beside its payload and tag, for the budget."""


class Flight:
    """A block between its opening and its release."""

    __slots__ = (
        "block",
        "builder",
        "cost",
        "created_at",
        "ends",
        "flush",
        "landed",
        "n",
        "opened_at",
        "segment",
    )

    def __init__(self, created_at: int, opened_at: float) -> None:
        self.builder = BlockBuilder()
        self.flush = Flush()
        self.ends: dict[StreamId, Position] = {}
        self.created_at = created_at
        self.opened_at = opened_at
        self.cost = 0
        self.landed = False
        self.segment: OpenSegment | None = None
        self.n = -1
        self.block: Block | None = None


class WriterEvents(Protocol):
    """What the writer tells the log it works for; called on the event loop, not to raise."""

    def durable_block(self, flight: Flight) -> None:
        """The flight's block is durable and everything before it is, too: apply and show it."""

    def rolled(self, closed: OpenSegment) -> OpenSegment:
        """All blocks of `closed` are released: take it for sealing, and give the segment to write next."""

    def poisoned(self, error: WalError) -> None:
        """The writer accepts nothing more; everything pending was failed with `error`."""


class Writer:
    """The single writer of a log under one ownership."""

    def __init__(
        self,
        *,
        ownership: Ownership,
        objects: ObjectStore,
        writer_id: bytes,
        segment: OpenSegment,
        policy: FlushPolicy,
        settings: LogSettings,
        budget: ByteBudget,
        clock: Clock,
        random: random_module.Random,
        events: WriterEvents,
        durable_end: Callable[[StreamId], Position],
    ) -> None:
        self.ownership = ownership
        self.segment = segment
        self.failure: WalError | None = None
        self.refusal: WalError | None = None
        self._objects = objects
        self._writer_id = writer_id
        self._policy = policy
        self._settings = settings
        self._budget = budget
        self._clock = clock
        self._random = random
        self._events = events
        self._durable_end = durable_end
        self._loop = asyncio.get_running_loop()
        self._tasks = TaskSet()
        self._ends: dict[StreamId, Position] = {}
        self._open: Flight | None = None
        self._cut: deque[Flight] = deque()
        self._running: deque[Flight] = deque()
        self._next_recorded = False
        self._next_recording = False
        self._age_reached = False
        self._age_timer: asyncio.TimerHandle | None = None
        self._consider_timer: asyncio.TimerHandle | None = None
        self._consider_soon = False
        self._ask_bytes = settings.flush_bytes_max
        self._last_cut_at = self._loop.time()

    @property
    def idle(self) -> bool:
        """Nothing is pending."""
        return self._open is None and not self._cut and not self._running

    def append(self, stream: StreamId, entry: Entry, kind: TagKind) -> tuple[Position, Flight]:
        """Put the entry into the open block. Raises Fenced or Closed. See Log.append."""
        flight = self._open_block()
        position = self.appended_end(stream)
        flight.builder.add(stream, position, entry, kind)
        flight.ends[stream] = Position(position + entry.n)
        if entry.n:
            self._ends[stream] = flight.ends[stream]
        cost = len(entry.payload) + len(entry.tag) + ENTRY_COST
        flight.cost += cost
        self._budget.take(cost)
        if flight.builder.size >= self._settings.flush_bytes_max:
            self._cut_open()
        elif flight.builder.size >= self._ask_bytes:
            self._consider()
        return position, flight

    def appended_end(self, stream: StreamId) -> Position:
        """The position that the stream's next entry will get."""
        end = self._ends.get(stream)
        return self._durable_end(stream) if end is None else end

    def forget(self, stream: StreamId) -> None:
        """The stream's drop is durable. An open block that names the stream goes on where it is."""
        if self._open is None or stream not in self._open.ends:
            self._ends.pop(stream, None)

    def flush_of(self, stream: StreamId, position: Position) -> Flush | None:
        """The pending flush that holds the position; None where it is durable. Raises Fenced or Closed."""
        if position < self._durable_end(stream):
            return None
        if self.failure is not None:
            raise _again(self.failure)
        for flight in (*self._running, *self._cut):
            if position < flight.ends.get(stream, 0):
                return flight.flush
        return self._open.flush if self._open is not None else None

    def proof(self) -> Flush:
        """A flush whose PUT begins after this call: once durable, no one else owned the log then."""
        if self.refusal is not None:
            raise _again(self.refusal)
        if self._open is None and self._cut:
            return self._cut[-1].flush
        return self._open_block().flush

    def refuse(self, error: WalError) -> None:
        """Accept nothing more, and say why with `error`; what is pending goes on. The first one stands."""
        if self.refusal is None:
            self.refusal = error

    async def drain(self) -> None:
        """Send what is open and wait until nothing is pending. Raises what the last flush raises."""
        while not self.idle and self.failure is None:
            if self._open is not None:
                self._cut_open()
            last = (*self._running, *self._cut)[-1]
            await last.flush.wait()

    async def close(self) -> None:
        """Stop at once: what is pending fails with Closed."""
        self.poison(Closed("the log was closed"))
        await self._tasks.close()

    def poison(self, error: WalError) -> None:
        """Accept nothing more and fail everything pending with `error`. The first one stands."""
        if self.failure is not None:
            return
        self.failure = error
        self.refuse(error)
        pending = [*self._running, *self._cut, *([self._open] if self._open is not None else [])]
        self._running.clear()
        self._cut.clear()
        self._open = None
        for timer in (self._age_timer, self._consider_timer):
            if timer is not None:
                timer.cancel()
        self._tasks.cancel()
        for flight in pending:
            self._budget.give(flight.cost)
            flight.flush.fail(error)
        self._events.poisoned(error)

    # -- from the open block to a running flush

    def _open_block(self) -> Flight:
        if self.refusal is not None:
            raise _again(self.refusal)
        flight = self._open
        if flight is None:
            flight = self._open = Flight(self._clock.now_ms(), self._loop.time())
            self._ask_bytes = self._settings.flush_bytes_max
            if not self._consider_soon:
                self._consider_soon = True
                self._loop.call_soon(self._consider)
        return flight

    def _consider(self) -> None:
        """Ask the policy whether to cut the open block now."""
        self._consider_soon = False
        if self._consider_timer is not None:
            self._consider_timer.cancel()
            self._consider_timer = None
        flight = self._open
        if flight is None or self.failure is not None:
            return
        running = len(self._running) + len(self._cut)
        now = self._loop.time()
        decision = self._policy.decide(now, flight.builder.size, flight.opened_at, self._last_cut_at, running)
        if decision.cut:
            self._cut_open()
            return
        self._ask_bytes = decision.wait_bytes
        if decision.wait_until is not None:
            self._consider_timer = self._loop.call_at(decision.wait_until, self._consider)

    def _cut_open(self) -> None:
        flight = self._open
        assert flight is not None
        self._open = None
        self._last_cut_at = self._loop.time()
        self._policy.cut(self._last_cut_at, flight.builder.size)
        self._cut.append(flight)
        self._pump()

    def _pump(self) -> None:
        """Send cut blocks while there is a free place; roll the segment where it is due."""
        while self.failure is None:
            if self._roll_due():
                if not self._next_recorded:
                    self._record_next()
                elif self._running:
                    return
                else:
                    self._roll()
            if not self._cut or len(self._running) >= self._settings.flushes_in_flight_max:
                return
            self._send(self._cut.popleft())

    def _send(self, flight: Flight) -> None:
        segment = self.segment
        header = BlockHeader(
            log=self.ownership.log,
            segment=segment.number,
            n=segment.next_n,
            epoch=self.ownership.epoch,
            writer=self._writer_id,
            created_at=flight.created_at,
            previous_last=segment.previous_last,
            fence=False,
        )
        data = flight.builder.build(header)
        flight.builder = BlockBuilder()  # gives back the frames that the entries came in
        flight.block = Block.parse(data, verify=False)
        flight.segment = segment
        flight.n = segment.sent(len(data))
        self._running.append(flight)
        if segment.next_n == 1:
            self._age_timer = self._loop.call_later(self._settings.segment_ms / 1000, self._age)
        half_full = (
            segment.size * 2 >= self._settings.segment_bytes
            or segment.next_n * 2 >= self._settings.segment_blocks
        )
        if half_full and not self._next_recorded:
            self._record_next()
        self._tasks.spawn(self._put(flight, data), f"flush {segment.number}/{flight.n}")

    async def _put(self, flight: Flight, data: bytes) -> None:
        assert flight.segment is not None
        key = keys.block_key(self.ownership.log, flight.segment.number, flight.n)
        backoff = Backoff(self._settings.retry_ms_min, self._settings.retry_ms_max, self._random)
        try:
            while not await self._sent(key, data):
                await backoff.pause()
            flight.landed = True
            self._release()
        except WalError as error:
            self.poison(error)
        except Exception as error:
            logger.exception("flush of %s failed", key)
            self.poison(Unavailable(f"flush of {key} failed: {error!r}"))

    async def _sent(self, key: str, data: bytes) -> bool:
        """One try: True when the block is stored, False for no answer. Raises Fenced."""
        try:
            try:
                await self._objects.put_if_absent(key, (data,))
                return True
            except ObjectExists:
                found = await self._objects.get_range(key, *proof_range(data))
        except Unavailable as error:
            logger.warning("no answer from the object store for %s, trying again: %s", key, error)
            return False
        except ObjectMissing:
            return False
        if not same_write(data, found):
            raise Fenced(f"{key} was written by another owner of log {self.ownership.log}")
        return True

    def _release(self) -> None:
        """Show and acknowledge, in block order, every flight behind which nothing is missing."""
        while self._running and self._running[0].landed and self.failure is None:
            flight = self._running[0]
            assert flight.segment is not None
            flight.segment.released(flight.created_at)
            self._events.durable_block(flight)
            self._running.popleft()
            self._budget.give(flight.cost)
            flight.flush.succeed()
        self._pump()
        self._consider()

    # -- rolling

    def _roll_due(self) -> bool:
        segment = self.segment
        return segment.next_n > 0 and (
            self._age_reached
            or segment.size >= self._settings.segment_bytes
            or segment.next_n >= self._settings.segment_blocks
        )

    def _age(self) -> None:
        self._age_reached = True
        self._pump()

    def _roll(self) -> None:
        if self._age_timer is not None:
            self._age_timer.cancel()
            self._age_timer = None
        self._age_reached = False
        self._next_recorded = False
        self.segment = self._events.rolled(self.segment)

    def _record_next(self) -> None:
        """Record the segment after the current one, behind everybody's back, until it succeeds."""
        if not self._next_recording:
            self._next_recording = True
            self._tasks.spawn(self._recording(self.segment.number + 1), "record next segment")

    async def _recording(self, segment: int) -> None:
        backoff = Backoff(self._settings.retry_ms_min, self._settings.retry_ms_max, self._random)
        while True:
            try:
                await self.ownership.record_segment(segment)
                break
            except Unavailable as error:
                logger.warning("segment %d cannot be recorded yet: %s", segment, error)
                await backoff.pause()
            except WalError as error:
                self.poison(error)
                return
        self._next_recording = False
        self._next_recorded = True
        self._pump()


def _again(error: WalError) -> WalError:
    """The same error for another caller: exceptions carry a traceback and must not be shared."""
    return type(error)(*error.args)
