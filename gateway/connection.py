"""One client's connection: frames in, requests begun in order, answers out in order, and every limit in
between.

Bytes arrive in a small buffer that all connections of a node share. Once the first eight bytes of a frame
are there, its size is held against the limit of its API, its API and version against the table; only then,
and only while the byte budget for it has room, is memory taken: one bytearray of the frame's size, into
which the rest is received by the socket itself. Record batches stay views of it until they are stored.
Produce shares its budget with the logs' buffers, so a store that is away stops producers, and them alone.

Requests are *begun* in order, overlap in time and are *answered* in order. A hot request (Produce, Fetch)
is begun on the spot; a cold one becomes a task, and what arrived behind it waits until the task has had its
first turn. A hot request that cannot begin yet raises `Later` and holds back everything behind it. Answers
that become ready in one turn of the event loop are written with one call.

Where a limit is reached (requests in flight, answers not taken by the peer, a byte budget) the socket is no
longer read, except for the rest of a frame that was admitted. Bytes from the network end in an answer or in
a closed connection.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable
from functools import partial
from typing import Any, cast

from gateway.dispatch import Answer, Call, Cold, Hot, Later, Peer
from gateway.errors import CloseConnection
from gateway.events import EventLog, describe
from gateway.service import Request, Service
from protocol import frames, guard, messages
from protocol.errors import RemoteProtocolError, UnsupportedVersion
from protocol.versions import ApiKey, accept
from wal.budget import ByteBudget
from wal.types import Buffer

LOG = EventLog(__name__)

WRITE_BYTES_JOINED_MAX = 16 * 1024
"""Parts of answers up to this size are copied together; larger ones go to the socket as they are."""


class Connection(asyncio.BufferedProtocol):
    """The shell around one socket.

    What it holds: the request whose frame is under way, bytes that may not be admitted yet, all requests
    without a written answer in order, and those of them that wait to begin.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._peer = Peer("", 0)
        self._incoming: Request | None = None
        self._frame = service.received
        self._frame_got = 0
        self._rest = b""
        self._blocked: ByteBudget | None = None
        self._requests: deque[Request] = deque()
        self._waiting: deque[Request] = deque()
        self._held: asyncio.Future[Any] | None = None
        self._turn_pending = False
        self._write_scheduled = False
        self._writable = True
        self._draining = False
        self._closing = False
        self._paused = False
        self._room: asyncio.Task[None] | None = None
        self._abort_timer: asyncio.TimerHandle | None = None
        self._heard = service.now

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or close it at once where there are too many."""
        self._transport = cast(asyncio.Transport, transport)
        host, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        self._peer = Peer(str(host), int(port))
        service = self._service
        if service.stopping:
            self._closing = True
            self._transport.abort()
            return
        if len(service.connections) >= service.connections_max:
            service.throttle.event(
                "connection_refused", peer=self._peer.host, connections_max=service.connections_max
            )
            self._closing = True
            self._transport.abort()
            return
        service.connections.add(self)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._transport.set_write_buffer_limits(high=service.limits.answer_bytes_max)
        LOG.debug("connection_opened", peer=self._peer.host, port=self._peer.port)

    def connection_lost(self, exc: Exception | None) -> None:
        """End everything that belongs to this connection. What was appended stays appended."""
        self._closing = True
        self._service.connections.discard(self)
        if not self._service.connections:
            self._service.emptied.set()
        self._stop_receiving()
        for future in (self._room, self._held):
            if future is not None:
                future.cancel()
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        for request in self._requests:
            request.end()
        self._requests.clear()
        self._waiting.clear()
        LOG.debug("connection_closed", peer=self._peer.host, port=self._peer.port, cause=str(exc or ""))

    def get_buffer(self, _sizehint: int) -> memoryview:
        """The rest of the frame under way, else the shared buffer, which is emptied at once."""
        return self._frame[self._frame_got :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take in what was received."""
        self._heard = self._service.now
        if self._closing or self._draining:
            return
        request = self._incoming
        if request is None:
            view = self._service.received[:nbytes]
            self._take(memoryview(self._rest + bytes(view)) if self._rest else view)
        else:
            self._frame_got += nbytes
            if self._frame_got < request.size:
                return
            self._expect_prefix()
            self._arrived(request)
        self._regulate()

    def pause_writing(self) -> None:
        """The peer is slow to take its answers: begin nothing more."""
        self._writable = False
        self._regulate()

    def resume_writing(self) -> None:
        """The peer has taken its answers."""
        self._writable = True
        self._write_soon()
        self._regulate()

    def _take(self, data: memoryview) -> None:
        """Cut received bytes into frames; keep what cannot be admitted yet, which is never more than was
        received.
        """
        self._rest = b""
        while data and not self._draining:
            if len(data) < frames.PREFIX_SIZE or not self._may_admit():
                self._rest = bytes(data)
                return
            try:
                size, api_key, version = frames.read_prefix(
                    data[: frames.PREFIX_SIZE], self._service.frame_limits
                )
                api, version = self._accept(api_key, version)
            except RemoteProtocolError as error:
                self._refuse(error)
                return
            budget = self._service.budget if api is ApiKey.PRODUCE else self._service.budget_other
            if budget.full:
                self._blocked = budget
                self._rest = bytes(data)
                return
            frame = memoryview(bytearray(size))
            request = Request(api, version, frame, budget)
            data = data[frames.SIZE_SIZE :]
            got = min(len(data), size)
            frame[:got] = data[:got]
            data = data[got:]
            if got < size:
                self._incoming, self._frame, self._frame_got = request, frame, got
                return
            self._arrived(request)

    def _expect_prefix(self) -> None:
        """Receive into the shared buffer: no frame is under way."""
        self._incoming, self._frame, self._frame_got = None, self._service.received, 0

    def _stop_receiving(self) -> None:
        """No further request is taken in; one that is half here is forgotten."""
        self._draining = True
        self._rest = b""
        if self._incoming is not None:
            self._incoming.discharge()
            self._expect_prefix()

    def _accept(self, api_key: int, version: int) -> tuple[ApiKey, int]:
        """The API of a request; version −1 for an ApiVersions request of a version that is answered with a
        refusal.
        """
        try:
            return accept(api_key, version), version
        except UnsupportedVersion:
            if api_key == ApiKey.API_VERSIONS:
                return ApiKey.API_VERSIONS, -1
            raise

    def _refuse(self, error: Exception) -> None:
        """Bytes that are no request: close, after the answers to the requests before them, with one line."""
        self._service.throttle.event(
            "request_malformed",
            key=self._peer.host,
            peer=self._peer.host,
            port=self._peer.port,
            cause=describe(error),
        )
        request = Request(ApiKey.API_VERSIONS, -1, memoryview(b""), None)
        self._requests.append(request)
        self._close_after(request)

    def _may_admit(self) -> bool:
        return (
            self._writable
            and not self._closing
            and not self._draining
            and len(self._requests) < self._service.limits.requests_in_flight_max
            and self._blocked is None
        )

    def _regulate(self) -> None:
        """Read on or stop reading, by what the limits say now."""
        transport = self._transport
        if transport is None or self._closing:
            return
        if self._rest and self._may_admit():
            self._take(memoryview(self._rest))
        # While draining, what comes is dropped: only a socket that is read tells that its peer is gone.
        read = self._incoming is not None or self._draining or self._may_admit()
        if read == self._paused and not transport.is_closing():
            self._paused = not read
            if read:
                transport.resume_reading()
            else:
                transport.pause_reading()
        if self._blocked is not None and self._room is None:
            self._room = self._loop.create_task(self._blocked.room(), name="connection waits for memory")
            self._room.add_done_callback(self._has_room)

    def _has_room(self, task: asyncio.Task[None]) -> None:
        self._room = self._blocked = None
        if not task.cancelled():
            self._regulate()

    def _arrived(self, request: Request) -> None:
        """A whole frame is there: begin its request now, or behind those that wait to begin."""
        self._requests.append(request)
        if self._waiting or self._turn_pending or self._held is not None:
            self._waiting.append(request)
        else:
            self._begin(request)

    def _begin_waiting(self) -> None:
        """Begin what has waited, as far as nothing holds it back again."""
        while self._waiting and not self._turn_pending and self._held is None and not self._closing:
            self._begin(self._waiting.popleft())
        self._regulate()

    def _begin(self, request: Request) -> None:
        """Begin one request; whatever goes wrong closes the connection at this request's place."""
        try:
            if request.version < 0:
                self._refuse_version(request)
                return
            route = self._service.routes.get(request.api)
            if route is None:
                raise UnsupportedVersion(request.api, request.version)
            if isinstance(route, Cold):
                self._begin_cold(request, route)
            else:
                self._begin_hot(request, route)
        except Later as later:
            self._hold(request, later.ready)
        except Exception as error:
            self._failed(request, error)

    def _begin_cold(self, request: Request, route: Cold) -> None:
        call = self._call(request, decoded=True)
        request.frame = None
        future = self._loop.create_task(self._run_cold(call, route), name=request.api.name)
        request.future = future
        future.add_done_callback(partial(self._finished, request))
        self._turn_pending = True
        self._loop.call_soon(self._turn_over)

    def _turn_over(self) -> None:
        self._turn_pending = False
        self._begin_waiting()

    async def _run_cold(self, call: Call, route: Cold) -> Answer:
        answer = await route.handle(call, self._service.context)
        if isinstance(answer, bytes):
            return [answer]
        header = call.header
        return [messages.encode_response(header.api_key, header.version, header.correlation_id, answer)]

    def _begin_hot(self, request: Request, route: Hot) -> None:
        begun = route.begin(self._call(request, decoded=False), self._service.context)
        request.frame = None
        request.discharge()
        if begun is None or isinstance(begun, list | tuple):
            self._answered(request, begun)
            return
        future: asyncio.Future[Answer] = asyncio.ensure_future(cast(Awaitable[Answer], begun))
        request.future = future
        future.add_done_callback(partial(self._finished, request))

    def _call(self, request: Request, decoded: bool) -> Call:
        """Open the frame: guarded and decoded by kio, or with the raw body for handlers that decode by
        themselves.
        """
        frame = request.frame
        assert frame is not None
        if not decoded:
            return Call(*_hot_header(request, frame), self._peer)
        header, body = messages.decode_header(guard.check(request.api, request.version, frame))
        return Call(header, messages.decode_request(request.api, request.version, body), self._peer)

    def _refuse_version(self, request: Request) -> None:
        """ApiVersions alone answers a version that it does not have: error 35 in the layout of version 0."""
        frame = request.frame
        assert frame is not None
        self._answered(request, [messages.api_versions_refusal(frame)])

    def _hold(self, request: Request, ready: Awaitable[object]) -> None:
        """Begin the request again when `ready` is done, and nothing behind it before; fail it if `ready`
        fails.
        """
        held = asyncio.ensure_future(ready)
        self._held = held
        held.add_done_callback(partial(self._released, request))

    def _released(self, request: Request, held: asyncio.Future[object]) -> None:
        self._held = None
        error = None if held.cancelled() else held.exception()
        if self._closing or request.done:
            return
        if error is not None:
            self._failed(request, error)
        else:
            self._begin(request)
            self._begin_waiting()

    def _finished(self, request: Request, future: asyncio.Future[Answer]) -> None:
        error = CloseConnection("its work was cancelled") if future.cancelled() else future.exception()
        if request.done:
            return
        if error is not None:
            self._failed(request, error)
        else:
            self._answered(request, future.result())

    def _answered(self, request: Request, answer: Answer) -> None:
        request.future = None
        request.frame = None
        request.answer = answer
        request.done = True
        request.discharge()
        if self._requests and self._requests[0] is request:
            self._write_soon()

    def _failed(self, request: Request, error: BaseException) -> None:
        """No answer can be given: one line, and the connection closes at this request's place in the
        order."""
        if self._closing:
            return
        facts: dict[str, Any] = {
            "peer": self._peer.host,
            "api": request.api.name.lower(),
            "version": request.version,
        }
        if isinstance(error, RemoteProtocolError | CloseConnection):
            self._service.throttle.event(
                "request_refused", key=self._peer.host, **facts, cause=describe(error)
            )
        else:
            LOG.error("request_failed", cause=error, **facts)
        self._close_after(request)

    def _close_after(self, request: Request) -> None:
        """Nothing after this request is begun or answered; the connection closes when all before it are."""
        self._stop_receiving()
        self._regulate()
        self._waiting.clear()
        while self._requests[-1] is not request:
            self._requests.pop().end()
        request.closes = True
        self._answered(request, None)

    def _write_soon(self) -> None:
        """Write at the end of this turn, so that what becomes ready together is written together."""
        if not self._write_scheduled and not self._closing:
            self._write_scheduled = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        """Hand answers to the socket in order, as far as they are ready and the peer takes them."""
        self._write_scheduled = False
        transport, requests = self._transport, self._requests
        if transport is None or self._closing:
            return
        high = self._service.limits.answer_bytes_max
        out: list[Buffer] = []
        size = 0
        closes = False
        while requests and requests[0].done and self._writable and not closes:
            request = requests.popleft()
            closes = request.closes
            if request.answer is not None:
                parts = frames.frame(request.answer)
                out.extend(parts)
                size += sum(map(len, parts))
                if size >= high:
                    _write_parts(transport, out)
                    out, size = [], 0
        if out:
            _write_parts(transport, out)
        if closes or (self._draining and not requests):
            self.close()
        else:
            self._regulate()

    def drain(self) -> None:
        """Begin nothing more, answer what has arrived, then close."""
        self._stop_receiving()
        self._regulate()
        if not self._requests:
            self.close()

    def close(self) -> None:
        """Close once the peer has taken the answers written so far, within a bound of time.

        What it still sends is received and dropped: closing a socket on unread bytes would reset the
        connection, and answers under way would be lost.
        """
        if self._closing or self._transport is None:
            return
        self._closing = True
        self._abort_timer = self._loop.call_later(self._service.limits.close_s_max, self._transport.abort)
        try:
            self._transport.write_eof()
        except OSError:
            self._transport.abort()
            return
        if self._paused:
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once; answers not handed over are lost."""
        if self._transport is not None:
            self._transport.abort()

    def sweep(self) -> None:
        """Close the connection if it has been silent for too long; called now and then by the server."""
        limits = self._service.limits
        silent_s = self._service.now - self._heard
        if self._closing or silent_s < limits.stall_s_max:
            return
        if self._incoming is not None or (self._rest and not self._paused):
            LOG.debug("connection_stalled", peer=self._peer.host, silent_s=round(silent_s))
            self.abort()
        elif silent_s >= limits.idle_s_max and (not self._requests or not self._writable):
            LOG.debug("connection_idle", peer=self._peer.host, silent_s=round(silent_s))
            self.abort()


def _hot_header(request: Request, frame: memoryview) -> tuple[messages.RequestHeader, memoryview]:
    """Header and body of a hot request; only tagged fields in its header cost the guard's walk."""
    try:
        return messages.decode_header(frame)
    except RemoteProtocolError:
        return messages.decode_header(guard.check(request.api, request.version, frame))


def _write_parts(transport: asyncio.Transport, parts: list[Buffer]) -> None:
    """Write small parts together and large ones as they are: `writelines` of Python 3.11 would copy
    everything.
    """
    small: list[Buffer] = []
    for part in parts:
        if len(part) <= WRITE_BYTES_JOINED_MAX:
            small.append(part)
            continue
        if small:
            transport.write(b"".join(small))
            small = []
        transport.write(part)
    if small:
        transport.write(b"".join(small) if len(small) > 1 else small[0])
