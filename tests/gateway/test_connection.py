"""The laws of one connection: order, overlap, limits, and what bytes from the network may do."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.connection import Connection
from gateway.context import Context
from gateway.dispatch import Begun, Call, Cold, Hot, Later, Route
from gateway.errors import CloseConnection
from gateway.events import EventLog, Throttle
from gateway.server import Server
from gateway.service import ConnectionLimits, Service
from protocol.frames import Limits
from protocol.versions import ApiKey
from tests.support.fake_transport import FakeTransport
from tests.support.until import until
from tests.support.wire import API_VERSIONS, FETCH, METADATA, PRODUCE, connected, request
from wal.budget import ByteBudget
from wal.clock import SystemClock

ALL_TOPICS = struct.pack(">i", -1)
FRAME_BYTES_MAX = 200_000
EMPTY_PRODUCE = struct.pack(">bhibb", 0, -1, 1000, 1, 0)


def answer(call: Call, payload: bytes = b"") -> list[bytes]:
    return [struct.pack(">i", call.header.correlation_id), payload]


async def settle() -> None:
    """Let everything that can happen without the network happen."""
    for _ in range(10):
        await asyncio.sleep(0)


class Script:
    """Handlers that note what they are given and answer when the test says so."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.calls: list[Call] = []
        self.futures: dict[int, asyncio.Future[Any]] = {}
        self.hot: Callable[[Call, Context], Begun] = lambda call, _context: answer(call)

    def begin(self, call: Call, context: Context) -> Begun:
        self.calls.append(call)
        begun = self.hot(call, context)
        self.begun.append(call.header.correlation_id)
        return begun

    def pend(self, call: Call, _context: Context) -> Begun:
        future = self.futures[call.header.correlation_id] = asyncio.get_running_loop().create_future()
        return future

    async def handle(self, call: Call, _context: Context) -> bytes:
        self.begun.append(call.header.correlation_id)
        self.calls.append(call)
        future = self.futures[call.header.correlation_id] = asyncio.get_running_loop().create_future()
        await future
        return b"".join(answer(call))

    def finish(self, correlation_id: int, payload: bytes = b"") -> None:
        self.futures[correlation_id].set_result([struct.pack(">i", correlation_id), payload])


class World:
    """A listener with scripted handlers: Produce and Fetch hot, Metadata cold, ApiVersions at once."""

    def __init__(self, server: Server, service: Service, script: Script) -> None:
        self.server = server
        self.service = service
        self.script = script

    @property
    def port(self) -> int:
        return self.server.port


async def versions(call: Call, _context: Context) -> bytes:
    return b"".join(answer(call, b"versions"))


