"""What a handler is: the call it is given, what it gives back, and how the connection is to run it.

A *cold* handler is a coroutine that answers with one tree of fields, or with bytes encoded before; the
connection encodes the tree. A *hot* handler is a plain function, `begin`: what must keep the order of the
connection (appends) happens before it returns, and what it returns is awaited later, overlapping the
requests behind it. The table of all handlers is gateway/routes.py, which imports them; they import this.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.context import Context
from gateway.errors import CloseConnection, Refused
from protocol.messages import RequestHeader
from wal.types import Buffer

__all__ = ["Answer", "Begun", "Call", "CloseConnection", "Cold", "Hot", "Later", "Peer", "Refused", "Route"]


class Peer(NamedTuple):
    """The client's end of a connection, as the socket tells it."""

    host: str
    port: int


class Call(NamedTuple):
    """One request. `body` is the decoded request (a kio entity); for hot handlers the raw, writable view."""

    header: RequestHeader
    body: Any
    connection: Peer


class Later(Exception):
    """Raised by `begin` before it has done anything: it cannot begin until `ready` is done.

    The connection begins nothing behind this request meanwhile, awaits `ready` and calls `begin` again.
    """

    def __init__(self, ready: Awaitable[object]) -> None:
        super().__init__("the request cannot begin yet")
        self.ready = ready


Answer = Sequence[Buffer] | None
"""Header and body in parts, without the size; None: nothing is written (Produce with acks=0)."""

Begun = Awaitable[Answer] | Answer
"""What `begin` returns: the answer where it is at hand (cheapest), a future (cheap), or any other awaitable
(a task).
"""


class Hot(NamedTuple):
    """A handler whose order on its connection matters, and whose cost does: it decodes its body by itself."""

    begin: Callable[[Call, Context], Begun]


class Cold(NamedTuple):
    """A handler off the hot path."""

    handle: Callable[[Call, Context], Awaitable[Mapping[str, object] | bytes]]


Route = Hot | Cold
