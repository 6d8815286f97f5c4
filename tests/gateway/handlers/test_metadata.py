"""Metadata answers as kio reads them, in every version."""

from typing import Any
from uuid import UUID

import pytest

from gateway.errors import ErrorCode
from gateway.handlers import metadata
from gateway.topic_record import PARTITIONS_MAX
from tests.support.topic_stage import CLUSTER_ID, Stage
from tests.support.topics import NODE
from wal.errors import Unavailable
from wal.types import LogId

METADATA = 3
VERSIONS = range(14)


def asked(*names: str) -> list[dict[str, object]]:
    return [{"name": name, "topic_id": None} for name in names]


async def ask(stage: Stage, version: int, topics: Any, **fields: object) -> Any:
    return await stage.ask(metadata, METADATA, version, topics=topics, **fields)


def names(answer: Any) -> list[str]:
    return [topic.name for topic in answer.topics]


@pytest.mark.parametrize("version", VERSIONS)
async def test_all_topics_are_told_with_their_partitions(version: int) -> None:
    stage = Stage(logs=2)
    await stage.catalog.create("b", 3, {})
    await stage.catalog.create("a", 1, {})
    answer = await ask(stage, version, [] if version == 0 else None)
    assert names(answer) == ["a", "b"]
    for told in answer.topics:
        topic = stage.catalog.topic(told.name)
        assert topic is not None
        assert told.error_code == ErrorCode.none
        assert [row.partition_index for row in told.partitions] == list(range(topic.partitions))
        for row in told.partitions:
            partition = topic.partition(row.partition_index)
            assert partition is not None
            assert (row.error_code, row.leader_id) == (ErrorCode.none, NODE.id)
            assert row.replica_nodes == row.isr_nodes == (NODE.id,)
            if version >= 5:
                assert row.offline_replicas == ()
            if version >= 7:
                assert row.leader_epoch == 3 + partition.log_id
        if version >= 8:
            assert told.topic_authorized_operations == -(2**31)
        if version >= 10:
            assert told.topic_id == topic.id
    (broker,) = answer.brokers
    assert (broker.node_id, broker.host, broker.port) == (NODE.id, NODE.host, NODE.port)
    if version >= 1:
        assert broker.rack == NODE.rack
        assert answer.controller_id == NODE.id
    if version >= 2:
        assert answer.cluster_id == CLUSTER_ID
    if version >= 13:
        assert answer.error_code == ErrorCode.none


@pytest.mark.parametrize("version", range(1, 14))
async def test_an_empty_list_asks_for_the_brokers_alone(version: int) -> None:
    stage = Stage()
    await stage.catalog.create("a", 1, {})
    answer = await ask(stage, version, [])
    assert names(answer) == []
    assert len(answer.brokers) == 1


@pytest.mark.parametrize("version", VERSIONS)
async def test_topics_by_name_come_once_and_in_the_order_asked_each_with_its_error(version: int) -> None:
    stage = Stage(auto_create_topics=False)
    await stage.catalog.create("a", 1, {})
    answer = await ask(stage, version, asked("nobody", "a", "not a name", "a"))
    assert [(topic.name, topic.error_code) for topic in answer.topics] == [
        ("nobody", ErrorCode.unknown_topic_or_partition),
        ("a", ErrorCode.none),
        ("not a name", ErrorCode.invalid_topic_exception),
    ]
    assert [len(topic.partitions) for topic in answer.topics] == [0, 1, 0]
    assert len(stage.catalog.topics()) == 1


@pytest.mark.parametrize("version", [12, 13])
async def test_a_topic_is_found_by_its_id_and_not_by_one_that_it_had_before(version: int) -> None:
    stage = Stage()
    old = await stage.catalog.create("a", 1, {})
    await stage.catalog.delete("a")
    new = await stage.catalog.create("a", 2, {})
    by_id = [{"name": None, "topic_id": old.id}, {"name": None, "topic_id": new.id}]
    answer = await ask(stage, version, by_id)
    assert [(topic.error_code, topic.name, topic.topic_id) for topic in answer.topics] == [
        (ErrorCode.unknown_topic_id, None, old.id),
        (ErrorCode.none, "a", new.id),
    ]


