"""The topics: made, grown, changed and deleted in the metadata store, and known to this node by heart.

Each change is one transaction against the revision that was read, tried again where another node was faster.
Every node lists `topics/` once and then watches it, so look-ups never wait. A change by this node is applied
here before the call returns; what the watch tells later, or late, about the same key is recognised by its
revision and ignored.

Deleting a topic writes, in the same transaction, the promise to drop its streams; `drop_pending` keeps such
promises and may be repeated after a crash at any point. Stream numbers are never used twice, so nothing old
can reach a new topic.
"""

import asyncio
import random as random_module
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol
from uuid import UUID

from gateway.bytes_cache import BytesCache
from gateway.errors import ErrorCode, Refused
from gateway.events import EventLog
from gateway.partition import Partition
from gateway.places import Places, sequence
from gateway.stream_ids import StreamIds
from gateway.topic import Topic, check_growth, check_name, is_name
from gateway.topic_config import NodeSettings, resolve
from gateway.topic_record import (
    DROPS_PREFIX,
    PARTITIONS_MAX,
    TOPICS_PREFIX,
    DropRecord,
    TopicRecord,
    decode_drop,
    decode_name,
    decode_topic,
    drop_key,
    encode_drop,
    encode_name,
    encode_topic,
    name_key,
    topic_key,
)
from wal.errors import Corrupt, Unavailable, WalError
from wal.meta.base import Change, Compare, Delete, KeyValue, MetaStore, Operation, Put, RevisionIs, WatchGap
from wal.types import LogId, StreamId

PARTITIONS_TOTAL_MAX = 1_000_000
"""Most partitions of all topics together; ten times what is designed for, against scripts run wild."""
ATTEMPTS_MAX = 50
"""How often a change is tried while other nodes change the same topic."""
DROPS_AT_ONCE = 200
"""Streams dropped without giving way to the event loop."""
ENCODED_BYTES_MAX = 64 << 20
RETRY_S = 0.5
"""Wait before the metadata store is asked again after it failed."""
DROP_RETRY_S = 30.0
"""Wait before promises are looked at again that could not be kept, another node owning the log."""

__all__ = ["Catalog", "Topic", "check_growth", "check_name"]

events = EventLog(__name__)

Transition = Callable[[TopicRecord], Awaitable[TopicRecord]]


class Waitable(Protocol):
    """What becomes durable."""

    async def wait(self) -> None:
        """Return when it is durable; raises WalError."""


class DroppingLog(Protocol):
    """What dropping streams needs of a log."""

    def drop(self, stream: StreamId) -> Waitable:
        """The stream is gone for good, once this is durable."""


class DroppingLogs(Protocol):
    """What dropping streams needs of the node's logs."""

    def get(self, log_id: LogId) -> DroppingLog:
        """The log. Raises Refused where another node owns it, or nobody."""


