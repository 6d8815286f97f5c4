"""Laws of the catalog: races have one winner, all nodes end with the same topics, nothing old comes back."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from uuid import UUID

import pytest

from gateway import catalog as catalog_module
from gateway.catalog import Catalog
from gateway.errors import ErrorCode, Refused
from gateway.settings import Settings
from gateway.topic import NAME_LENGTH_MAX
from gateway.topic_record import DROPS_PREFIX, PARTITIONS_MAX, TOPICS_PREFIX
from tests.support.manual_clock import ManualClock
from tests.support.topics import FakeLog, FakeLogs, new_catalog
from tests.support.until import until
from wal.errors import Corrupt, Unavailable
from wal.meta.base import Change, Compare, KeyValue, Operation, Put, TxnResult, WatchGap
from wal.meta.memory import MemoryMetaStore
from wal.types import LogId, StreamId


def new_meta() -> MemoryMetaStore:
    return MemoryMetaStore(ManualClock())


async def refused(call: Awaitable[object]) -> Refused:
    with pytest.raises(Refused) as raised:
        await call
    assert raised.value.message
    return raised.value


@asynccontextmanager
async def following(*catalogs: Catalog) -> AsyncIterator[None]:
    """The catalogs follow their stores meanwhile."""
    tasks = [asyncio.create_task(catalog.keep_current()) for catalog in catalogs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def facts(catalog: Catalog) -> list[object]:
    return [
        (topic.name, topic.id, topic.overrides, topic.places, topic.revision) for topic in catalog.topics()
    ]


def retention(value: int) -> Callable[[Mapping[str, str]], Mapping[str, str]]:
    return lambda _: {"retention.ms": str(value)}


async def test_what_was_made_is_visible_when_the_call_returns() -> None:
    catalog = new_catalog(new_meta(), logs=3)
    before = catalog.version
    topic = await catalog.create("orders", 7, {"retention.ms": "5"})
    assert catalog.version > before
    assert catalog.topic("orders") is topic is catalog.topic_by_id(topic.id)
    assert catalog.topics() == (topic,)
    assert (topic.partitions, topic.config.retention_ms, topic.logs) == (7, 5, (0, 1, 2))
    partitions = [topic.partition(index) for index in range(7)]
    assert all(one is not None and one.config is topic.config for one in partitions)
    assert catalog.partition("orders", 3) is partitions[3] is catalog.partition_by_id(topic.id, 3)
    assert topic.partition(7) is topic.partition(-1) is catalog.partition("nobody", 0) is None


async def test_a_node_that_starts_later_knows_every_topic() -> None:
    meta = new_meta()
    first, second = new_catalog(meta), new_catalog(meta, seed=1)
    await first.create("a", 2, {})
    await first.create("b", 3, {"retention.ms": "5"})
    await second.load()
    assert facts(first) == facts(second)


async def test_partition_objects_stay_the_same_until_their_topic_changes() -> None:
    catalog = new_catalog(new_meta())
    await catalog.create("a", 2, {})
    kept = catalog.partition("a", 1)
    await catalog.create("b", 1, {})
    await catalog.load()
    assert catalog.partition("a", 1) is kept
    await catalog.alter("a", lambda overrides: {**overrides, "retention.ms": "9"})
    changed = catalog.partition("a", 1)
    assert changed is not kept
    assert changed is not None
    assert kept is not None
    assert (changed.stream, changed.log_id, changed.config.retention_ms) == (kept.stream, kept.log_id, 9)


async def test_of_two_who_make_one_name_at_once_one_wins_and_both_know_the_winners_topic() -> None:
    meta = new_meta()
    catalogs = [new_catalog(meta, seed=seed) for seed in range(4)]
    results = await asyncio.gather(
        *(catalog.create("orders", 1 + at, {}) for at, catalog in enumerate(catalogs)), return_exceptions=True
    )
    refusals = [result for result in results if isinstance(result, Refused)]
    assert [refusal.code for refusal in refusals] == [ErrorCode.topic_already_exists] * 3
    assert len({catalog.topics()[0].id for catalog in catalogs}) == 1


async def test_two_at_once_on_one_node_end_with_one_topic() -> None:
    catalog = new_catalog(new_meta())
    results = await asyncio.gather(*(catalog.create("a", 1, {}) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(result, Refused) for result in results) == 4
    assert len(catalog.topics()) == 1


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a b", "a/b", "ä", "a" * (NAME_LENGTH_MAX + 1), "a\n", "a\0"]
)
async def test_a_name_that_cannot_be_is_refused_and_never_becomes_a_key(name: str) -> None:
    catalog = new_catalog(new_meta())
    assert (await refused(catalog.create(name, 1, {}))).code == ErrorCode.invalid_topic_exception
    for call in (catalog.delete(name), catalog.grow(name, 2), catalog.alter(name, dict)):
        assert (await refused(call)).code == ErrorCode.unknown_topic_or_partition


@pytest.mark.parametrize("name", ["a", "...", "a" * NAME_LENGTH_MAX, "A.b_c-9", "_", "-"])
async def test_a_name_that_can_be_is_taken(name: str) -> None:
    assert (await new_catalog(new_meta()).create(name, 1, {})).name == name


async def test_names_that_differ_only_in_dot_and_underscore_exclude_each_other_also_in_a_race() -> None:
    meta = new_meta()
    first, second = new_catalog(meta), new_catalog(meta, seed=1)
    results = await asyncio.gather(
        first.create("a.b", 1, {}), second.create("a_b", 1, {}), return_exceptions=True
    )
    (refusal,) = [result for result in results if isinstance(result, Refused)]
    assert refusal.code == ErrorCode.invalid_topic_exception
    await first.load()
    (winner,) = first.topics()
    await first.delete(winner.name)
    await second.create("a_b" if winner.name == "a.b" else "a.b", 1, {})


@pytest.mark.parametrize("count", [0, -1, PARTITIONS_MAX + 1])
async def test_a_number_of_partitions_that_cannot_be_is_refused(count: int) -> None:
    assert (
        await refused(new_catalog(new_meta()).create("a", count, {}))
    ).code == ErrorCode.invalid_partitions


async def test_the_largest_topic_is_one_small_record() -> None:
    meta = new_meta()
    topic = await new_catalog(meta, logs=100).create("a", PARTITIONS_MAX, {})
    records, _ = await meta.list(TOPICS_PREFIX)
    assert len(records[0].value) < 1000
    assert len({topic.partition(index).stream for index in range(PARTITIONS_MAX)}) == PARTITIONS_MAX  # type: ignore[union-attr]


async def test_partitions_of_all_topics_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_module, "PARTITIONS_TOTAL_MAX", 10)
    catalog = new_catalog(new_meta())
    await catalog.create("a", 6, {})
    assert (await refused(catalog.create("b", 5, {}))).code == ErrorCode.policy_violation
    assert (await refused(catalog.grow("a", 11))).code == ErrorCode.policy_violation
    await catalog.delete("a")
    await catalog.create("b", 10, {})


async def test_growing_keeps_the_partitions_that_are_there_and_races_end_in_one_of_the_wishes() -> None:
    meta = new_meta()
    nodes = [new_catalog(meta, seed=seed) for seed in range(3)]
    before = await nodes[0].create("a", 3, {})
    results = await asyncio.gather(*(node.grow("a", 5) for node in nodes), return_exceptions=True)
    codes = [result.code for result in results if isinstance(result, Refused)]
    assert codes == [ErrorCode.invalid_partitions] * 2
    await nodes[1].load()
    after = nodes[1].topic("a")
    assert after is not None
    assert after.id == before.id
    assert [after.places.of(index) for index in range(3)] == [before.places.of(index) for index in range(3)]
    assert len({after.places.of(index)[-1].stream for index in range(5)}) == 5


@pytest.mark.parametrize("count", [3, 2, 0, -5, PARTITIONS_MAX + 1])
async def test_a_topic_only_grows_and_not_above_the_limit(count: int) -> None:
    catalog = new_catalog(new_meta())
    await catalog.create("a", 3, {})
    assert (await refused(catalog.grow("a", count))).code == ErrorCode.invalid_partitions


async def test_changes_by_several_nodes_at_once_are_all_made() -> None:
    meta = new_meta()
    nodes = [new_catalog(meta, seed=seed) for seed in range(3)]
    await nodes[0].create("a", 1, {})

    def setting(name: str) -> Callable[[Mapping[str, str]], Mapping[str, str]]:
        return lambda overrides: {**overrides, name: "1"}

    names = ["retention.ms", "retention.bytes", "min.insync.replicas"]
    await asyncio.gather(*(node.alter("a", setting(name)) for node, name in zip(nodes, names, strict=True)))
    await nodes[0].load()
    topic = nodes[0].topic("a")
    assert topic is not None
    assert topic.overrides == dict.fromkeys(names, "1")


async def test_a_deleted_topic_is_gone_when_the_call_returns_and_its_id_never_reaches_a_later_one() -> None:
    catalog = new_catalog(new_meta())
    old = await catalog.create("a", 3, {})
    assert await catalog.delete("a") == old.id
    assert catalog.topic("a") is catalog.topic_by_id(old.id) is None
    new = await catalog.create("a", 3, {})
    assert new.id != old.id
    assert catalog.partition_by_id(old.id, 0) is None
    old_streams = set(chain(*(old.places.streams(log) for log in old.logs)))
    assert not old_streams & set(chain(*(new.places.streams(log) for log in new.logs)))
    assert (await refused(catalog.delete("a", old.id))).code == ErrorCode.unknown_topic_id
    assert catalog.topic("a") is new
    await catalog.delete("a", new.id)
    assert (await refused(catalog.delete("a"))).code == ErrorCode.unknown_topic_or_partition


async def test_of_two_who_delete_one_topic_one_is_told_that_there_is_none() -> None:
    meta = new_meta()
    first, second = new_catalog(meta), new_catalog(meta, seed=1)
    await first.create("a", 1, {})
    await second.load()
    results = await asyncio.gather(first.delete("a"), second.delete("a"), return_exceptions=True)
    assert sum(isinstance(result, Refused) for result in results) == 1
    assert sum(isinstance(result, UUID) for result in results) == 1
    assert first.topics() == second.topics() == ()


async def test_nodes_that_follow_one_store_end_with_the_same_topics() -> None:
    meta = new_meta()
    nodes = [new_catalog(meta.share(), seed=seed) for seed in range(3)]
    choose = random.Random(11)

    async def work(node: Catalog) -> None:
        for _ in range(60):
            name = choose.choice(["a", "b", "c.d", "c_d"])
            what = choose.randrange(4)
            try:
                if what == 0:
                    await node.create(name, choose.randrange(1, 5), {})
                elif what == 1:
                    await node.delete(name)
                elif what == 2:
                    await node.grow(name, choose.randrange(1, 9))
                else:
                    await node.alter(name, retention(choose.randrange(9)))
            except Refused as refusal:
                assert refusal.message
            await asyncio.sleep(0)

    async with following(*nodes):
        await asyncio.gather(*map(work, nodes))
        fresh = new_catalog(meta)
        await fresh.load()
        await until(lambda: all(facts(node) == facts(fresh) for node in nodes))
        versions = [node.version for node in nodes]
        for _ in range(20):
            await asyncio.sleep(0)
        assert versions == [node.version for node in nodes]
        assert all(not node._deleted for node in nodes)


class Gapped(MemoryMetaStore):
    """Tells of a gap, or of no answer, before each watch that works."""

    failures: list[Exception]
    watching = 0

    async def watch(self, prefix: str, after: int) -> AsyncIterator[Change]:
        if self.failures:
            raise self.failures.pop()
        self.watching += 1
        async for change in super().watch(prefix, after):
            yield change


@pytest.mark.parametrize("failure", [WatchGap(), Unavailable("away")])
async def test_what_the_watch_missed_is_listed_again(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_module, "RETRY_S", 0)
    meta = Gapped(ManualClock())
    meta.failures = [failure]
    first, second = new_catalog(meta), new_catalog(meta, seed=1)
    await first.create("gone", 1, {})
    await second.load()
    await first.delete("gone")
    await first.create("a", 1, {})
    async with following(second):
        await until(lambda: facts(first) == facts(second))
        await until(lambda: meta.watching > 0)
        await first.delete("a")
        await until(lambda: not second.topics())


async def test_a_late_change_never_brings_back_what_is_newer_here() -> None:
    meta = new_meta()
    catalog = new_catalog(meta)
    await catalog.create("a", 1, {})
    record = await meta.get("topics/a")
    assert record is not None
    changed = await catalog.alter("a", lambda _: {"retention.ms": "5"})
    catalog._take(Change(record.key, record.value, record.revision))
    assert catalog.topic("a") is changed
    await catalog.delete("a")
    catalog._take(Change(record.key, record.value, record.revision))
    assert catalog.topic("a") is None
    again = await catalog.create("a", 1, {})
    catalog._take(Change(record.key, None, again.revision - 1))
    assert catalog.topic("a") is again


async def test_a_record_that_cannot_be_read_leaves_the_others_alone(caplog: pytest.LogCaptureFixture) -> None:
    meta = new_meta()
    catalog = new_catalog(meta)
    await catalog.create("a", 1, {})
    await meta.txn([], [Put("topics/b", b"\xc1")])
    fresh = new_catalog(meta)
    await fresh.load()
    assert [topic.name for topic in fresh.topics()] == ["a"]
    assert "topic_unreadable" in caplog.text
    assert (await refused(fresh.create("b", 1, {}))).code == ErrorCode.topic_already_exists
    with pytest.raises(Corrupt):
        await fresh.delete("b")


class Unsure(MemoryMetaStore):
    """Does what it is asked and says that it does not know, while `unsure`."""

    unsure = False

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        result = await super().txn(compares, operations)
        if self.unsure:
            raise Unavailable("no answer")
        return result


async def test_a_change_whose_outcome_is_unknown_shows_once_the_store_tells_of_it() -> None:
    meta = Unsure(ManualClock())
    catalog = new_catalog(meta)
    await catalog.create("a", 1, {})
    meta.unsure = True
    with pytest.raises(Unavailable):
        await catalog.create("b", 1, {})
    with pytest.raises(Unavailable):
        await catalog.delete("a")
    async with following(catalog):
        await until(lambda: [topic.name for topic in catalog.topics()] == ["b"])


async def pending(meta: MemoryMetaStore) -> Sequence[KeyValue]:
    return (await meta.list(DROPS_PREFIX))[0]


async def test_deleting_a_topic_drops_each_of_its_streams_once_and_keeps_no_promise_after() -> None:
    meta = new_meta()
    catalog, logs = new_catalog(meta, logs=3), FakeLogs({0: 1, 1: 1, 2: 1})
    topic = await catalog.create("a", 500, {})
    kept = await catalog.create("b", 5, {})
    await catalog.grow("a", 800)
    streams = [topic.places.streams(LogId(log)) for log in range(3)]
    assert catalog.drop_wanted.is_set() is False
    await catalog.delete("a")
    assert catalog.drop_wanted.is_set()
    assert len(await pending(meta)) == 1
    assert await catalog.drop_pending(logs) == 0
    assert not await pending(meta)
    dropped = [log.dropped for log in logs.held.values()]
    assert sum(map(len, dropped)) == len(set(chain(*dropped))) == 800
    for log, expected in zip(dropped, streams, strict=True):
        assert set(expected) <= set(log)
    assert not set(chain(*dropped)) & set(chain(*(kept.places.streams(log) for log in kept.logs)))
    assert await catalog.drop_pending(logs) == 0


async def test_a_promise_is_kept_log_by_log_as_nodes_come_to_hold_them() -> None:
    meta = new_meta()
    catalog = new_catalog(meta, logs=2)
    await catalog.create("a", 4, {})
    await catalog.delete("a")
    here, there = FakeLogs({0: 1}), FakeLogs({1: 1})
    assert await catalog.drop_pending(here) == 1
    assert await catalog.drop_pending(here) == 1
    assert len(here.held[LogId(0)].dropped) == 2
    assert await new_catalog(meta).drop_pending(there) == 0
    assert len(there.held[LogId(1)].dropped) == 2
    assert not await pending(meta)


async def test_a_drop_that_failed_is_done_again() -> None:
    meta = new_meta()
    catalog, logs = new_catalog(meta, logs=1), FakeLogs({0: 1})
    await catalog.create("a", 2, {})
    await catalog.delete("a")
    logs.held[LogId(0)].failure = Unavailable("away")
    assert await catalog.drop_pending(logs) == 1
    assert len(await pending(meta)) == 1
    logs.held[LogId(0)].failure = None
    assert await catalog.drop_pending(logs) == 0
    assert logs.held[LogId(0)].dropped == [1024, 1025] * 2


async def test_no_stream_is_dropped_while_this_node_still_shows_its_topic() -> None:
    meta = new_meta()
    deleting, holding = new_catalog(meta), new_catalog(meta, seed=1)
    await deleting.create("a", 4, {})
    await holding.load()

    class Watched(FakeLogs):
        def get(self, log_id: LogId) -> FakeLog:
            assert holding.topic("a") is None
            return super().get(log_id)

    await deleting.delete("a")
    assert holding.topic("a") is not None
    assert await holding.drop_pending(Watched({0: 1, 1: 1})) == 0


async def test_promises_are_kept_as_they_are_made_and_after_a_start() -> None:
    meta = new_meta()
    catalog, logs = new_catalog(meta, logs=1), FakeLogs({0: 1})
    await catalog.create("before", 1, {})
    await catalog.delete("before")
    task = asyncio.create_task(catalog.keep_dropping(logs))
    try:
        await until(lambda: logs.held[LogId(0)].dropped == [1024])
        topic = await catalog.create("a", 1, {})
        await catalog.delete("a")
        await until(lambda: len(logs.held[LogId(0)].dropped) == 2)
        assert StreamId(topic.places.of(0)[0].stream) in logs.held[LogId(0)].dropped
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_nodes_settings_are_the_defaults_of_its_topics() -> None:
    catalog = new_catalog(new_meta(), settings=Settings(retention_ms=123))
    assert (await catalog.create("a", 1, {})).config.retention_ms == 123


async def test_a_change_is_judged_by_what_is_stored_and_not_by_what_this_node_knows() -> None:
    meta = new_meta()
    behind, ahead = new_catalog(meta), new_catalog(meta, seed=1)
    await behind.create("a", 1, {"retention.ms": "5"})
    await ahead.alter("a", retention(6))
    assert (await behind.alter("a", retention(5))).config.retention_ms == 5
    before = await meta.get("topics/a")
    await behind.alter("a", retention(5))
    assert await meta.get("topics/a") == before
    await ahead.load()
    assert facts(ahead) == facts(behind)
