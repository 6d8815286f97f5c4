"""A node with a catalog over a metadata store in memory, asked through its handlers."""

import random
from dataclasses import fields
from typing import Any

from gateway.context import Context
from gateway.dispatch import Call, Peer
from gateway.settings import Settings
from protocol.messages import RequestHeader, encode_response
from tests.support import kio_messages
from tests.support.manual_clock import ManualClock
from tests.support.topics import NODE, FakeLogs, new_catalog
from wal.meta.memory import MemoryMetaStore

CLUSTER_ID = "c" * 22


class Stage:
    """One node, asked by calls of its handlers. What it answers is decoded by kio."""

    def __init__(self, *, logs: int = 2, **settings: Any) -> None:
        self.meta = MemoryMetaStore(ManualClock())
        self.settings = Settings(**settings)
        self.catalog = new_catalog(self.meta, logs=logs, settings=self.settings)
        self.logs = FakeLogs({log: 3 + log for log in range(logs)})
        parts: dict[str, Any] = {
            "settings": self.settings,
            "node": NODE,
            "cluster_id": CLUSTER_ID,
            "catalog": self.catalog,
            "logs": self.logs,
            "clock": ManualClock(),
            "random": random.Random(0),
        }
        # Handlers of topics need no other part.
        given: dict[str, Any] = {part.name: parts.get(part.name) for part in fields(Context)}
        self.context = Context(**given)

    async def ask(self, handler: Any, api_key: int, version: int, **given: object) -> Any:
        """The decoded answer of a handler to a request made of these fields."""
        call = Call(
            RequestHeader(api_key, version, 4711, "test"),
            kio_messages.request(api_key, version, **given),
            Peer("127.0.0.1", 1),
        )
        answer = await handler.handle(call, self.context)
        data = answer if isinstance(answer, bytes) else encode_response(api_key, version, 4711, answer)
        correlation_id, body = kio_messages.response(api_key, version, bytes(data))
        assert correlation_id == 4711
        return body
