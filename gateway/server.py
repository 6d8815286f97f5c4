"""The listener: takes connections, keeps an eye on silent ones, and drains them when the node stops."""

import asyncio
from contextlib import suppress

from gateway.connection import Connection
from gateway.events import EventLog
from gateway.service import Service

LOG = EventLog(__name__)

BACKLOG = 1024
SWEEP_S = 1.0


class Server:
    """The sockets that take a node's connections, and all of these. Made by `bind`; none come before `serve`.

    port: the one that it listens on.
    """

    def __init__(self) -> None:
        self.port = 0
        self._listener: asyncio.Server | None = None
        self._service: Service | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @classmethod
    async def bind(cls, host: str, port: int) -> "Server":
        """Reserve the address; port 0 takes a free one. Raises OSError where it cannot be had."""
        server = cls()
        loop = asyncio.get_running_loop()
        server._listener = await loop.create_server(
            server._connection, host, port, backlog=BACKLOG, start_serving=False
        )
        server.port = int(server._listener.sockets[0].getsockname()[1])
        return server

    async def serve(self, service: Service) -> None:
        """Take connections from now on."""
        assert self._listener is not None
        self._service = service
        service.now = asyncio.get_running_loop().time()
        self._sweeper = asyncio.create_task(self._sweep(service), name="server sweeps")
        await self._listener.start_serving()

    async def stop(self, wait_s_max: float) -> None:
        """Take no more connections and requests, answer what is in flight, close all.

        Connections that are not done after `wait_s_max` are closed without their answers. May be called at
        any time, again too.
        """
        if self._listener is not None:
            self._listener.close()
        if self._service is not None:
            await self._drain(self._service, wait_s_max)
        if self._sweeper is not None:
            self._sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeper

    async def _drain(self, service: Service, wait_s_max: float) -> None:
        service.stopping = True
        for connection in tuple(service.connections):
            connection.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s_max):
                await _emptied(service)
        if service.connections:
            LOG.warning("connections_aborted", connections=len(service.connections), waited_s=wait_s_max)
            for connection in tuple(service.connections):
                connection.abort()
            await _emptied(service)

    def _connection(self) -> Connection:
        assert self._service is not None
        return Connection(self._service)

    async def _sweep(self, service: Service) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            service.now = loop.time()
            for connection in tuple(service.connections):
                connection.sweep()


async def _emptied(service: Service) -> None:
    service.emptied.clear()
    if service.connections:
        await service.emptied.wait()
