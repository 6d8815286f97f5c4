"""A whole node: it starts, says where, stops in order, refuses what is not its own, and survives bytes."""

import asyncio
import io
import os
import random
import signal
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.index import load_request_schema
from kio.serial import entity_writer

from gateway.runtime import Parts, StartFailed, start
from gateway.setting_kinds import Address
from protocol.schema import request_header_flexible
from protocol.versions import ACCEPTED, ADVERTISED, ApiKey
from tests.support import kio_messages
from tests.support.gateway import GatewayProcess, running, settings_for, store_urls
from tests.support.requests import framed, request_bytes, requests
from tests.support.until import until
from tests.support.wire import API_VERSIONS, METADATA, connected, request
from wal.errors import Fenced
from wal.meta.base import Delete
from wal.meta.memory import MemoryMetaStore
from wal.objects.memory import MemoryObjectStore

INIT_PRODUCER_ID = 22
NO_TRANSACTION = struct.pack(">hi", -1, 60_000)


async def producer_id(port: int) -> int:
    async with connected(port) as wire:
        payload = await wire.call(INIT_PRODUCER_ID, 0, NO_TRANSACTION)
    _, error, number, epoch = struct.unpack(">ihqh", payload)
    assert (error, epoch) == (0, 0)
    return int(number)


async def test_a_node_in_memory_answers_what_it_serves() -> None:
    async with running() as gateway, connected(gateway.server.port) as wire:
        payload = await wire.call(API_VERSIONS, 0)
        error, count = struct.unpack_from(">hi", payload)
        assert (error, count) == (0, len(ADVERTISED))
        rows = [struct.unpack_from(">hhh", payload, 6 + 6 * row) for row in range(count)]
        assert rows == [(key, *versions) for key, versions in ADVERTISED.items()]


async def test_a_node_on_files_is_the_same_cluster_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        cluster = gateway.context.cluster_id
        epochs = {log.id: log.epoch for log in gateway.context.logs}
        first = await producer_id(gateway.server.port)
    async with running(tmp_path) as gateway:
        assert gateway.context.cluster_id == cluster
        assert all(log.epoch > epochs[log.id] for log in gateway.context.logs)
        assert await producer_id(gateway.server.port) > first


async def test_metadata_and_data_of_different_clusters_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        async with running(tmp_path / name):
            pass
    mixed = {"store": store_urls(tmp_path / "one")["store"], "meta": store_urls(tmp_path / "two")["meta"]}
    with pytest.raises(StartFailed, match="belong"):
        await start(settings_for(None, **mixed))


async def test_wiped_metadata_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path):
        pass
    (tmp_path / "meta.db").unlink()
    with pytest.raises(StartFailed, match="holds no cluster"):
        await start(settings_for(tmp_path))


async def test_a_taken_port_is_told_before_anything_is_touched(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartFailed, match=f"cannot listen on 127.0.0.1:{port}"):
            await start(settings_for(tmp_path, listen=Address("127.0.0.1", port)))
    assert not list(os.scandir(tmp_path))


async def test_a_second_node_on_the_same_files_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        with pytest.raises(StartFailed, match="in use"):
            await start(settings_for(tmp_path))
        await producer_id(gateway.server.port)


async def test_a_node_whose_session_was_ended_by_others_is_lost() -> None:
    async with running() as gateway:
        logs = gateway.context.logs
        meta: MemoryMetaStore = logs._stores.meta  # type: ignore[assignment]
        await meta.txn((), (Delete(logs._session.key),))
        next(iter(logs)).lost.set_result(Fenced("a fence"))
        await until(gateway.lost.done)
        assert isinstance(gateway.lost.result(), Fenced)


async def test_a_node_tells_others_where_clients_reach_it() -> None:
    golden = Path(__file__).parent.parent / "golden" / "metadata" / "session-1.hex"
    advertise = Address("broker-7.example", 9092)
    async with running(node_id=7, rack="zone-a", advertise=advertise) as gateway:
        logs = gateway.context.logs
        found = await logs._stores.meta.get(logs._session.key)
        assert found is not None
        assert found.value.hex() == golden.read_text().strip()


async def test_stopping_ends_every_task_of_the_node() -> None:
    before = asyncio.all_tasks()
    async with running() as gateway, connected(gateway.server.port) as wire:
        await wire.call(API_VERSIONS, 0)
    assert asyncio.all_tasks() == before


async def test_nodes_may_be_given_their_parts() -> None:
    from gateway.logs import Stores
    from tests.support.manual_clock import ManualClock

    clock = ManualClock()
    stores = Stores(MemoryObjectStore(), MemoryMetaStore(clock))
    parts = Parts(stores, clock, random.Random(1))
    async with running(parts=parts) as gateway:
        first = gateway.context.cluster_id
    async with running(parts=parts) as gateway:
        assert gateway.context.cluster_id == first


def real_requests() -> list[bytes]:
    """One plain request of every API in every accepted version, by way of kio."""
    frames = []
    for key, (lowest, highest) in ACCEPTED.items():
        for version in range(lowest, highest + 1):
            body = io.BytesIO()
            entity_writer(load_request_schema(key, version))(body, kio_messages.request(key, version))
            tags = b"\0" if request_header_flexible(key, version) else b""
            frames.append(request(key, version, 1, tags + body.getvalue()))
    return frames