@asynccontextmanager
async def world(**changes: Any) -> AsyncIterator[World]:
    script = Script()
    routes: dict[ApiKey, Route] = {
        ApiKey.PRODUCE: Hot(script.begin),
        ApiKey.FETCH: Hot(script.begin),
        ApiKey.METADATA: Cold(script.handle),
        ApiKey.API_VERSIONS: Cold(versions),
    }
    fields: dict[str, Any] = {
        "routes": routes,
        "context": cast(Context, None),
        "frame_limits": Limits(FRAME_BYTES_MAX, FRAME_BYTES_MAX // 2),
        "limits": ConnectionLimits(close_s_max=0.2),
        "budget": ByteBudget(10 * FRAME_BYTES_MAX),
        "budget_other": ByteBudget(10 * FRAME_BYTES_MAX),
        "throttle": Throttle(EventLog("test"), SystemClock()),
    }
    service = Service(**{**fields, **changes})
    server = await Server.bind("127.0.0.1", 0)
    await server.serve(service)
    try:
        yield World(server, service, script)
    finally:
        await server.stop(0.0)
        assert not service.connections
        assert service.budget.used == 0
        assert service.budget_other.used == 0


def produce(correlation_id: int, body: bytes = b"") -> bytes:
    return request(PRODUCE, 3, correlation_id, body)


async def serves(port: int) -> None:
    """Another connection is served as if nothing had happened."""
    async with connected(port) as wire:
        assert await wire.call(API_VERSIONS, 0) == b"versions"


async def test_a_request_that_arrives_byte_by_byte_is_one_request() -> None:
    async with world() as here, connected(here.port) as wire:
        for byte in produce(7, b"body"):
            await wire.send(bytes([byte]))
            await settle()
        assert await wire.receive() == (7, b"")
        assert bytes(here.script.calls[0].body) == b"body"


async def test_a_large_body_reaches_the_handler_whole_and_writable() -> None:
    body = random.Random(1).randbytes(150_000)
    async with world() as here, connected(here.port) as wire:
        await wire.send(produce(1, body) + produce(2, b"next"))
        assert [await wire.receive(), await wire.receive()] == [(1, b""), (2, b"")]
        assert [bytes(call.body) for call in here.script.calls] == [body, b"next"]
        assert not here.script.calls[0].body.readonly


async def test_requests_begin_in_order_overlap_and_are_answered_in_order() -> None:
    async with world() as here, connected(here.port) as wire:
        script = here.script
        script.hot = script.pend
        await wire.send(b"".join(produce(number) for number in range(5)))
        await until(lambda: len(script.begun) == 5)
        assert script.begun == [0, 1, 2, 3, 4]
        for number in (4, 2, 1, 3):
            script.finish(number)
        await settle()
        script.finish(0)
        assert [(await wire.receive())[0] for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_a_cold_request_begins_before_the_hot_one_behind_it() -> None:
    async with world() as here, connected(here.port) as wire:
        script = here.script
        await wire.send(
            request(METADATA, 1, 1, ALL_TOPICS) + produce(2) + request(METADATA, 1, 3, ALL_TOPICS)
        )
        await until(lambda: len(script.begun) == 3)
        assert script.begun == [1, 2, 3]
        script.finish(3)
        script.finish(1)
        assert [(await wire.receive())[0] for _ in range(3)] == [1, 2, 3]


async def test_a_request_that_cannot_begin_holds_back_those_behind_it() -> None:
    async with world() as here, connected(here.port) as wire:
        script = here.script
        ready = asyncio.get_running_loop().create_future()

        def hot(call: Call, _context: Context) -> Begun:
            if call.header.correlation_id == 1 and not ready.done():
                raise Later(ready)
            return answer(call)

        script.hot = hot
        await wire.send(produce(1) + produce(2) + request(METADATA, 1, 3, ALL_TOPICS))
        await until(lambda: len(script.calls) == 1)
        await settle()
        assert script.begun == []
        ready.set_result(None)
        await until(lambda: len(script.begun) == 3)
        assert script.begun == [1, 2, 3]
        script.finish(3)
        assert [(await wire.receive())[0] for _ in range(3)] == [1, 2, 3]


async def test_a_request_without_an_answer_writes_nothing() -> None:
    async with world() as here, connected(here.port) as wire:
        here.script.hot = lambda call, _context: None if call.header.correlation_id == 1 else answer(call)
        await wire.send(produce(1) + produce(2))
        assert (await wire.receive())[0] == 2


async def test_closing_is_an_answer_that_keeps_its_place() -> None:
    async with world() as here, connected(here.port) as wire:
        script = here.script

        def hot(call: Call, context: Context) -> Begun:
            if call.header.correlation_id == 2:
                raise CloseConnection("acks=0 and an error")
            return script.pend(call, context)

        script.hot = hot
        await wire.send(produce(1) + produce(2) + produce(3))
        await until(lambda: script.begun[:1] == [1])
        await settle()
        script.finish(1, b"first")
        assert await wire.receive() == (1, b"first")
        assert await wire.closed() == b""
        assert script.begun == [1]
        await serves(here.port)


@pytest.mark.parametrize("late", [False, True])
async def test_a_failing_handler_closes_its_connection_and_no_other(late: bool) -> None:
    async with world() as here, connected(here.port) as wire:

        async def fail() -> list[bytes]:
            raise ZeroDivisionError("a bug")

        def hot(_call: Call, _context: Context) -> Begun:
            if late:
                return fail()
            raise ZeroDivisionError("a bug")

        here.script.hot = hot
        await wire.send(produce(1))
        assert await wire.closed() == b""
        await serves(here.port)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(struct.pack(">ihh", FRAME_BYTES_MAX + 1, PRODUCE, 3), id="a Produce above its limit"),
        pytest.param(struct.pack(">ihh", FRAME_BYTES_MAX, METADATA, 1), id="another request above its limit"),
        pytest.param(struct.pack(">ihh", 2**31 - 1, FETCH, 11), id="two gigabytes"),
        pytest.param(struct.pack(">ihh", -1, FETCH, 11), id="a negative size"),
        pytest.param(struct.pack(">ihh", 3, FETCH, 11), id="a size without a header"),
        pytest.param(request(999, 0, 1), id="an unknown request"),
        pytest.param(request(PRODUCE, 2, 1), id="a version that is advertised and not accepted"),
        pytest.param(request(METADATA, 99, 1), id="an unknown version"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", id="another protocol"),
    ],
)
async def test_what_cannot_be_a_request_closes_before_its_body_is_received(data: bytes) -> None:
    async with world() as here, connected(here.port) as wire:
        await wire.send(request(METADATA, 1, 1, ALL_TOPICS))
        await until(lambda: here.script.begun == [1])
        used = here.service.budget_other.used
        await wire.send(data)
        await settle()
        assert here.service.budget.used == 0
        assert here.service.budget_other.used == used
        here.script.finish(1)
        assert (await wire.receive())[0] == 1
        assert await wire.closed() == b""
        assert here.script.begun == [1]
        await serves(here.port)


async def test_an_unknown_version_of_api_versions_is_told_the_known_ones() -> None:
    async with world() as here, connected(here.port) as wire:
        payload = await wire.call(API_VERSIONS, 99, b"\xff" * 20, correlation_id=77)
        assert struct.unpack_from(">h", payload) == (35,)
        assert await wire.call(API_VERSIONS, 0) == b"versions"


async def test_a_body_that_lies_about_its_lengths_closes_the_connection() -> None:
    async with world() as here, connected(here.port) as wire:
        await wire.send(request(METADATA, 1, 1, struct.pack(">i", 2**31 - 1)))
        assert await wire.closed() == b""
        await serves(here.port)


async def test_no_more_requests_begin_than_may_be_in_flight() -> None:
    limits = ConnectionLimits(requests_in_flight_max=3, close_s_max=0.2)
    async with world(limits=limits) as here, connected(here.port) as wire:
        script = here.script
        script.hot = script.pend
        await wire.send(b"".join(produce(number, b"x" * 1000) for number in range(300)))
        await until(lambda: len(script.begun) == 3)
        await settle()
        assert len(script.begun) == 3
        for number in range(300):
            await until(lambda number=number: number in script.futures)  # type: ignore[misc]
            script.finish(number)
            assert (await wire.receive())[0] == number
        assert script.begun == list(range(300))


async def test_while_the_budget_is_full_producers_wait_and_nobody_else() -> None:
    budget = ByteBudget(1000)
    async with world(budget=budget) as here, connected(here.port) as wire:
        budget.take(1000)
        await wire.send(produce(1, b"x" * 5000))
        await serves(here.port)
        await settle()
        assert here.script.begun == []
        budget.give(1000)
        assert (await wire.receive())[0] == 1
        assert bytes(here.script.calls[0].body) == b"x" * 5000


async def test_a_frame_counts_against_the_budget_from_its_admission_until_it_has_begun() -> None:
    async with world() as here:
        async with connected(here.port) as wire:
            data = produce(1, b"x" * 5000)
            await wire.send(data[:100])
            await until(lambda: here.service.budget.used == len(data) - 4)
            await wire.send(data[100:])
            assert (await wire.receive())[0] == 1
            assert here.service.budget.used == 0
            await wire.send(data[:100])
            await until(lambda: here.service.budget.used > 0)
        await until(lambda: here.service.budget.used == 0)


async def test_while_a_peer_takes_no_answers_nothing_more_begins() -> None:
    limits = ConnectionLimits(answer_bytes_max=10_000, requests_in_flight_max=1000, close_s_max=0.2)
    payload = bytes(1_000_000)
    async with world(limits=limits) as here, connected(here.port) as wire:
        here.script.hot = lambda call, _context: answer(call, payload)
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for number in range(100):
            wire.writer.write(request(FETCH, 11, number))
            await settle()
        assert len(here.script.begun) < 50
        wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for number in range(100):
            assert await wire.receive() == (number, payload)


async def test_a_lost_connection_ends_what_it_waited_for() -> None:
    async with world() as here:
        async with connected(here.port) as wire:
            here.script.hot = here.script.pend
            await wire.send(produce(1) + request(METADATA, 1, 2, ALL_TOPICS))
            await until(lambda: len(here.script.begun) == 2)
        await until(lambda: not here.service.connections)
        await settle()
        assert here.script.futures[1].cancelled()
        assert here.script.futures[2].cancelled()
        await serves(here.port)


async def test_a_peer_that_sent_garbage_and_went_away_is_not_waited_for() -> None:
    async with world() as here:
        async with connected(here.port) as wire:
            here.script.hot = here.script.pend
            await wire.send(produce(1) + b"\xff" * 100)
            await until(lambda: here.script.begun == [1])
        await until(lambda: not here.service.connections)
        await settle()
        assert here.script.futures[1].cancelled()


async def test_tagged_fields_in_the_header_of_a_hot_request_change_nothing() -> None:
    tags = b"\x01\x07\x03abc"
    async with world() as here, connected(here.port) as wire:
        await wire.send(
            request(PRODUCE, 9, 1, tags + EMPTY_PRODUCE) + request(PRODUCE, 9, 2, b"\0" + EMPTY_PRODUCE)
        )
        assert [(await wire.receive())[0] for _ in range(2)] == [1, 2]
        assert [bytes(call.body) for call in here.script.calls] == [EMPTY_PRODUCE] * 2


async def test_connections_beyond_the_limit_are_closed_as_they_come() -> None:
    async with world(connections_max=1) as here, connected(here.port) as first:
        await first.call(API_VERSIONS, 0)
        async with connected(here.port) as second:
            assert await second.closed() == b""
        assert await first.call(API_VERSIONS, 0) == b"versions"


def silence(here: World, seconds: float) -> None:
    """The clock goes on, and the server looks around."""
    here.service.now += seconds
    for connection in tuple(here.service.connections):
        connection.sweep()


async def test_silent_connections_are_closed_unless_they_wait_for_an_answer() -> None:
    limits = ConnectionLimits(idle_s_max=600.0, stall_s_max=30.0, close_s_max=0.2)
    async with world(limits=limits) as here, connected(here.port) as idle, connected(here.port) as waits:
        await idle.call(API_VERSIONS, 0)
        await waits.send(request(METADATA, 1, 1, ALL_TOPICS))
        await until(lambda: here.script.begun == [1])
        silence(here, 599.0)
        assert len(here.service.connections) == 2
        silence(here, 2.0)
        assert await idle.closed() == b""
        here.script.finish(1)
        assert (await waits.receive())[0] == 1


@pytest.mark.parametrize("sent", [3, 50])
async def test_half_a_request_is_not_waited_for_long(sent: int) -> None:
    limits = ConnectionLimits(idle_s_max=600.0, stall_s_max=30.0, close_s_max=0.2)
    async with world(limits=limits) as here, connected(here.port) as wire:
        await wire.send(produce(1, b"x" * 100)[:sent])
        await until(lambda: any(one._incoming or one._rest for one in here.service.connections))
        silence(here, 29.0)
        assert len(here.service.connections) == 1
        silence(here, 2.0)
        assert await wire.closed() == b""


async def test_draining_answers_what_is_in_flight_and_begins_nothing_more() -> None:
    async with world() as here, connected(here.port) as busy, connected(here.port) as idle:
        here.script.hot = here.script.pend
        await idle.call(API_VERSIONS, 0)
        await busy.send(produce(1) + produce(2) + produce(3)[:10])
        await until(lambda: here.script.begun == [1, 2])
        stopping = asyncio.create_task(here.server.stop(10.0))
        assert await idle.closed() == b""
        await busy.send(produce(3)[10:] + produce(4))
        with pytest.raises(OSError):
            async with connected(here.port):
                pass
        here.script.finish(2, b"two")
        await settle()
        assert not stopping.done()
        here.script.finish(1, b"one")
        assert [await busy.receive(), await busy.receive()] == [(1, b"one"), (2, b"two")]
        await busy.closed()
        await stopping
        assert here.script.begun == [1, 2]


async def test_draining_takes_a_bounded_time() -> None:
    async with world() as here, connected(here.port) as wire:
        here.script.hot = here.script.pend
        await wire.send(produce(1))
        await until(lambda: here.script.begun == [1])
        await here.server.stop(0.01)
        assert await wire.closed() == b""
        assert here.script.futures[1].cancelled()


async def test_answers_that_are_ready_together_are_written_together() -> None:
    async with world() as here:
        connection = Connection(here.service)
        transport = FakeTransport()
        connection.connection_made(transport)
        data = b"".join(produce(number) for number in range(20))
        connection.get_buffer(-1)[: len(data)] = data
        connection.buffer_updated(len(data))
        await settle()
        assert len(transport.writes) == 1
        assert transport.writes[0].count(struct.pack(">i", 4)) >= 20
        connection.connection_lost(None)


FRAME_LIKE = st.builds(
    lambda size, api, version, rest: struct.pack(">ihh", size, api, version) + rest,
    st.integers(-5, 40),
    st.integers(-1, 30),
    st.integers(-1, 14),
    st.binary(max_size=60),
)


@given(pieces=st.lists(st.binary(max_size=80) | FRAME_LIKE, max_size=8))
@settings(max_examples=60, deadline=None)
def test_any_bytes_end_in_answers_or_a_closed_connection(pieces: list[bytes]) -> None:
    async def law() -> None:
        async with world() as here:
            async with connected(here.port) as wire:
                for piece in pieces:
                    try:
                        await wire.send(piece)
                    except ConnectionError:
                        break
                    await settle()
            await serves(here.port)

    asyncio.run(law())
