"""Requests on a whole node: order and overlap, what is refused and how, what stays silent, and stopping."""

import asyncio
import logging
import signal
from pathlib import Path
from uuid import UUID

import pytest

from gateway.errors import ErrorCode
from protocol.batches import Codec
from protocol.records import Record, open_batch
from protocol.versions import ACCEPTED, ApiKey
from tests.support import compat
from tests.support.gateway import GatewayProcess, running
from tests.support.held_node import held_node
from tests.support.node_client import NodeClient, client, frame, produce_frame
from tests.support.one_node import batch_of
from tests.support.until import until
from tests.support.wire import API_VERSIONS, connected, request

NONE = ErrorCode.none
IN_FLIGHT = 20


async def produced(one: NodeClient) -> tuple[int, ErrorCode, int]:
    """The next answer to a Produce of one partition: correlation id, error, base offset."""
    correlation_id, body = await one.answer(ApiKey.PRODUCE, 9)
    row = body.responses[0].partition_responses[0]
    return correlation_id, row.error_code, row.base_offset


async def records_of(one: NodeClient, topic: str | UUID, index: int = 0) -> list[Record]:
    row = await one.fetch(topic, index, 0)
    assert row.error_code == NONE
    return list(open_batch(bytes(row.records), 1 << 20))


@pytest.mark.parametrize("flushes_in_flight_max", [1, 8])
async def test_five_produces_of_one_connection_overlap_and_are_answered_in_order(
    flushes_in_flight_max: int,
) -> None:
    async with (
        held_node(flushes_in_flight_max=flushes_in_flight_max) as node,
        client(node.port) as one,
    ):
        node.hold()
        stream = node.partition().stream
        for number in range(5):
            batch = batch_of(2, value=b"%d" % number)
            await one.wire.send(produce_frame("t", [(0, batch)], correlation_id=number))
            await until(lambda end=2 * (number + 1): node.log.appended_end(stream) == end)  # type: ignore[misc]
        assert node.log.durable_end(stream) == 0
        assert 1 <= node.held <= flushes_in_flight_max
        node.release()
        assert [await produced(one) for _ in range(5)] == [(number, NONE, 2 * number) for number in range(5)]


async def test_a_stop_answers_what_is_in_flight_and_keeps_it() -> None:
    async with held_node() as node, client(node.port) as one, client(node.port) as idle:
        await idle.call(ApiKey.API_VERSIONS, 0)
        node.hold()
        for number in range(3):
            await one.wire.send(produce_frame("t", [(0, batch_of(1))], correlation_id=number))
        stream = node.partition().stream
        await until(lambda: node.log.appended_end(stream) == 3)
        log = node.log
        stopping = asyncio.create_task(node.gateway.stop())
        assert await idle.wire.closed() == b""
        assert not stopping.done()
        node.release()
        assert [await produced(one) for _ in range(3)] == [(number, NONE, number) for number in range(3)]
        await one.wire.closed()
        await stopping
        assert log.durable_end(stream) == 3


def test_sigterm_answers_every_batch_that_was_taken_and_ends_with_0(tmp_path: Path) -> None:
    async def produce_until_closed(process: GatewayProcess) -> int:
        answered = 0
        async with client(process.port) as one:
            try:
                while True:
                    for number in range(IN_FLIGHT) if not answered else (answered + IN_FLIGHT - 1,):
                        await one.wire.send(produce_frame("t", [(0, batch_of(1))], correlation_id=number))
                    assert await produced(one) == (answered, NONE, answered)
                    answered += 1
                    if answered == 50:
                        process.signal(signal.SIGTERM)
            except (asyncio.IncompleteReadError, ConnectionError):
                return answered

    with GatewayProcess(tmp_path) as process:
        compat.create_topic(process.address, "t")
        answered = asyncio.run(produce_until_closed(process))
        assert answered >= 50
        assert process.wait() == 0
        process.start()
        assert compat.stored_batches(process.address, "t")[-1].last_offset + 1 == answered


async def test_acks_0_is_never_answered_and_an_error_closes() -> None:
    async with held_node() as node, client(node.port) as one:
        await one.wire.send(
            produce_frame("t", [(0, batch_of(1))], acks=0)
            + produce_frame("t", [(0, batch_of(1))], correlation_id=2)
            + produce_frame("t", [(9, batch_of(1))], acks=0, correlation_id=3)
            + request(API_VERSIONS, 0, 4)
        )
        assert await produced(one) == (2, NONE, 1)
        assert await one.wire.closed() == b""


async def test_each_partition_has_its_own_error() -> None:
    corrupt, old = batch_of(), batch_of()
    corrupt[-1] ^= 1
    old[16] = 1
    cases = {
        ErrorCode.corrupt_message: corrupt,
        ErrorCode.invalid_record: old,
        ErrorCode.message_too_large: batch_of(1, value=bytes(2_000_000)),
        NONE: batch_of(),
    }
    async with held_node(num_partitions=8) as node, client(node.port) as one:
        await node.gateway.context.catalog.create("many", 8, {})
        rows = [*enumerate(cases.values()), (5, batch_of() + batch_of()), (8, batch_of())]
        await one.wire.send(produce_frame("many", rows))
        _, body = await one.answer(ApiKey.PRODUCE, 9)
        codes = [row.error_code for row in body.responses[0].partition_responses]
        assert codes == [*cases, ErrorCode.invalid_record, ErrorCode.unknown_topic_or_partition]
        await one.wire.send(produce_frame("many", [(0, batch_of(codec=Codec.ZSTD))], version=6))
        _, body = await one.answer(ApiKey.PRODUCE, 6)
        [row] = body.responses[0].partition_responses
        assert row.error_code == ErrorCode.unsupported_compression_type
        await one.wire.send(produce_frame("many", [(0, batch_of())], acks=2))
        assert (await produced(one))[1] == ErrorCode.invalid_required_acks


