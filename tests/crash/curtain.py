"""What stands between clients and gateway: a forwarder that can hold all answers back.

While answers are held the gateway goes on to make durable what the clients have sent, up to what each has in
flight, and no client hears of it. Killed then, the gateway leaves behind what a bad moment leaves: durable
records that their clients must send again.
"""

import asyncio
from contextlib import suppress

from tests.crash.worker import Worker
from tests.support.gateway import HOST

READ_BYTES = 256 * 1024


class Curtain(Worker):
    """Listens on `port` from `start` on; the address that the gateway is to advertise."""

    def __init__(self, port: int, gateway_port: int) -> None:
        super().__init__("curtain")
        self.port = port
        self._gateway_port = gateway_port
        self._loop = asyncio.new_event_loop()
        self._raised = asyncio.Event()
        self._raised.set()
        self._clients: set[asyncio.StreamWriter] = set()

    def work(self) -> None:
        """Forward until the end."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    def hold(self) -> None:
        """Let no answer through."""
        self._loop.call_soon_threadsafe(self._raised.clear)

    def drop(self) -> None:
        """Close all connections and let later answers through. Call it when the gateway is dead."""
        self._loop.call_soon_threadsafe(self._drop)

    def _drop(self) -> None:
        for client in self._clients:
            client.transport.abort()
        self._clients.clear()
        self._raised.set()

    async def _serve(self) -> None:
        async with await asyncio.start_server(self._connected, HOST, self.port):
            await asyncio.to_thread(self.ending.wait)

    async def _connected(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self._clients.add(to_client)
        try:
            from_gateway, to_gateway = await asyncio.open_connection(HOST, self._gateway_port)
        except OSError:
            to_client.transport.abort()
            return
        asking = asyncio.create_task(self._ask(from_client, to_gateway))
        with suppress(OSError):
            while data := await from_gateway.read(READ_BYTES):
                await self._raised.wait()
                if to_client not in self._clients:
                    break
                to_client.write(data)
                await to_client.drain()
        asking.cancel()
        self._clients.discard(to_client)
        to_client.transport.abort()
        to_gateway.transport.abort()

    @staticmethod
    async def _ask(from_client: asyncio.StreamReader, to_gateway: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await from_client.read(READ_BYTES):
                to_gateway.write(data)
                await to_gateway.drain()
        to_gateway.close()