class Catalog:
    """All topics. Call `load` before anything else, and keep `keep_current` and `keep_dropping` running.

    version: raised at every change of any topic.
    logs: all logs of the cluster.
    drop_wanted: set when there may be promises to keep.
    encoded: answers, or parts of them, kept by keys that name the revisions they were made from.
    """

    def __init__(
        self, meta: MetaStore, *, logs: Sequence[LogId], settings: NodeSettings, random: random_module.Random
    ) -> None:
        assert logs
        self.version = 0
        self.logs = tuple(logs)
        self.drop_wanted = asyncio.Event()
        self.encoded = BytesCache(ENCODED_BYTES_MAX)
        self._meta = meta
        self._settings = settings
        self._random = random
        self._stream_ids = StreamIds(meta)
        self._topics: dict[str, Topic] = {}
        self._by_id: dict[UUID, Topic] = {}
        self._deleted: dict[str, int] = {}
        self._sorted: tuple[Topic, ...] | None = None
        self._revision = 0
        self._partitions = 0

    def topic(self, name: str) -> Topic | None:
        """The topic of this name."""
        return self._topics.get(name)

    def topic_by_id(self, topic_id: UUID) -> Topic | None:
        """The topic with this id; a topic made again under an old name has another one."""
        return self._by_id.get(topic_id)

    def partition(self, name: str, index: int) -> Partition | None:
        """The partition of the topic of this name."""
        topic = self._topics.get(name)
        return topic.partition(index) if topic is not None else None

    def partition_by_id(self, topic_id: UUID, index: int) -> Partition | None:
        """The partition of the topic with this id."""
        topic = self._by_id.get(topic_id)
        return topic.partition(index) if topic is not None else None

    def topics(self) -> tuple[Topic, ...]:
        """All topics in order of name."""
        if self._sorted is None:
            self._sorted = tuple(sorted(self._topics.values(), key=lambda topic: topic.name))
        return self._sorted

    async def create(self, name: str, count: int, overrides: Mapping[str, str]) -> Topic:
        """Make a topic of `count` partitions; `overrides` are validated settings.

        Raises Refused; Unavailable where it is unknown whether the topic was made.
        """
        first_stream: StreamId | None = None
        for _ in range(ATTEMPTS_MAX):
            await self.check_new(name, count)
            if first_stream is None:
                first_stream = await self._stream_ids.take(count)
            start = self._random.randrange(len(self.logs))
            places = Places().grown(count, sequence(self.logs, None, start), first_stream)
            record = TopicRecord(
                UUID(int=self._random.getrandbits(128), version=4), dict(overrides), 0, places
            )
            data = encode_topic(record)
            compares: list[Compare] = [RevisionIs(topic_key(name), 0)]
            operations: list[Operation] = [Put(topic_key(name), data)]
            if (shared := name_key(name)) is not None:
                compares.append(RevisionIs(shared, 0))
                operations.append(Put(shared, encode_name(name)))
            result = await self._meta.txn(compares, operations)
            if result.succeeded:
                return self._apply(name, record, result.revision)
        raise Unavailable(f"other nodes made and deleted {name} {ATTEMPTS_MAX} times in a row; try again")

    async def check_new(self, name: str, count: int) -> None:
        """Whether `create` would do it now. Raises Refused with the reason why not."""
        check_name(name)
        if not 1 <= count <= PARTITIONS_MAX:
            raise Refused(
                ErrorCode.invalid_partitions,
                f"{count} partitions are not possible; from 1 to {PARTITIONS_MAX} are",
            )
        found = await self._meta.get(topic_key(name))
        if found is not None:
            self._take(Change(found.key, found.value, found.revision))
            raise Refused(ErrorCode.topic_already_exists, f"the topic {name} exists")
        self._check_total(count)
        shared = name_key(name)
        taken = await self._meta.get(shared) if shared is not None else None
        if taken is not None:
            other = decode_name(taken.key, taken.value)
            if other != name:
                raise Refused(
                    ErrorCode.invalid_topic_exception,
                    f"{name} and the existing topic {other} differ only in '.' and '_', which the names of "
                    "metrics cannot tell apart; choose another name",
                )

    async def grow(self, name: str, count: int) -> Topic:
        """Add partitions until there are `count`; those there are stay where they are.

        Raises Refused, Unavailable.
        """

        async def grown(record: TopicRecord) -> TopicRecord:
            check_growth(name, record.places.count, count)
            missing = count - record.places.count
            self._check_total(missing)
            last = record.places.of(record.places.count - 1)[-1].log_id
            laid = sequence(self.logs, last, self._random.randrange(len(self.logs)))
            return record._replace(
                places=record.places.grown(missing, laid, await self._stream_ids.take(missing))
            )

        return await self._change(name, grown)

    async def alter(self, name: str, transition: Callable[[Mapping[str, str]], Mapping[str, str]]) -> Topic:
        """Replace the settings that are set by what `transition` makes of them. Raises Refused, Unavailable.

        It is called again, with the newer ones, where another node changed them meanwhile; a Refused of it
        ends the call.
        """

        async def altered(record: TopicRecord) -> TopicRecord:
            overrides = dict(transition(record.config))
            if overrides == record.config:
                return record
            return record._replace(config=overrides, config_version=record.config_version + 1)

        return await self._change(name, altered)

    async def delete(self, name: str, topic_id: UUID | None = None) -> UUID:
        """Delete the topic, if an id is given only the one that has it. Its streams are dropped by
        `drop_pending`.

        Returns the id it had. Raises Refused; Unavailable where it is unknown whether the topic was deleted.
        """
        for _ in range(ATTEMPTS_MAX):
            found = await self._found(name)
            record = decode_topic(found.key, found.value)
            if topic_id is not None and record.id != topic_id:
                raise Refused(
                    ErrorCode.unknown_topic_id, f"the topic {name} has the id {record.id}, not {topic_id}"
                )
            operations: list[Operation] = [
                Delete(found.key),
                Put(drop_key(record.id), encode_drop(DropRecord(name, record.places))),
            ]
            if (shared := name_key(name)) is not None:
                operations.append(Delete(shared))
            result = await self._meta.txn([RevisionIs(found.key, found.revision)], operations)
            if result.succeeded:
                self._forget(name, result.revision)
                return record.id
        raise _too_many_races(name)

    async def _change(self, name: str, transition: Transition) -> Topic:
        """Store what `transition` makes of the topic's newest record."""
        for _ in range(ATTEMPTS_MAX):
            found = await self._found(name)
            before = decode_topic(found.key, found.value)
            record = await transition(before)
            if record is before:
                return self._apply(name, record, found.revision)
            result = await self._meta.txn(
                [RevisionIs(found.key, found.revision)], [Put(found.key, encode_topic(record))]
            )
            if result.succeeded:
                return self._apply(name, record, result.revision)
        raise _too_many_races(name)

    async def _found(self, name: str) -> KeyValue:
        """The topic's newest record. Raises Refused where there is none."""
        found = await self._meta.get(topic_key(name)) if is_name(name) else None
        if found is None:
            if name in self._topics:
                await self.load()
            raise Refused(ErrorCode.unknown_topic_or_partition, f"there is no topic {name!r:.300}")
        return found

    async def load(self) -> None:
        """Read all topics; afterwards the catalog is at least as new as the moment of the call.

        Raises Unavailable.
        """
        records, revision = await self._meta.list(TOPICS_PREFIX)
        present = {record.key for record in records}
        gone = [
            name
            for name, topic in self._topics.items()
            if topic.revision <= revision and topic_key(name) not in present
        ]
        for name in gone:
            self._forget(name, revision)
        for record in records:
            self._take(Change(record.key, record.value, record.revision))
        self._revision = max(self._revision, revision)
        self._deleted = {name: at for name, at in self._deleted.items() if at > revision}

    async def keep_current(self) -> None:
        """Follow the store for ever; what it no longer has as changes is listed again.

        Ends only by cancellation.
        """
        while True:
            try:
                async for change in self._meta.watch(TOPICS_PREFIX, self._revision):
                    self._revision = max(self._revision, change.revision)
                    self._take(change)
            except WatchGap:
                events.event("topics_watch_gap", revision=self._revision)
            except Unavailable as error:
                events.warning("topics_watch_failed", cause=str(error))
                await asyncio.sleep(RETRY_S)
            await self._load_somehow()

    async def _load_somehow(self) -> None:
        while True:
            try:
                return await self.load()
            except Unavailable as error:
                events.warning("topics_list_failed", cause=str(error))
                await asyncio.sleep(RETRY_S)

    async def keep_dropping(self, logs: DroppingLogs) -> None:
        """Keep promises to drop streams as they are made, for ever. Ends only by cancellation."""
        while True:
            self.drop_wanted.clear()
            try:
                pending = await self.drop_pending(logs)
            except WalError as error:
                events.warning("topics_drop_failed", cause=str(error))
                pending = 1
            try:
                async with asyncio.timeout(DROP_RETRY_S if pending else None):
                    await self.drop_wanted.wait()
            except TimeoutError:
                continue

    async def drop_pending(self, logs: DroppingLogs) -> int:
        """Drop the streams of deleted topics in the logs that this node owns; returns how many promises
        remain.

        A promise is removed when every log has done its part, durably. May be repeated, after a crash too.
        """
        promises, _ = await self._meta.list(DROPS_PREFIX)
        if promises:
            await self.load()
        remaining = 0
        for promise in promises:
            try:
                remaining += not await self._keep_promise(promise, logs)
            except WalError as error:
                remaining += 1
                events.warning("topic_drop_failed", key=promise.key, cause=str(error))
        return remaining

    async def _keep_promise(self, promise: KeyValue, logs: DroppingLogs) -> bool:
        """Drop the streams of one topic where this node owns the log.

        Whether nothing is left of the promise.
        """
        record = decode_drop(promise.key, promise.value)
        done = set(record.done)
        for log_id in sorted(record.places.log_ids() - done):
            try:
                log = logs.get(log_id)
            except Refused:
                continue
            await _drop_streams(log, record.places.streams(log_id))
            done.add(log_id)
        expected = [RevisionIs(promise.key, promise.revision)]
        if done >= record.places.log_ids():
            return (await self._meta.txn(expected, [Delete(promise.key)])).succeeded
        if done != record.done:
            kept = record._replace(done=frozenset(done))
            await self._meta.txn(expected, [Put(promise.key, encode_drop(kept))])
        return False

    def _take(self, change: Change) -> None:
        """Apply what the store told.

        A record that cannot be read leaves the topic as it was and is reported.
        """
        name = change.key.removeprefix(TOPICS_PREFIX)
        if change.value is None:
            self._forget(name, change.revision)
            return
        try:
            self._apply(name, decode_topic(change.key, change.value), change.revision)
        except Corrupt as error:
            events.error("topic_unreadable", cause=error, key=change.key)

    def _apply(self, name: str, record: TopicRecord, revision: int) -> Topic:
        """Make the record, stored at `revision`, the topic, unless something newer is known.

        Returns its topic.
        """
        config = resolve(record.config, self._settings)
        logs = tuple(sorted(record.places.log_ids()))
        topic = Topic(name, record.id, config, record.config, record.places, revision, logs)
        known = self._topics.get(name)
        if known is not None and known.revision >= revision:
            return known if known.revision == revision else topic
        if self._deleted.get(name, 0) >= revision:
            return topic
        if known is not None:
            del self._by_id[known.id]
            self._partitions -= known.partitions
        self._partitions += topic.partitions
        self._deleted.pop(name, None)
        self._topics[name] = topic
        self._by_id[topic.id] = topic
        self._changed()
        return topic

    def _forget(self, name: str, revision: int) -> None:
        """The topic was deleted at `revision`, unless something newer is known.

        The revision is remembered until the watch has passed it, so that no older record brings the topic
        back.
        """
        if revision > self._revision:
            self._deleted[name] = max(revision, self._deleted.get(name, 0))
        else:
            self._deleted.pop(name, None)
        topic = self._topics.get(name)
        if topic is None or topic.revision > revision:
            return
        del self._topics[name]
        del self._by_id[topic.id]
        self._partitions -= topic.partitions
        self.drop_wanted.set()
        self._changed()

    def _check_total(self, more: int) -> None:
        if self._partitions + more > PARTITIONS_TOTAL_MAX:
            raise Refused(
                ErrorCode.policy_violation,
                f"there are {self._partitions} partitions already and {more} more would be above "
                f"{PARTITIONS_TOTAL_MAX}, the most of all topics together; delete topics first",
            )

    def _changed(self) -> None:
        self._sorted = None
        self.version += 1


async def _drop_streams(log: DroppingLog, streams: Iterator[StreamId]) -> None:
    """Drop streams, a few at a time, and return when all of that is durable."""
    while batch := list(islice(streams, DROPS_AT_ONCE)):
        flushes = [log.drop(stream) for stream in batch]
        for flush in flushes:
            await flush.wait()


def _too_many_races(name: str) -> Unavailable:
    return Unavailable(f"other nodes changed {name} {ATTEMPTS_MAX} times in a row; try again")
