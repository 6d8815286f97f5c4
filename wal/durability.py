"""Who waits for what: the one outcome of a flush, and the wake-ups when streams grow.

A flush is one block on its way to the store. All entries in it share its single outcome; waiting for it may
be cancelled without harm to anybody else.
"""

import asyncio
from collections.abc import Callable, Iterable

from wal.errors import WalError
from wal.types import StreamId


class Flush:
    """One flush, one outcome: durable, or failed with an error that everybody who waits is told."""

    __slots__ = ("_calls", "_failure", "_waiters", "done")

    def __init__(self) -> None:
        self.done = False
        self._failure: WalError | None = None
        self._calls: list[Callable[[], None]] = []
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def failure(self) -> WalError | None:
        """Why it was not told durable; None while it is under way, or when it is durable."""
        return self._failure

    def on_done(self, call: Callable[[], None]) -> None:
        """Call when the outcome is there, at once where it is already; `call` must not raise."""
        if self.done:
            call()
        else:
            self._calls.append(call)

    async def wait(self) -> None:
        """Return once all entries of the flush are durable and visible.

        Raises Fenced, Unavailable or Closed.
        """
        if not self.done:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self._failure is not None:
            raise type(self._failure)(*self._failure.args)

    def succeed(self) -> None:
        """All entries are durable. The first outcome stands."""
        self._finish(None)

    def fail(self, error: WalError) -> None:
        """The flush will not be told durable by this writer; whether it is, is unknown."""
        self._finish(error)

    def _finish(self, failure: WalError | None) -> None:
        if self.done:
            return
        self.done = True
        self._failure = failure
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        calls, self._calls = self._calls, []
        for call in calls:
            call()


class Watchers:
    """Callbacks by stream, called at each advance of the stream's durable end."""

    def __init__(self) -> None:
        self._by_stream: dict[StreamId, list[Callable[[], None]]] = {}

    def add(self, stream: StreamId, wake: Callable[[], None]) -> None:
        """Call `wake` whenever the stream grows, until removed."""
        self._by_stream.setdefault(stream, []).append(wake)

    def remove(self, stream: StreamId, wake: Callable[[], None]) -> None:
        """Undo one `add`; no error where there is none."""
        wakes = self._by_stream.get(stream)
        if wakes is None or wake not in wakes:
            return
        wakes.remove(wake)
        if not wakes:
            del self._by_stream[stream]

    def wake(self, streams: Iterable[StreamId]) -> None:
        """Call everybody who watches one of the streams."""
        if not self._by_stream:
            return
        for stream in streams:
            for wake in tuple(self._by_stream.get(stream, ())):
                wake()

    def wake_all(self) -> None:
        """Call everybody: the log was lost, and waiting longer has no sense."""
        self.wake(tuple(self._by_stream))