async def test_an_id_of_a_deleted_topic_reaches_nothing_in_the_topic_made_again() -> None:
    async with running() as gateway, client(gateway.server.port) as one:
        catalog = gateway.context.catalog
        stale = (await catalog.create("again", 1, {})).id
        assert (await one.produce(stale, 0, batch_of(1, value=b"old"))).error_code == NONE
        await catalog.delete("again")
        fresh = (await catalog.create("again", 1, {})).id
        assert fresh != stale
        assert (await one.produce(stale, 0, batch_of())).error_code == ErrorCode.unknown_topic_id
        assert (await one.fetch(stale, 0, 0)).error_code == ErrorCode.unknown_topic_id
        assert (await one.fetch(fresh, 0, 0)).high_watermark == 0
        assert (await one.produce(fresh, 0, batch_of(1, value=b"new"))).base_offset == 0
        assert [record.value for record in await records_of(one, fresh)] == [b"new"]


async def test_append_times_are_stamped_and_found_by() -> None:
    async with held_node() as node, client(node.port) as one:
        await node.gateway.context.catalog.create("s", 1, {"message.timestamp.type": "LogAppendTime"})
        for codec in Codec:
            before = node.clock.now_ms()
            row = await one.produce("s", 0, batch_of(2, codec=codec, times=[5, 9]))
            stamped = round(row.log_append_time.timestamp() * 1000)
            assert before <= stamped <= node.clock.now_ms()
            records = open_batch(bytes((await one.fetch("s", 0, row.base_offset)).records), 1 << 20)
            assert [record.timestamp for record in records] == [stamped, stamped]
            assert (await one.list_offset("s", 0, stamped)).offset == row.base_offset
            node.clock.ahead_ms += 1_000
        assert (await one.list_offset("s", 0, 9)).offset == 0


async def test_limits_of_frames_are_those_of_the_settings() -> None:
    async with running(request_bytes_max=200_000, request_other_bytes_max=2_000) as gateway:
        port = gateway.server.port
        await gateway.context.catalog.create("t", 1, {})
        async with client(port) as one:
            assert (await one.produce("t", 0, batch_of(1, value=bytes(150_000)))).error_code == NONE
        too_large = [
            produce_frame("t", [(0, batch_of(1, value=bytes(200_000)))]),
            frame(ApiKey.METADATA, 1, topics=[{"name": "x" * 200} for _ in range(10)]),
        ]
        for data in too_large:
            async with connected(port) as wire:
                await wire.send(data[:8])
                assert await wire.closed() == b""


@pytest.mark.parametrize(
    ("api", "version", "cause"),
    [(999, 0, "999"), (ApiKey.PRODUCE, 2, "version 2"), (24, 0, "24")],
)
async def test_what_is_not_served_closes_with_one_line(
    api: int, version: int, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as gateway:
        caplog.set_level(logging.INFO)
        caplog.clear()
        for _ in range(3):
            async with connected(gateway.server.port) as wire:
                await wire.send(request(api, version, 1, bytes(100)))
                assert await wire.closed() == b""
        [record] = caplog.records
        assert record.message == "request_malformed"
        assert cause in str(vars(record)["facts"]["cause"])


async def test_a_client_that_opens_with_a_newer_api_versions_learns_the_range() -> None:
    lowest, highest = ACCEPTED[ApiKey.API_VERSIONS]
    async with running() as gateway, client(gateway.server.port) as one:
        await one.wire.send(request(API_VERSIONS, highest + 1, 9, b"\0\x05name\x042.0\0"))
        correlation_id, body = await one.answer(ApiKey.API_VERSIONS, 0)
        assert (correlation_id, body.error_code) == (9, ErrorCode.unsupported_version)
        assert [(row.api_key, row.min_version, row.max_version) for row in body.api_keys] == [
            (ApiKey.API_VERSIONS, lowest, highest)
        ]
        answer = await one.call(
            ApiKey.API_VERSIONS, highest, client_software_name="name", client_software_version="2.0"
        )
        assert answer.error_code == NONE


async def test_requests_write_no_line_at_the_default_level(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as gateway, client(gateway.server.port) as one:
        await gateway.context.catalog.create("t", 1, {})
        caplog.set_level(logging.INFO)
        caplog.clear()
        for _ in range(20):
            await one.produce("t", 0, batch_of())
            await one.produce("nowhere", 0, batch_of())
            await one.fetch("t", 0, 0)
            await one.fetch("t", 0, 999)
            await one.call(ApiKey.METADATA, 9, topics=None)
            await one.call(ApiKey.INIT_PRODUCER_ID, 4, transactional_id="x")
        async with client(gateway.server.port) as another:
            await another.call(ApiKey.API_VERSIONS, 0)
        assert not caplog.records
