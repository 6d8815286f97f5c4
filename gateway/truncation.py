"""Truncation, now and then: every log of this node deletes the segments that retention has emptied."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from gateway.events import EventLog, describe
from wal.errors import WalError

LOG = EventLog(__name__)


class Truncating(Protocol):
    """What is asked of a log's truncator."""

    @property
    def step(self) -> Callable[[], Awaitable[bool]]:
        """Give one dead segment to the garbage; False when none is dead."""

    @property
    def sweep(self) -> Callable[[], Awaitable[int]]:
        """Delete the garbage that is due; gives the number of objects."""


class TruncatedLog(Protocol):
    """What is asked of a log."""

    @property
    def id(self) -> int:
        """Its number."""

    @property
    def truncator(self) -> Truncating:
        """What deletes its dead segments."""


async def keep_truncating(logs: Iterable[TruncatedLog], interval_s: float) -> None:
    """Truncate all logs, again and again, for ever. Ends only by cancellation."""
    while True:
        await asyncio.sleep(interval_s)
        await truncate(logs)


async def truncate(logs: Iterable[TruncatedLog]) -> None:
    """Delete what is dead now; what fails is left for the next time."""
    for log in logs:
        try:
            segments = 0
            while await log.truncator.step():
                segments += 1
            objects = await log.truncator.sweep()
        except WalError as failure:
            LOG.warning("truncation_failed", log=log.id, cause=describe(failure))
        else:
            if segments or objects:
                LOG.event("truncated", log=log.id, segments=segments, objects=objects)