@pytest.mark.parametrize("version", [10, 11])
async def test_before_version_12_an_id_is_an_invalid_request(version: int) -> None:
    stage = Stage()
    answer = await ask(
        stage, version, [{"name": "a", "topic_id": UUID(int=1)}, {"name": None, "topic_id": None}]
    )
    assert [topic.error_code for topic in answer.topics] == [ErrorCode.invalid_request] * 2
    assert not stage.catalog.topics()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_topic_that_is_not_there_is_made_and_answered_whole_where_that_is_allowed(
    version: int,
) -> None:
    stage = Stage(num_partitions=3)
    answer = await ask(stage, version, asked("new", "bad name"), allow_auto_topic_creation=True)
    assert [(topic.error_code, len(topic.partitions)) for topic in answer.topics] == [
        (ErrorCode.none, 3),
        (ErrorCode.invalid_topic_exception, 0),
    ]
    assert [topic.name for topic in stage.catalog.topics()] == ["new"]


@pytest.mark.parametrize("version", range(4, 14))
async def test_a_client_that_does_not_want_a_topic_made_gets_none(version: int) -> None:
    stage = Stage()
    answer = await ask(stage, version, asked("new"), allow_auto_topic_creation=False)
    assert [topic.error_code for topic in answer.topics] == [ErrorCode.unknown_topic_or_partition]
    assert not stage.catalog.topics()


async def test_a_topic_that_cannot_be_made_now_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()

    async def fail(*_: object) -> None:
        raise Unavailable("away")

    monkeypatch.setattr(stage.meta, "txn", fail)
    answer = await ask(stage, 12, asked("new"), allow_auto_topic_creation=True)
    assert [topic.error_code for topic in answer.topics] == [ErrorCode.leader_not_available]


@pytest.mark.parametrize("version", VERSIONS)
async def test_partitions_of_a_log_that_nobody_holds_have_no_leader_until_it_is_held_again(
    version: int,
) -> None:
    stage = Stage(logs=2)
    topic = await stage.catalog.create("a", 4, {})
    lost = stage.logs.held.pop(LogId(1))
    for topics in (asked("a"), [] if version == 0 else None):
        answer = await ask(stage, version, topics)
        for row in answer.topics[0].partitions:
            is_lost = topic.places.of(row.partition_index)[-1].log_id == 1
            assert row.leader_id == (-1 if is_lost else NODE.id)
            assert row.error_code == (ErrorCode.leader_not_available if is_lost else ErrorCode.none)
    lost.epoch = 77
    stage.logs.held[LogId(1)] = lost
    for topics in (asked("a"), [] if version == 0 else None):
        answer = await ask(stage, version, topics)
        assert all(row.leader_id == NODE.id for row in answer.topics[0].partitions)
        if version >= 7:
            assert {row.leader_epoch for row in answer.topics[0].partitions} == {3, 77}


async def test_a_kept_answer_is_never_told_after_a_change() -> None:
    stage = Stage()
    await stage.catalog.create("a", 1, {})
    assert names(await ask(stage, 12, None)) == ["a"]
    assert names(await ask(stage, 12, None)) == ["a"]
    await stage.catalog.grow("a", 2)
    assert len((await ask(stage, 12, None)).topics[0].partitions) == 2
    assert len((await ask(stage, 12, asked("a"))).topics[0].partitions) == 2
    await stage.catalog.delete("a")
    assert names(await ask(stage, 12, None)) == []


async def test_a_topic_of_the_largest_size_is_answered_whole() -> None:
    stage = Stage(logs=3)
    await stage.catalog.create("a", PARTITIONS_MAX, {})
    answer = await ask(stage, 12, None)
    rows = answer.topics[0].partitions
    assert [row.partition_index for row in rows] == list(range(PARTITIONS_MAX))
