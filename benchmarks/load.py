"""A load generator that costs next to nothing: prebuilt record batches, pipelined over one connection.

    python -m benchmarks.load produce PORT TOPIC PARTITIONS BATCHES BATCH_BYTES PRODUCER_ID
    python -m benchmarks.load consume PORT TOPIC PARTITIONS BYTES

It is a process of its own, so that its work is not the gateway's, and prints the seconds that it took. A
PRODUCER_ID of -1 is a producer that is not idempotent.
"""

import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Sequence

import crc32c

from protocol.batches import walk
from protocol.records import Record, build_batch

PRODUCE, FETCH = 0, 1
PRODUCE_VERSION, FETCH_VERSION = 7, 11
RECORD_BYTES = 1_000
"""Of a record's value; with what the batch adds to it about 1 KB."""
IN_FLIGHT = 16
PATIENCE_S = 30.0
FETCH_BYTES_MAX = 4 * 1024 * 1024
CRC_AT, CRC_FROM, PRODUCER_AT = 17, 21, 43


class Connection:
    """Requests out, answers in, in order."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.settimeout(PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(1024 * 1024)

    def send(self, api: int, version: int, *body: bytes | bytearray) -> None:
        """Send one request."""
        head = struct.pack(">hhi", api, version, 0) + string("benchmark")
        size = len(head) + sum(map(len, body))
        parts: list[memoryview] = [memoryview(part) for part in (struct.pack(">i", size) + head, *body)]
        while parts:
            sent = self._socket.sendmsg(parts)
            while parts and sent >= len(parts[0]):
                sent -= len(parts.pop(0))
            if parts:
                parts[0] = parts[0][sent:]

    def receive(self) -> memoryview:
        """The next answer's body, which stays until the next call."""
        self._read(4)
        size = int.from_bytes(self._buffer[:4])
        if size > len(self._buffer):
            self._buffer = bytearray(size)
        self._read(size)
        return memoryview(self._buffer)[4:size]

    def _read(self, size: int) -> None:
        view = memoryview(self._buffer)
        at = 0
        while at < size:
            got = self._socket.recv_into(view[at:size])
            if not got:
                raise ConnectionResetError("the gateway closed the connection")
            at += got


def string(text: str) -> bytes:
    """As the protocol has it, with two bytes of length."""
    return struct.pack(">h", len(text)) + text.encode()


def batch_of(size: int) -> bytearray:
    """A batch of as many records of 1 KB as make `size` bytes."""
    values = [bytes([i % 251]) * RECORD_BYTES for i in range(max(1, size // RECORD_BYTES))]
    now = int(time.time() * 1000)
    return build_batch([Record(i, now, None, value) for i, value in enumerate(values)])


def produce(
    port: int, topic: str, partitions: int, batches: int, batch_bytes: int, producer_id: int
) -> float:
    """Send that many batches, the partitions in turn, with acks=all; the seconds until all are answered."""
    batch = batch_of(batch_bytes)
    count = struct.unpack_from(">i", batch, 57)[0]
    connection = Connection(port)
    began = time.perf_counter()
    waiting = 0
    for i in range(batches):
        if producer_id >= 0:
            struct.pack_into(">qhi", batch, PRODUCER_AT, producer_id, 0, i // partitions * count)
            struct.pack_into(">I", batch, CRC_AT, crc32c.crc32c(memoryview(batch)[CRC_FROM:]))
        head = struct.pack(">hhii", -1, -1, 30_000, 1) + string(topic)
        row = struct.pack(">iii", 1, i % partitions, len(batch))
        connection.send(PRODUCE, PRODUCE_VERSION, head + row, batch)
        waiting += 1
        if waiting == IN_FLIGHT:
            _produced(connection, topic)
            waiting -= 1
    for _ in range(waiting):
        _produced(connection, topic)
    return time.perf_counter() - began


def _produced(connection: Connection, topic: str) -> None:
    answer = connection.receive()
    error = struct.unpack_from(">h", answer, 4 + len(string(topic)) + 4 + 4)[0]
    if error:
        raise RuntimeError(f"produce was answered with error {error}")


def consume(port: int, topic: str, partitions: int, size: int) -> float:
    """Fetch from the beginning until `size` bytes have come; the seconds it took. Two requests in flight."""
    connection = Connection(port)
    groups = [group for at in range(2) if (group := list(range(partitions))[at::2])]
    at = dict.fromkeys(range(partitions), 0)
    waiting = deque[list[int]]()
    began = time.perf_counter()
    for group in groups:
        _ask(connection, topic, group, at)
        waiting.append(group)
    came = 0
    while came < size:
        group = waiting.popleft()
        came += _take(connection.receive(), topic, at)
        if came < size:
            _ask(connection, topic, group, at)
            waiting.append(group)
    return time.perf_counter() - began


def _ask(connection: Connection, topic: str, partitions: Sequence[int], at: dict[int, int]) -> None:
    head = struct.pack(">iiiibii", -1, 500, 1, FETCH_BYTES_MAX, 0, 0, -1)
    rows = b"".join(struct.pack(">iiqqi", index, -1, at[index], -1, FETCH_BYTES_MAX) for index in partitions)
    tail = struct.pack(">i", 0) + string("")
    connection.send(
        FETCH,
        FETCH_VERSION,
        head + struct.pack(">i", 1) + string(topic) + struct.pack(">i", len(partitions)) + rows + tail,
    )


def _take(answer: memoryview, topic: str, at: dict[int, int]) -> int:
    """Read an answer: how many bytes of batches it brought; `at` is moved on."""
    place = 4 + 2 + 4 + 4 + len(string(topic))
    (rows,) = struct.unpack_from(">i", answer, place)
    place += 4
    came = 0
    for _ in range(rows):
        index, error, _, _, _, aborted, _, size = struct.unpack_from(">ihqqqiii", answer, place)
        place += struct.calcsize(">ihqqqiii")
        if error or aborted > 0:
            raise RuntimeError(f"fetch of partition {index} was answered with error {error}")
        for _, header in walk(answer[place : place + size]):
            at[index] = header.base_offset + header.last_offset_delta + 1
        place += size
        came += size
    return came


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says."""
    what, port, topic, *numbers = arguments
    job = produce if what == "produce" else consume
    print(job(int(port), topic, *map(int, numbers)))


if __name__ == "__main__":
    main(sys.argv[1:])
