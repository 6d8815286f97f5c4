"""What the connections of a node share, and what one request is on its way through a connection."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.context import Context
from gateway.dispatch import Answer, Route
from gateway.events import Throttle
from protocol import frames
from protocol.versions import ApiKey
from wal.budget import ByteBudget

if TYPE_CHECKING:
    from gateway.connection import Connection

RECEIVE_BYTES = 64 * 1024


class ConnectionLimits(NamedTuple):
    """What one connection may use; where one is reached, reading stops.

    requests_in_flight_max: requests begun or waiting to begin whose answers are not written yet.
    answer_bytes_max: answer bytes that the peer has not taken yet, before nothing more is begun or written.
    idle_s_max: a connection that has sent nothing for this long, and waits for nothing, is closed.
    stall_s_max: the same for one that has sent a part of a request and nothing since.
    close_s_max: how long a peer may take to take the last answers and to close its side.
    """

    requests_in_flight_max: int = 128
    answer_bytes_max: int = 1024 * 1024
    idle_s_max: float = 600.0
    stall_s_max: float = 30.0
    close_s_max: float = 2.0


@dataclass(slots=True, kw_only=True)
class Service:
    """What the connections of a node share: the handlers and what these are given, the limits, the byte
    budgets.

    A budget counts a frame from its admission until its request has begun (hot) or is answered (cold).
    budget: for Produce; the logs count what was appended against the same one.
    budget_other: for all other requests.
    now: the event loop's time, as of the server's last sweep; good enough for idle connections.
    stopping: connections that still come are closed. emptied: set when the last connection has ended.
    """

    routes: Mapping[ApiKey, Route]
    context: Context
    frame_limits: frames.Limits
    limits: ConnectionLimits
    budget: ByteBudget
    budget_other: ByteBudget
    throttle: Throttle
    connections_max: int = 10_000
    connections: set["Connection"] = field(default_factory=set)
    now: float = 0.0
    stopping: bool = False
    emptied: asyncio.Event = field(default_factory=asyncio.Event)
    received: memoryview = field(default_factory=lambda: memoryview(bytearray(RECEIVE_BYTES)))


class Request:
    """One request from its frame to its answer, and the budget that counts its frame."""

    __slots__ = ("answer", "api", "budget", "closes", "done", "frame", "future", "size", "version")

    def __init__(self, api: ApiKey, version: int, frame: memoryview, budget: ByteBudget | None) -> None:
        self.api = api
        self.version = version
        self.frame: memoryview | None = frame
        self.size = len(frame)
        self.budget = budget
        if budget is not None:
            budget.take(self.size)
        self.future: asyncio.Future[Any] | None = None
        self.answer: Answer = None
        self.done = False
        self.closes = False

    def discharge(self) -> None:
        """The budget no longer counts the frame."""
        if self.budget is not None:
            self.budget.give(self.size)
            self.budget = None

    def end(self) -> None:
        """Nobody wants the answer any more."""
        self.done = True
        self.discharge()
        if self.future is not None:
            self.future.cancel()
