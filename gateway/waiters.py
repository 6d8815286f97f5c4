"""Requests that wait: producers for their flushes, consumers for records to come. Nothing here polls.

A producer waits for the outcome of a few flushes, a consumer until streams that it watches may hold enough
bytes; both no longer than their request allows. What must hold: whoever stops waiting, by time or because its
connection went away, leaves nothing behind in the log and harms nobody else who waits.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Generic, TypeVar

from gateway.state import GatewayState
from wal.durability import Flush
from wal.log import Log
from wal.types import Position, StreamId

AnswerT = TypeVar("AnswerT")


class FlushWait(Generic[AnswerT]):
    """One request that waits for flushes. `future` is done with the answer when all are, or the time is over.

    The answer is made at that moment by `answer`, which looks at each flush to see how it fared; so a
    time-out counts only for the flushes that are still under way. Costs no task.
    """

    __slots__ = ("_answer", "_missing", "_timer", "future")

    def __init__(self, flushes: Collection[Flush], timeout_ms: int, answer: Callable[[], AnswerT]) -> None:
        loop = asyncio.get_running_loop()
        self.future: asyncio.Future[AnswerT] = loop.create_future()
        self._answer = answer
        self._missing = len(flushes)
        self._timer = loop.call_later(max(timeout_ms, 0) / 1000, self._finish)
        for flush in flushes:
            flush.on_done(self._one_done)

    def _one_done(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._finish()

    def _finish(self) -> None:
        self._timer.cancel()
        if self.future.done():
            return
        try:
            self.future.set_result(self._answer())
        except Exception as error:
            self.future.set_exception(error)


class GrowthWait:
    """One request that waits until the streams it watches hold `bytes_min` more bytes, or so it seems.

    It may wake too early (bytes are counted as whole runs), never too late; who is woken looks for itself. It
    also wakes when a watched log is lost. `close` must follow.
    """

    def __init__(self, bytes_min: int) -> None:
        self.bytes_missing = bytes_min
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watched: list[_Watched] = []

    def watch(self, log: Log[GatewayState], stream: StreamId, end: Position, bytes_max: int) -> None:
        """Count what the stream gains beyond `end`, its durable end when looked at, up to `bytes_max`."""
        watched = _Watched(self, log, stream, end, bytes_max)
        self._watched.append(watched)
        log.watch(stream, watched.wake)
        if log.durable_end(stream) != end:
            watched.wake()

    async def until(self, seconds: float) -> None:
        """Return when woken, or after `seconds`."""
        timer = asyncio.get_running_loop().call_later(seconds, self.wake)
        try:
            await self._future
        finally:
            timer.cancel()

    def wake(self) -> None:
        """End the waiting."""
        if not self._future.done():
            self._future.set_result(None)

    def close(self) -> None:
        """Watch nothing any more."""
        for watched in self._watched:
            watched.log.unwatch(watched.stream, watched.wake)
        self._watched.clear()


class _Watched:
    """One stream that a GrowthWait watches, counted up to `end`."""

    __slots__ = ("bytes_left", "end", "log", "stream", "wait")

    def __init__(
        self, wait: GrowthWait, log: Log[GatewayState], stream: StreamId, end: Position, bytes_left: int
    ) -> None:
        self.wait = wait
        self.log = log
        self.stream = stream
        self.end = end
        self.bytes_left = bytes_left

    def wake(self) -> None:
        """The stream has grown, or its log was lost."""
        wait = self.wait
        end = self.log.durable_end(self.stream)
        if end == self.end or wait.bytes_missing <= 1:
            wait.wake()
            return
        if self.bytes_left <= 0:
            return
        gained = self.log.read_cached(self.stream, self.end, self.bytes_left)
        if gained is None:
            wait.wake()
            return
        count = min(sum(map(len, gained.parts)), self.bytes_left)
        self.end = end
        self.bytes_left -= count
        wait.bytes_missing -= count
        if wait.bytes_missing <= 0:
            wait.wake()