REAL = real_requests()


@st.composite
def mutated(draw: st.DrawFn, frames: st.SearchStrategy[bytes]) -> bytes:
    """A request with bytes changed, cut off or put in, under a size that is right or wrong."""
    frame = bytearray(draw(frames))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(4, len(frame)))
        frame[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4) | st.sampled_from(NASTY))
    if draw(st.booleans()):
        frame[:4] = struct.pack(">i", len(frame) - 4)
    return bytes(frame)


NASTY = [b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff\x7f", b"\xff\xff\xff\xff\x0f", b"\0" * 8]


async def attack(port: int, data: bytes) -> None:
    """Send anything; whatever becomes of it, another connection is served."""
    async with connected(port) as wire:
        await wire.send(data)
        wire.writer.write_eof()
        await wire.closed()
    async with connected(port) as wire:
        await wire.call(API_VERSIONS, 0)


def test_a_running_node_survives_any_request() -> None:
    plain = st.sampled_from(REAL)
    anything = st.lists(plain | mutated(plain) | st.binary(max_size=40), max_size=5)

    async def law() -> None:
        async with running(connection_idle_ms_max=1_000) as gateway:
            loop = asyncio.get_running_loop()
            port = gateway.server.port

            @given(pieces=anything)
            @settings(max_examples=200, deadline=None)
            def survives(pieces: list[bytes]) -> None:
                asyncio.run_coroutine_threadsafe(attack(port, b"".join(pieces)), loop).result(20)

            await asyncio.to_thread(survives)

    asyncio.run(law())


@pytest.mark.parametrize("api", ApiKey)
def test_no_request_of_any_api_makes_its_handler_fail(api: ApiKey, caplog: pytest.LogCaptureFixture) -> None:
    filled = requests(api).map(lambda one: framed(request_bytes(*one)))

    async def law() -> None:
        async with running(connection_idle_ms_max=1_000) as gateway:
            await gateway.context.catalog.create("t", 2, {})
            loop = asyncio.get_running_loop()

            @given(frame=filled | mutated(filled))
            @settings(max_examples=25, deadline=None)
            def is_answered_or_refused(frame: bytes) -> None:
                asyncio.run_coroutine_threadsafe(attack(gateway.server.port, frame), loop).result(20)

            await asyncio.to_thread(is_answered_or_refused)

    asyncio.run(law())
    assert "request_failed" not in caplog.text


async def test_every_request_in_every_version_is_answered() -> None:
    async with running() as gateway:
        for frame in REAL:
            api, version = struct.unpack_from(">hh", frame, 4)
            async with connected(gateway.server.port) as wire:
                await wire.send(frame)
                if api == ApiKey.PRODUCE:
                    await wire.send(request(API_VERSIONS, 0, 2))
                try:
                    await wire.receive()
                except asyncio.IncompleteReadError:
                    raise AssertionError(f"{ApiKey(api).name} version {version} is not answered") from None


async def test_a_request_that_would_end_kio_ends_its_connection() -> None:
    async with running() as gateway:
        body = b"\x00" + b"\xff\xff\xff\xff\x7f"
        async with connected(gateway.server.port) as wire:
            await wire.send(request(METADATA, 9, 1, body))
            assert await wire.closed() == b""
        await producer_id(gateway.server.port)


def test_a_process_says_where_it_listens_and_stops_in_order(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path) as process:
        said = process.output.splitlines()
        assert len(said) == 3
        assert process.address in said[0]
        assert str(tmp_path) in said[1]
        assert f"bootstrap.servers={process.address}" in said[2]
        assert process.stop() == 0
        assert "event=stopped" in process.errors
    with GatewayProcess(tmp_path, port=process.port) as process:
        process.signal(signal.SIGINT)
        assert process.wait() == 0


def test_a_killed_process_is_followed_by_the_next_at_once(tmp_path: Path) -> None:
    process = GatewayProcess(tmp_path)
    numbers = []
    for _ in range(3):
        process.start()
        numbers.append(asyncio.run(producer_id(process.port)))
        process.kill()
    assert numbers == [0, 1000, 2000]


def test_a_second_signal_ends_the_process_at_once(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path) as process, socket.create_connection(("127.0.0.1", process.port)) as client:
        # A Fetch that waits for a minute keeps the first signal busy.
        client.sendall(fetch_that_waits(60_000))
        client.sendall(request(API_VERSIONS, 0, 2))
        process.signal(signal.SIGTERM)
        while "event=stopping" not in process.errors:
            pass
        process.signal(signal.SIGTERM)
        assert process.wait() == 1


def fetch_that_waits(wait_ms: int) -> bytes:
    """A Fetch without partitions, which has nothing to give before its time is up."""
    return request(1, 4, 1, struct.pack(">iiiibi", -1, wait_ms, 1, 1_000_000, 0, 0))


def test_what_keeps_a_process_from_starting_is_one_sentence(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path) as first:
        second = GatewayProcess(tmp_path / "logs-of-the-second", port=first.port)
        second.spawn()
        assert second.wait() == 1
        last = second.errors.strip().splitlines()[-1]
        assert last.startswith(f"drumlog serve: cannot start: cannot listen on {first.address}: ")
        assert second.output == ""
