"""What handlers are given, made by hand: topics, fake logs, a clock that stands still."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from gateway.context import Context
from gateway.dispatch import Call, Peer
from gateway.errors import ErrorCode, Refused
from gateway.partition import Partition
from gateway.places import Places, Run
from gateway.producers import ProducerWindows
from gateway.settings import Settings
from gateway.state import GatewayState
from gateway.topic import Topic
from gateway.topic_config import resolve
from protocol.batches import Codec, patch, read_header
from protocol.messages import RequestHeader
from protocol.records import Record, build_batch
from tests.support.fake_log import FakeLog
from tests.support.manual_clock import ManualClock
from wal.types import Buffer, Entry, LogId, Position, StreamId

EXPIRATION_MS = 1_000_000


class NoSlots:
    """Slot states of a node without groups."""

    def apply(
        self, stream: StreamId, position: Position, n: int, epoch: int, time: int, tag: bytes, payload: Buffer
    ) -> None:
        raise AssertionError("no slot is written here")

    def snapshot(self, stream: StreamId) -> bytes:
        return b""

    def restore(self, stream: StreamId, data: bytes) -> None:
        raise AssertionError("no slot is restored here")

    def forget(self, stream: StreamId) -> None:
        pass


def new_state() -> GatewayState:
    return GatewayState(ProducerWindows(expiration_ms=EXPIRATION_MS, producers_max=1_000), NoSlots())


class OneNode:
    """A context whose catalog and logs a test fills. Also plays the catalog and the node's logs."""

    def __init__(self, **settings: Any) -> None:
        self.clock = ManualClock()
        self.settings = replace(Settings(), **settings)
        self.log = FakeLog(new_state)
        self.log.now_ms = self.clock.now_ms()
        self.by_log: dict[LogId, FakeLog] = {self.log.id: self.log}
        self._topics: dict[str, Topic] = {}
        self._next_stream = 1024
        parts = SimpleNamespace(settings=self.settings, catalog=self, logs=self, clock=self.clock)
        self.context = cast(Context, parts)

    def add_topic(
        self, name: str, partitions: int = 1, *, logs: Sequence[FakeLog] = (), **overrides: Any
    ) -> Topic:
        """A new topic; settings with `_` for `.`."""
        named = {key.replace("_", "."): str(value) for key, value in overrides.items()}
        for log in logs:
            self.by_log[log.id] = log
        log_ids = tuple(log.id for log in logs or (self.log,))
        topic = Topic(
            name=name,
            id=UUID(int=self._next_stream),
            config=resolve(named, self.settings),
            overrides=named,
            places=Places((Run(0, partitions, log_ids, StreamId(self._next_stream)),)),
            revision=1,
            logs=log_ids,
        )
        self._next_stream += partitions
        self._topics[name] = topic
        return topic

    def lose_log(self) -> None:
        """The node does not own its log any more."""
        del self.by_log[self.log.id]

    # -- the catalog

    def topic(self, name: str) -> Topic | None:
        return self._topics.get(name)

    def topic_by_id(self, topic_id: UUID) -> Topic | None:
        return next((topic for topic in self._topics.values() if topic.id == topic_id), None)

    def partition(self, name: str, index: int) -> Partition | None:
        topic = self.topic(name)
        return topic.partition(index) if topic is not None else None

    def partition_by_id(self, topic_id: UUID, index: int) -> Partition | None:
        topic = self.topic_by_id(topic_id)
        return topic.partition(index) if topic is not None else None

    def topics(self) -> Sequence[Topic]:
        return tuple(self._topics.values())

    # -- the node's logs

    def crowded(self) -> None:
        """No log is behind with its sealing."""

    def get(self, log_id: LogId) -> FakeLog:
        if log_id not in self.by_log:
            raise Refused(ErrorCode.not_leader_or_follower, "another node's")
        return self.by_log[log_id]

    # -- what is done with them

    def call(self, api_key: int, version: int, body: Any, correlation_id: int = 7) -> Call:
        header = RequestHeader(api_key, version, correlation_id, "test")
        return Call(header, body, Peer("127.0.0.1", 1))

    def put(self, stream: int, batch: bytearray, *, land: bool = True) -> Position:
        """Store a batch as Produce would."""
        header = read_header(batch)
        patch(batch, self.log.appended_end(StreamId(stream)), self.log.epoch)
        entry = Entry(memoryview(batch), header.record_count, header.time_max)
        position = self.log.append(StreamId(stream), entry).position
        if land:
            self.log.land()
        return position


def batch_of(
    count: int = 1,
    *,
    value: bytes = b"v",
    times: Sequence[int] | None = None,
    codec: Codec = Codec.NONE,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    **flags: Any,
) -> bytearray:
    """A batch of `count` records as a producer sends it."""
    times = times or range(1_000, 1_000 + count)
    records = [Record(offset, times[offset], None, value) for offset in range(count)]
    return build_batch(
        records,
        codec=codec,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
        **flags,
    )


def batch_of_size(size: int, **fields: Any) -> bytearray:
    """A batch of one record that has exactly this many bytes."""
    value = size
    while True:
        batch = batch_of(1, value=bytes(value), **fields)
        if len(batch) == size:
            return batch
        value -= len(batch) - size
        assert value >= 0, f"no batch has {size} bytes"
