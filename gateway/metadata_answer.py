"""Topics as Metadata tells them, in bytes that are kept until the topic or one of its leaders changes.

A partition whose log nobody holds at the moment has LEADER_NOT_AVAILABLE. What is long gives way to the event
loop every few thousand partitions; the leaders in an answer are those of its beginning.
"""

import asyncio
from collections.abc import Sequence
from itertools import islice
from uuid import UUID

from gateway.context import Context
from gateway.errors import ErrorCode
from gateway.leadership import Leaders
from gateway.topic import Topic
from protocol.hot import metadata as codec
from protocol.hot.primitives import NodeEndpoint

ROWS_AT_ONCE = 2_000
"""Partitions encoded without giving way to the event loop; about a millisecond."""
TOPIC_ROWS = 20
"""What a topic costs besides its partitions, counted in partitions."""


class MetadataAnswer:
    """One answer in the making."""

    def __init__(self, version: int, context: Context) -> None:
        self._version = version
        self._context = context
        self._catalog = context.catalog
        self._leaders = Leaders(context.logs)
        self._rows = codec.Rows(version)
        self._rows_since_turn = 0

    async def everything(self) -> bytes:
        """The body with all topics; kept until any topic or leader changes."""
        catalog = self._catalog
        leaders = tuple(self._leaders.of(log_id) for log_id in catalog.logs)
        key = (catalog.version, self._version, leaders)
        kept = catalog.encoded.get(key)
        if kept is not None:
            return kept
        body = self.body([await self.whole(topic) for topic in catalog.topics()])
        return catalog.encoded.put(key, body)

    def body(self, topics: Sequence[bytes]) -> bytes:
        """The body around topics."""
        node = self._context.node
        return codec.body(
            self._version,
            brokers=[NodeEndpoint(node.id, node.host, node.port, node.rack)],
            cluster_id=self._context.cluster_id,
            controller_id=node.id,
            topics=topics,
        )

    def without(self, code: ErrorCode, name: str | None, topic_id: UUID | None) -> bytes:
        """A topic that cannot be told of, and why."""
        return codec.topic(
            self._version, error_code=code, name=name, topic_id=topic_id, internal=False, count=0, rows=b""
        )

    async def whole(self, topic: Topic) -> bytes:
        """The topic with all its partitions."""
        await self._give_way(TOPIC_ROWS)
        return codec.topic(
            self._version,
            error_code=ErrorCode.none,
            name=topic.name,
            topic_id=topic.id,
            internal=topic.internal,
            count=topic.partitions,
            rows=await self._partitions(topic),
        )

    async def _partitions(self, topic: Topic) -> bytes:
        """The rows of the partitions."""
        leaders = tuple(self._leaders.of(log_id) for log_id in topic.logs)
        key = (topic.id, topic.revision, self._rows.shape, leaders)
        kept = self._catalog.encoded.get(key)
        if kept is not None:
            return kept
        each = topic.places.each()
        parts = []
        for first in range(0, topic.partitions, ROWS_AT_ONCE):
            chunk = [self._leaders.of(log_id).over(base) for log_id, base in islice(each, ROWS_AT_ONCE)]
            parts.append(self._rows.encode(first, chunk))
            await self._give_way(len(chunk))
        return self._catalog.encoded.put(key, b"".join(parts))

    async def _give_way(self, rows: int) -> None:
        """Let other work have its turn after so many rows."""
        self._rows_since_turn += rows
        if self._rows_since_turn >= ROWS_AT_ONCE:
            self._rows_since_turn = 0
            await asyncio.sleep(0)
