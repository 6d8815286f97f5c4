"""A catalog over any metadata store, and logs that only have an epoch and take drops."""

import random
from collections.abc import Mapping

from gateway.catalog import Catalog
from gateway.context import Node
from gateway.errors import ErrorCode, Refused
from gateway.settings import Settings
from wal.meta.base import MetaStore
from wal.types import LogId, StreamId

NODE = Node(7, "node.example", 9092, "rack-1")


class FakeFlush:
    """Durable at once, or failing."""

    def __init__(self, failure: Exception | None) -> None:
        self._failure = failure

    async def wait(self) -> None:
        if self._failure is not None:
            raise self._failure


class FakeLog:
    """A log's epoch, and the streams that were dropped in it."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.dropped: list[StreamId] = []
        self.failure: Exception | None = None

    def drop(self, stream: StreamId) -> FakeFlush:
        self.dropped.append(stream)
        return FakeFlush(self.failure)


class FakeLogs:
    """The logs that a node holds."""

    def __init__(self, epochs: Mapping[int, int]) -> None:
        self.held = {LogId(log): FakeLog(epoch) for log, epoch in epochs.items()}

    def get(self, log_id: LogId) -> FakeLog:
        if log_id not in self.held:
            raise Refused(ErrorCode.not_leader_or_follower, "not held")
        return self.held[log_id]

    def leader_of(self, log_id: LogId) -> int:
        return NODE.id if log_id in self.held else -1


def new_catalog(
    meta: MetaStore, *, logs: int = 2, seed: int = 0, settings: Settings | None = None
) -> Catalog:
    return Catalog(
        meta,
        logs=[LogId(log) for log in range(logs)],
        settings=settings or Settings(),
        random=random.Random(seed),
    )
