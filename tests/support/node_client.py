"""A client of a running node, by kio over one raw connection: what a test asks that no client library would.

async with client(port) as one:
    await one.produce("t", 0, batch_of(2))
    row = await one.fetch_row("t", 0, 0)
"""

import io
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from kio.index import load_request_schema
from kio.serial import entity_writer

from protocol.schema import request_header_flexible
from protocol.versions import ApiKey
from tests.support import kio_messages
from tests.support.wire import Wire, connected, request
from wal.types import Buffer

WAIT = timedelta(seconds=10)


def frame(api: ApiKey, version: int, correlation_id: int = 1, **fields: Any) -> bytes:
    """A whole request, ready to be sent."""
    body = io.BytesIO()
    entity_writer(load_request_schema(api, version))(body, kio_messages.request(api, version, **fields))
    tags = b"\0" if request_header_flexible(api, version) else b""
    return request(api, version, correlation_id, tags + body.getvalue())


def produce_frame(
    topic: str | UUID,
    batches: Sequence[tuple[int, Buffer]],
    *,
    version: int = 9,
    acks: int = -1,
    correlation_id: int = 1,
) -> bytes:
    """A Produce with one batch for each partition; a topic id needs version 13."""
    place = {"topic_id": topic} if isinstance(topic, UUID) else {"name": topic}
    rows = [{"index": index, "records": bytes(batch)} for index, batch in batches]
    return frame(
        ApiKey.PRODUCE,
        13 if isinstance(topic, UUID) else version,
        correlation_id,
        transactional_id=None,
        acks=acks,
        timeout=WAIT,
        topic_data=[{**place, "partition_data": rows}],
    )


class NodeClient:
    """Asks over one connection, one request after the other; answers are decoded by kio."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    async def answer(self, api: ApiKey, version: int) -> tuple[int, Any]:
        """The next answer, which is one to this API and version: its correlation id and its body."""
        correlation_id, rest = await self.wire.receive()
        return kio_messages.response(api, version, struct.pack(">i", correlation_id) + rest)

    async def call(self, api: ApiKey, version: int, **fields: Any) -> Any:
        """Send one request and return the body of its answer."""
        await self.wire.send(frame(api, version, **fields))
        return (await self.answer(api, version))[1]

    async def produce(self, topic: str | UUID, index: int, batch: Buffer) -> Any:
        """Produce one batch with acks=all; the partition's row of the answer."""
        version = 13 if isinstance(topic, UUID) else 9
        await self.wire.send(produce_frame(topic, [(index, batch)], version=version))
        _, body = await self.answer(ApiKey.PRODUCE, version)
        return body.responses[0].partition_responses[0]

    async def fetch(
        self, topic: str | UUID, index: int, offset: int, *, leader_epoch: int = -1, wait_ms: int = 0
    ) -> Any:
        """Fetch one partition; its row of the answer."""
        place = {"topic_id": topic} if isinstance(topic, UUID) else {"topic": topic}
        row = {
            "partition": index,
            "current_leader_epoch": leader_epoch,
            "fetch_offset": offset,
            "last_fetched_epoch": -1,
            "log_start_offset": -1,
            "partition_max_bytes": 1 << 20,
        }
        body = await self.call(
            ApiKey.FETCH,
            13 if isinstance(topic, UUID) else 12,
            replica_id=-1,
            max_wait=timedelta(milliseconds=wait_ms),
            min_bytes=1,
            max_bytes=1 << 30,
            session_epoch=-1,
            topics=[{**place, "partitions": [row]}],
        )
        return body.responses[0].partitions[0]

    async def list_offset(self, topic: str, index: int, timestamp: int, *, leader_epoch: int = -1) -> Any:
        """ListOffsets for one partition; its row of the answer."""
        row = {"partition_index": index, "current_leader_epoch": leader_epoch, "timestamp": timestamp}
        body = await self.call(
            ApiKey.LIST_OFFSETS,
            7,
            replica_id=-1,
            isolation_level=0,
            topics=[{"name": topic, "partitions": [row]}],
        )
        return body.topics[0].partitions[0]

    async def epoch_end(self, topic: str, index: int, epoch: int, *, leader_epoch: int = -1) -> Any:
        """OffsetForLeaderEpoch for one partition; its row of the answer."""
        row = {"partition": index, "current_leader_epoch": leader_epoch, "leader_epoch": epoch}
        body = await self.call(
            ApiKey.OFFSET_FOR_LEADER_EPOCH,
            4,
            replica_id=-1,
            topics=[{"topic": topic, "partitions": [row]}],
        )
        return body.topics[0].partitions[0]


@asynccontextmanager
async def client(port: int) -> AsyncIterator[NodeClient]:
    """A client on a connection of its own, closed at the end."""
    async with connected(port) as wire:
        yield NodeClient(wire)
