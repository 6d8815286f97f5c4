"""What tests of real clients share: topics and stored batches seen without a client, and records to send."""

import io
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any

from kio.index import load_request_schema
from kio.serial import entity_writer

from gateway.errors import ErrorCode
from protocol.batches import BatchHeader, walk
from protocol.records import Record, build_batch
from protocol.versions import ApiKey
from tests.support import kio_messages
from tests.support.client_driver import SECONDS_MAX, Received, Sent

TIME_MS = 1_700_000_000_000
"""Timestamp of the first record where a test chooses; topics with such old records must KEEP them."""

KEEP = {"retention.ms": "-1"}


def call(address: str, api_key: ApiKey, version: int, **fields: object) -> Any:
    """Send one request on a connection of its own and return the body of the answer, all by way of kio."""
    schema: Any = load_request_schema(int(api_key), version)
    written = io.BytesIO()
    header_class: Any = schema.__header_schema__
    header = header_class(
        request_api_key=int(api_key), request_api_version=version, correlation_id=1, client_id="raw"
    )
    entity_writer(header_class)(written, header)
    entity_writer(schema)(written, kio_messages.request(int(api_key), version, **fields))
    frame = written.getvalue()
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), SECONDS_MAX) as connection:
        connection.sendall(struct.pack(">i", len(frame)) + frame)
        (size,) = struct.unpack(">i", _received(connection, 4))
        _, body = kio_messages.response(int(api_key), version, _received(connection, size))
        return body


def create_topic(
    address: str, topic: str, partitions: int = 1, config: Mapping[str, str] | None = None
) -> None:
    """Create a topic without a client."""
    configs = [{"name": name, "value": value} for name, value in (config or {}).items()]
    row = {"name": topic, "num_partitions": partitions, "replication_factor": 1, "configs": configs}
    answer = call(address, ApiKey.CREATE_TOPICS, 5, topics=[row], timeout=timedelta(seconds=30))
    assert [one.error_code for one in answer.topics] == [ErrorCode.none], answer


def partition_count(address: str, topic: str) -> int:
    """Number of a topic's partitions, 0 if there is no such topic."""
    answer = call(address, ApiKey.METADATA, 5, topics=[{"name": topic}], allow_auto_topic_creation=False)
    return sum(len(one.partitions) for one in answer.topics if one.error_code == ErrorCode.none)


def stored_batches(address: str, topic: str, partition: int = 0) -> list[BatchHeader]:
    """Headers of all batches of a partition as they lie in the log: Fetch hands them out as they are."""
    found: list[BatchHeader] = []
    while True:
        row = {
            "partition": partition,
            "current_leader_epoch": -1,
            "fetch_offset": found[-1].last_offset + 1 if found else 0,
            "log_start_offset": -1,
            "partition_max_bytes": 1 << 30,
        }
        answer = call(
            address,
            ApiKey.FETCH,
            11,
            replica_id=-1,
            max_bytes=1 << 30,
            session_epoch=-1,
            topics=[{"topic": topic, "partitions": [row]}],
            forgotten_topics_data=[],
        )
        (data,) = answer.responses[0].partitions
        assert data.error_code == ErrorCode.none, data.error_code
        batches = [header for _, header in walk(bytes(data.records or b""))]
        if not batches:
            return found
        found += batches


@cache
def value_filling(batch_bytes: int) -> bytes:
    """A value that makes a batch of one record, without key and headers, exactly this large."""
    value = b"x" * (batch_bytes - 72)
    assert len(build_batch([Record(0, TIME_MS, None, value)])) == batch_bytes
    return value


def various_records(*, timestamps: bool, null_header_values: bool) -> list[Sent]:
    """Records with and without keys, values and headers, empty ones, and bytes that are no text."""
    headers: tuple[tuple[str, bytes | None], ...] = (("trace", b"\x00\xff"), ("trace", b""), ("ключ", b"1"))
    if null_header_values:
        headers = (*headers, ("nothing", None))
    rows = [
        Sent(0, b"a value"),
        Sent(0, b"a value", b"a key"),
        Sent(0, None, b"a tombstone"),
        Sent(0, b"", b""),
        Sent(0, "große Trommel".encode(), "ключ".encode()),
        Sent(0, bytes(range(256)), bytes(range(255, -1, -1))),
        Sent(0, b"with headers", b"a key", headers),
        Sent(0, None, b"a tombstone with headers", headers),
    ]
    if not timestamps:
        return rows
    return [row._replace(timestamp=TIME_MS + at * 1_000) for at, row in enumerate(rows)]


def numbered_records(count: int, partitions: int = 1) -> list[Sent]:
    """Records that tell their place, dealt out to the partitions in turn. They shrink under any codec."""
    return [
        Sent(at % partitions, b"%d %s" % (at, b"boom " * 20), b"key %d" % (at % 7)) for at in range(count)
    ]


def by_partition(records: Iterable[Received]) -> dict[int, list[Received]]:
    """Records in the order they came, apart by partition."""
    apart: dict[int, list[Received]] = {}
    for record in records:
        apart.setdefault(record.partition, []).append(record)
    return apart


def assert_received(received: Sequence[Received], sent: Sequence[Sent]) -> None:
    """Each partition gave back exactly what was sent to it, in order, at dense offsets from 0 on."""
    apart = by_partition(received)
    assert sorted(apart) == sorted({record.partition for record in sent})
    for partition, records in apart.items():
        wanted = [record for record in sent if record.partition == partition]
        assert [record.offset for record in records] == list(range(len(wanted)))
        assert [(one.key, one.value, one.headers) for one in records] == [
            (one.key, one.value, one.headers) for one in wanted
        ]
        for got, one in zip(records, wanted, strict=True):
            assert got.timestamp == one.timestamp or (one.timestamp is None and got.timestamp > TIME_MS)


def _received(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(size - len(data))
        assert part, "the gateway closed the connection"
        data += part
    return bytes(data)
