"""DescribeTopicPartitions: every partition comes on exactly one page, in order."""

from typing import Any

import pytest

from gateway.errors import ErrorCode
from gateway.handlers import describe_topic_partitions
from tests.support.topic_stage import Stage
from tests.support.topics import NODE
from wal.types import LogId

API = 75


async def ask(stage: Stage, names: list[str], *, limit: int = 2000, cursor: Any = None) -> Any:
    return await stage.ask(
        describe_topic_partitions,
        API,
        0,
        topics=[{"name": name} for name in names],
        response_partition_limit=limit,
        cursor=cursor,
    )


async def stage_with(**counts: int) -> Stage:
    stage = Stage(logs=2)
    for name, count in counts.items():
        await stage.catalog.create(name, count, {})
    return stage


async def pages(stage: Stage, names: list[str], limit: int) -> list[list[tuple[str, int]]]:
    """All pages, each as the partitions on it."""
    cursor, result = None, []
    while True:
        answer = await ask(stage, names, limit=limit, cursor=cursor)
        result.append(
            [(topic.name, row.partition_index) for topic in answer.topics for row in topic.partitions]
        )
        if answer.next_cursor is None:
            return result
        cursor = {
            "topic_name": answer.next_cursor.topic_name,
            "partition_index": answer.next_cursor.partition_index,
        }


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 6, 7, 100])
@pytest.mark.parametrize("names", [[], ["c", "a", "b", "a"]])
async def test_every_partition_is_on_one_page_in_order(limit: int, names: list[str]) -> None:
    stage = await stage_with(c=2, a=4, b=1)
    told = await pages(stage, names, limit)
    assert [row for page in told for row in page] == [
        *(("a", index) for index in range(4)),
        ("b", 0),
        ("c", 0),
        ("c", 1),
    ]
    assert all(len(page) == limit for page in told[:-1])
    assert 0 < len(told[-1]) <= limit


async def test_a_topic_is_told_with_its_id_and_leaders() -> None:
    stage = await stage_with(a=4)
    del stage.logs.held[LogId(1)]
    topic = stage.catalog.topic("a")
    assert topic is not None
    (told,) = (await ask(stage, ["a"])).topics
    assert (told.error_code, told.topic_id, told.is_internal) == (ErrorCode.none, topic.id, False)
    for row in told.partitions:
        is_held = topic.places.of(row.partition_index)[-1].log_id == 0
        assert row.error_code == (ErrorCode.none if is_held else ErrorCode.leader_not_available)
        assert (row.leader_id, row.leader_epoch) == ((NODE.id, 3) if is_held else (-1, -1))
        assert row.replica_nodes == row.isr_nodes == ((NODE.id,) if is_held else ())
        assert row.eligible_leader_replicas == row.offline_replicas == ()


async def test_topics_that_are_not_there_are_told() -> None:
    stage = await stage_with(b=1)
    answer = await ask(stage, ["nobody", "b", "a b"])
    assert [(topic.name, topic.error_code) for topic in answer.topics] == [
        ("a b", ErrorCode.invalid_topic_exception),
        ("b", ErrorCode.none),
        ("nobody", ErrorCode.unknown_topic_or_partition),
    ]
    assert answer.next_cursor is None


async def test_a_cursor_at_a_topic_that_is_gone_goes_on_behind_it() -> None:
    stage = await stage_with(a=2, c=2)
    answer = await ask(stage, [], cursor={"topic_name": "b", "partition_index": 1})
    assert [(topic.name, len(topic.partitions)) for topic in answer.topics] == [("c", 2)]


async def test_a_cursor_that_cannot_be_is_an_invalid_request() -> None:
    stage = await stage_with(a=2)
    answer = await ask(stage, ["a"], cursor={"topic_name": "a", "partition_index": -1})
    assert [(topic.name, topic.error_code) for topic in answer.topics] == [("a", ErrorCode.invalid_request)]


async def test_an_answer_is_bounded_whatever_is_asked() -> None:
    stage = await stage_with(a=5000)
    answer = await ask(stage, [], limit=2**31 - 1)
    assert len(answer.topics[0].partitions) == describe_topic_partitions.PARTITIONS_MAX
    assert answer.next_cursor.partition_index == describe_topic_partitions.PARTITIONS_MAX
    answer = await ask(stage, [], limit=0)
    assert len(answer.topics[0].partitions) == 1
