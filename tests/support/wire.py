"""A client that speaks frames and nothing more: for tests of what a real client would never do."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

API_VERSIONS = 18
FETCH = 1
METADATA = 3
PRODUCE = 0


def request(
    api: int, version: int, correlation_id: int, body: bytes = b"", client_id: str | None = "test"
) -> bytes:
    """A whole frame with a request header of version 1."""
    name = (
        struct.pack(">h", -1) if client_id is None else struct.pack(">h", len(client_id)) + client_id.encode()
    )
    payload = struct.pack(">hhi", api, version, correlation_id) + name + body
    return struct.pack(">i", len(payload)) + payload


class Wire:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Write the bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self) -> tuple[int, bytes]:
        """The next answer: its correlation id and what follows it."""
        async with asyncio.timeout(10):
            size, correlation_id = struct.unpack(">ii", await self._reader.readexactly(8))
            return correlation_id, await self._reader.readexactly(size - 4)

    async def closed(self) -> bytes:
        """What the server still sends until it closes the connection."""
        async with asyncio.timeout(10):
            try:
                return await self._reader.read()
            except ConnectionResetError:
                return b""

    async def call(self, api: int, version: int, body: bytes = b"", correlation_id: int = 1) -> bytes:
        """Send one request and return what follows the correlation id of its answer."""
        await self.send(request(api, version, correlation_id, body))
        answered, payload = await self.receive()
        assert answered == correlation_id
        return payload


@asynccontextmanager
async def connected(port: int, host: str = "127.0.0.1") -> AsyncIterator[Wire]:
    """A connection, closed at the end."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
