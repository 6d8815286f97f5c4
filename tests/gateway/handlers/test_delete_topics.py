"""DeleteTopics: by name in every version, by id from 6 on."""

from typing import Any
from uuid import UUID

import pytest

from gateway.errors import ErrorCode
from gateway.handlers import delete_topics
from tests.support.topic_stage import Stage

DELETE_TOPICS = 20


async def delete(stage: Stage, version: int, *names: str) -> Any:
    topics = [{"name": name, "topic_id": None} for name in names]
    return (
        await stage.ask(delete_topics, DELETE_TOPICS, version, topic_names=list(names), topics=topics)
    ).responses


@pytest.mark.parametrize("version", range(1, 7))
async def test_topics_go_by_name_each_by_itself(version: int) -> None:
    stage = Stage()
    made = [await stage.catalog.create(name, 1, {}) for name in ("a", "b", "c")]
    told = await delete(stage, version, "a", "nobody", "b", "b", "bad name")
    assert {one.name: one.error_code for one in told} == {
        "a": ErrorCode.none,
        "nobody": ErrorCode.unknown_topic_or_partition,
        "b": ErrorCode.invalid_request,
        "bad name": ErrorCode.unknown_topic_or_partition,
    }
    if version >= 5:
        assert all(bool(one.error_message) == (one.error_code != ErrorCode.none) for one in told)
    if version >= 6:
        assert told[0].topic_id == made[0].id
    assert [topic.name for topic in stage.catalog.topics()] == ["b", "c"]


async def test_an_id_deletes_the_topic_that_has_it_and_no_later_one_of_its_name() -> None:
    stage = Stage()
    old = await stage.catalog.create("a", 1, {})
    await stage.catalog.delete("a")
    new = await stage.catalog.create("a", 1, {})

    async def by_id(topic_id: UUID) -> Any:
        topics = [{"name": None, "topic_id": topic_id}]
        return (await stage.ask(delete_topics, DELETE_TOPICS, 6, topics=topics)).responses[0]

    told = await by_id(old.id)
    assert (told.error_code, told.name, told.topic_id) == (ErrorCode.unknown_topic_id, None, old.id)
    assert stage.catalog.topic("a") is new
    told = await by_id(new.id)
    assert (told.error_code, told.name, told.topic_id) == (ErrorCode.none, "a", new.id)
    assert not stage.catalog.topics()


async def test_both_a_name_and_an_id_or_neither_is_an_invalid_request() -> None:
    stage = Stage()
    topic = await stage.catalog.create("a", 1, {})
    topics = [{"name": "a", "topic_id": topic.id}, {"name": None, "topic_id": None}]
    answer = await stage.ask(delete_topics, DELETE_TOPICS, 6, topics=topics)
    assert [one.error_code for one in answer.responses] == [ErrorCode.invalid_request] * 2
    assert stage.catalog.topic("a") is topic
