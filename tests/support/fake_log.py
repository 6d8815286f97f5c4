"""A log in memory with the public face of `wal.log.Log`, whose durability a test commands."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.state import GatewayState
from wal.durability import Flush, Watchers
from wal.errors import BeyondEnd, Trimmed, WalError
from wal.log import Appended
from wal.types import Entry, LogId, Position, Slice, StreamId


@dataclass(slots=True)
class Flight:
    """What one flush will make durable."""

    created_at: int
    flush: Flush = field(default_factory=Flush)
    entries: list[tuple[StreamId, Position, Entry]] = field(default_factory=list)


@dataclass(slots=True)
class Run:
    """Consecutive durable entries of one stream, read as a whole."""

    first: Position
    end: Position
    time_max: int
    payload: bytes


class FakeLog:
    """Appends stay in flight until `land` or `lose`. `cut` ends a block: what comes later flies separately.

    run_bytes: how many bytes of one block make a run. cold_below: positions that only `read` gives.
    read_error,
    proof_error: what `read` and `prove` raise. reading: `read` waits for it.
    """

    def __init__(self, state: Callable[[], GatewayState], *, log_id: int = 0, epoch: int = 1) -> None:
        self.id = LogId(log_id)
        self.epoch = epoch
        self.appended = state()
        self.durable = state()
        self.lost: asyncio.Future[WalError] = asyncio.get_running_loop().create_future()
        self.now_ms = 0
        self.run_bytes = 64 * 1024
        self.cold_below: dict[StreamId, int] = {}
        self.read_error: WalError | None = None
        self.proof_error: WalError | None = None
        self.reading = asyncio.Event()
        self.reading.set()
        self.reads = 0
        self.proofs = 0
        self.watchers = Watchers()
        self.retention: dict[StreamId, Position] = {}
        self.retention_calls: list[tuple[StreamId, int, int]] = []
        self._failure: WalError | None = None
        self._flights: list[Flight] = []
        self._open: Flight | None = None
        self._runs: dict[StreamId, list[Run]] = {}
        self._appended_ends: dict[StreamId, Position] = {}
        self._ends: dict[StreamId, Position] = {}
        self._starts: dict[StreamId, Position] = {}
        self._epochs: dict[StreamId, list[tuple[int, Position]]] = {}

    # -- what the test commands

    def cut(self) -> None:
        """What is appended from now on is in another flush."""
        self._open = None

    def land(self, flights: int | None = None) -> None:
        """The oldest flushes (all of them) become durable."""
        count = len(self._flights) if flights is None else flights
        for flight in self._flights[:count]:
            if flight is self._open:
                self._open = None
            grown = []
            for stream, position, entry in flight.entries:
                self._show(stream, position, entry)
                if entry.tag:
                    self.durable.apply(
                        stream, position, entry.n, self.epoch, flight.created_at, entry.tag, b""
                    )
                if stream not in grown:
                    grown.append(stream)
            self.watchers.wake(grown)
            flight.flush.succeed()
        del self._flights[:count]

    def lose(self, error: WalError) -> None:
        """Everything in flight fails; nothing more is taken."""
        self._failure = error
        flights, self._flights, self._open = self._flights, [], None
        for flight in flights:
            flight.flush.fail(error)
        self.watchers.wake_all()

    def begin_epoch(self, epoch: int) -> None:
        """As after a restart: the next entries are written under a new epoch."""
        self.epoch = epoch

    def set_start(self, stream: StreamId, start: int) -> None:
        """Trim, durably."""
        self._starts[stream] = Position(start)

    @property
    def watched(self) -> int:
        """How many callbacks are registered."""
        return sum(map(len, self.watchers._by_stream.values()))

    # -- the face of wal.log.Log

    def append(self, stream: StreamId, entry: Entry) -> Appended:
        if self._failure is not None:
            raise type(self._failure)(*self._failure.args)
        if self._open is None:
            self._open = Flight(self.now_ms)
            self._flights.append(self._open)
        position = self.appended_end(stream)
        self._open.entries.append((stream, position, entry))
        self._appended_ends[stream] = Position(position + entry.n)
        if entry.tag:
            self.appended.apply(
                stream, position, entry.n, self.epoch, self._open.created_at, entry.tag, entry.payload
            )
        return Appended(position, self._open.flush)

    def appended_end(self, stream: StreamId) -> Position:
        return self._appended_ends.get(stream, self.durable_end(stream))

    def durable_end(self, stream: StreamId) -> Position:
        return self._ends.get(stream, Position(0))

    def start(self, stream: StreamId) -> Position:
        return self._starts.get(stream, Position(0))

    def epochs(self, stream: StreamId) -> Sequence[tuple[int, Position]]:
        return self._epochs.get(stream, ())

    def flush_of(self, stream: StreamId, position: Position) -> Flush | None:
        for flight in self._flights:
            for other, first, entry in flight.entries:
                if other == stream and first <= position < first + entry.n:
                    return flight.flush
        return None

    def read_cached(self, stream: StreamId, position: Position, bytes_max: int) -> Slice | None:
        if self._at_end(stream, position):
            return Slice(position, position, [])
        if position < self.cold_below.get(stream, 0):
            return None
        return self._slice(stream, position, bytes_max)

    async def read(self, stream: StreamId, position: Position, bytes_max: int) -> Slice:
        self.reads += 1
        await self.reading.wait()
        if self.read_error is not None:
            raise self.read_error
        if self._at_end(stream, position):
            return Slice(position, position, [])
        return self._slice(stream, position, bytes_max)

    def watch(self, stream: StreamId, wake: Callable[[], None]) -> None:
        self.watchers.add(stream, wake)

    def unwatch(self, stream: StreamId, wake: Callable[[], None]) -> None:
        self.watchers.remove(stream, wake)

    def trim(self, stream: StreamId, position: Position) -> Flush:
        if self._failure is not None:
            raise type(self._failure)(*self._failure.args)
        self._starts[stream] = max(self.start(stream), position)
        flush = Flush()
        flush.succeed()
        return flush

    async def time_position(self, stream: StreamId, time: int) -> Position | None:
        start = self.start(stream)
        for run in self._runs.get(stream, ()):
            if run.time_max >= time and run.end > start:
                return max(run.first, start)
        return None

    async def time_max(self, stream: StreamId) -> tuple[int, Position]:
        runs = [run for run in self._runs.get(stream, ()) if run.end > self.start(stream)]
        newest = max(runs, key=lambda run: run.time_max, default=None)
        return (newest.time_max, newest.first) if newest else (-1, Position(-1))

    async def retention_position(self, stream: StreamId, time_before: int, bytes_max: int) -> Position:
        self.retention_calls.append((stream, time_before, bytes_max))
        if self.read_error is not None:
            raise self.read_error
        return self.retention.get(stream, Position(0))

    async def prove(self) -> None:
        self.proofs += 1
        if self.proof_error is not None:
            raise self.proof_error
        if self._failure is not None:
            raise self._failure

    # --

    def _show(self, stream: StreamId, position: Position, entry: Entry) -> None:
        epochs = self._epochs.setdefault(stream, [])
        if not epochs or epochs[-1][0] < self.epoch:
            epochs.append((self.epoch, position))
        runs = self._runs.setdefault(stream, [])
        payload = bytes(entry.payload)
        end = Position(position + entry.n)
        if runs and len(runs[-1].payload) + len(payload) <= self.run_bytes:
            last = runs[-1]
            last.payload += payload
            last.end, last.time_max = end, max(last.time_max, entry.time)
        else:
            runs.append(Run(position, end, entry.time, payload))
        self._ends[stream] = end

    def _at_end(self, stream: StreamId, position: Position) -> bool:
        if position < self.start(stream):
            raise Trimmed(self.start(stream))
        if position > self.durable_end(stream):
            raise BeyondEnd(self.durable_end(stream))
        return position == self.durable_end(stream)

    def _slice(self, stream: StreamId, position: Position, bytes_max: int) -> Slice:
        parts: list[memoryview] = []
        first = end = position
        for run in self._runs[stream]:
            if run.end <= position:
                continue
            if parts and len(run.payload) > bytes_max:
                break
            if not parts:
                first = run.first
            parts.append(memoryview(run.payload))
            end = run.end
            bytes_max -= len(run.payload)
            if bytes_max <= 0:
                break
        return Slice(first, end, parts)
