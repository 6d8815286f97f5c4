"""CreateTopics and CreatePartitions: what can be is done; the rest is refused, each by itself."""

from typing import Any

import pytest

from gateway.errors import ErrorCode
from gateway.handlers import create_partitions, create_topics
from gateway.topic_config import TOPIC_SETTINGS
from gateway.topic_record import PARTITIONS_MAX
from tests.support.topic_stage import Stage
from tests.support.topics import NODE
from wal.errors import Unavailable

CREATE_TOPICS = 19
CREATE_PARTITIONS = 37
VERSIONS = range(2, 8)


def wish(name: str, partitions: int = 1, factor: int = 1, **fields: object) -> dict[str, object]:
    return {
        "name": name,
        "num_partitions": partitions,
        "replication_factor": factor,
        "assignments": [],
        "configs": [],
        **fields,
    }


def config(name: str, value: str | None) -> dict[str, object]:
    return {"name": name, "value": value}


def assigned(index: int, *brokers: int) -> dict[str, object]:
    return {"partition_index": index, "broker_ids": brokers}


async def create(stage: Stage, version: int, *wishes: dict[str, object], validate_only: bool = False) -> Any:
    answer = await stage.ask(
        create_topics, CREATE_TOPICS, version, topics=list(wishes), validate_only=validate_only
    )
    return answer.topics


async def code(stage: Stage, *wishes: dict[str, object], version: int = 7) -> ErrorCode:
    """The one error of a request."""
    (told,) = await create(stage, version, *wishes)
    assert (told.error_message is None) == (told.error_code == ErrorCode.none)
    assert told.name == wishes[0]["name"]
    return ErrorCode(told.error_code)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_topic_is_made_and_told_whole(version: int) -> None:
    stage = Stage()
    (told,) = await create(stage, version, wish("a", 3, configs=[config("retention.ms", "5")]))
    topic = stage.catalog.topic("a")
    assert topic is not None
    assert (topic.partitions, topic.config.retention_ms) == (3, 5)
    assert (told.name, told.error_code, told.error_message) == ("a", ErrorCode.none, None)
    if version >= 5:
        assert (told.num_partitions, told.replication_factor) == (3, 1)
        values = {one.name: (one.value, one.config_source) for one in told.configs}
        assert values.keys() == TOPIC_SETTINGS.keys()
        assert values["retention.ms"] == ("5", 1)
        assert values["retention.bytes"] == ("-1", 5)
    if version >= 7:
        assert told.topic_id == topic.id


@pytest.mark.parametrize("version", VERSIONS)
async def test_one_that_cannot_be_made_harms_no_other(version: int) -> None:
    stage = Stage()
    told = await create(stage, version, wish("a"), wish("bad name"), wish("b", 0), wish("a"), wish("c"))
    assert {one.name: one.error_code for one in told} == {
        "a": ErrorCode.invalid_request,
        "bad name": ErrorCode.invalid_topic_exception,
        "b": ErrorCode.invalid_partitions,
        "c": ErrorCode.none,
    }
    assert all(one.error_message for one in told if one.error_code)
    assert [topic.name for topic in stage.catalog.topics()] == ["c"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_looking_only_tells_the_same_and_makes_nothing(version: int) -> None:
    stage = Stage()
    await stage.catalog.create("there", 1, {})
    told = await create(stage, version, wish("a", -1, -1), wish("there"), validate_only=True)
    assert [one.error_code for one in told] == [ErrorCode.none, ErrorCode.topic_already_exists]
    assert [topic.name for topic in stage.catalog.topics()] == ["there"]
    if version >= 5:
        assert told[0].num_partitions == 1
    if version >= 7:
        assert told[0].topic_id is None


async def test_minus_one_takes_the_nodes_number_of_partitions() -> None:
    stage = Stage(num_partitions=5)
    assert await code(stage, wish("a", -1, -1)) == ErrorCode.none
    topic = stage.catalog.topic("a")
    assert topic is not None
    assert topic.partitions == 5


async def test_any_replication_factor_from_one_on_is_as_good_as_one() -> None:
    stage = Stage()
    for factor, expected in (
        (1, ErrorCode.none),
        (3, ErrorCode.none),
        (-1, ErrorCode.none),
        (0, ErrorCode.invalid_replication_factor),
        (-2, ErrorCode.invalid_replication_factor),
    ):
        assert await code(stage, wish(f"a{factor}", 1, factor)) == expected


@pytest.mark.parametrize("count", [0, -2, PARTITIONS_MAX + 1])
async def test_a_number_of_partitions_that_cannot_be_is_refused(count: int) -> None:
    assert await code(Stage(), wish("a", count)) == ErrorCode.invalid_partitions


async def test_a_name_that_is_taken_or_collides_is_refused() -> None:
    stage = Stage()
    assert await code(stage, wish("a.b")) == ErrorCode.none
    assert await code(stage, wish("a.b")) == ErrorCode.topic_already_exists
    assert await code(stage, wish("a_b")) == ErrorCode.invalid_topic_exception


@pytest.mark.parametrize(
    ("name", "value"),
    [("cleanup.policy", "compact"), ("segment.ms", "1"), ("no.such", "1"), ("retention.ms", None)],
)
async def test_a_setting_that_cannot_be_is_refused_and_nothing_is_made(name: str, value: str | None) -> None:
    stage = Stage()
    assert await code(stage, wish("a", configs=[config(name, value)])) == ErrorCode.invalid_config
    assert not stage.catalog.topics()


async def test_assignments_to_this_node_say_how_many_partitions_there_are() -> None:
    stage = Stage()
    rows = [assigned(1, NODE.id), assigned(0, NODE.id)]
    assert await code(stage, wish("a", -1, -1, assignments=rows)) == ErrorCode.none
    topic = stage.catalog.topic("a")
    assert topic is not None
    assert topic.partitions == 2


@pytest.mark.parametrize(
    ("rows", "partitions", "factor", "expected"),
    [
        ([assigned(0, NODE.id)], 1, -1, ErrorCode.invalid_request),
        ([assigned(0, NODE.id)], -1, 1, ErrorCode.invalid_request),
        ([assigned(1, NODE.id)], -1, -1, ErrorCode.invalid_replica_assignment),
        ([assigned(0, NODE.id), assigned(0, NODE.id)], -1, -1, ErrorCode.invalid_replica_assignment),
        ([assigned(0, NODE.id + 1)], -1, -1, ErrorCode.invalid_replica_assignment),
        ([assigned(0, NODE.id, NODE.id)], -1, -1, ErrorCode.invalid_replica_assignment),
        ([assigned(0)], -1, -1, ErrorCode.invalid_replica_assignment),
    ],
)
async def test_assignments_that_cannot_be_are_refused(
    rows: list[object], partitions: int, factor: int, expected: ErrorCode
) -> None:
    assert await code(Stage(), wish("a", partitions, factor, assignments=rows)) == expected


async def test_an_unknown_outcome_is_a_time_out_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()

    async def fail(*_: object) -> None:
        raise Unavailable("away")

    monkeypatch.setattr(stage.meta, "txn", fail)
    (told,) = await create(stage, 7, wish("a"))
    assert told.error_code == ErrorCode.request_timed_out
    assert "may have been made" in told.error_message


async def grow(stage: Stage, version: int, *wishes: dict[str, object], validate_only: bool = False) -> Any:
    answer = await stage.ask(
        create_partitions, CREATE_PARTITIONS, version, topics=list(wishes), validate_only=validate_only
    )
    return answer.results


@pytest.mark.parametrize("version", range(4))
async def test_topics_grow_each_by_itself(version: int) -> None:
    stage = Stage()
    for name in ("a", "b", "c", "d"):
        await stage.catalog.create(name, 2, {})
    to_node = {"broker_ids": [NODE.id]}
    told = await grow(
        stage,
        version,
        {"name": "a", "count": 4, "assignments": None},
        {"name": "b", "count": 2, "assignments": None},
        {"name": "nobody", "count": 4, "assignments": None},
        {"name": "c", "count": 3, "assignments": [to_node]},
        {"name": "d", "count": 5, "assignments": None},
        {"name": "d", "count": 6, "assignments": None},
    )
    assert {one.name: one.error_code for one in told} == {
        "a": ErrorCode.none,
        "b": ErrorCode.invalid_partitions,
        "nobody": ErrorCode.unknown_topic_or_partition,
        "c": ErrorCode.none,
        "d": ErrorCode.invalid_request,
    }
    assert all(bool(one.error_message) == (one.error_code != ErrorCode.none) for one in told)
    assert [topic.partitions for topic in stage.catalog.topics()] == [4, 2, 3, 2]


@pytest.mark.parametrize("rows", [[], [{"broker_ids": [NODE.id + 1]}], [{"broker_ids": [NODE.id]}] * 2])
async def test_assignments_of_new_partitions_that_cannot_be_are_refused(rows: list[object]) -> None:
    stage = Stage()
    await stage.catalog.create("a", 1, {})
    (told,) = await grow(stage, 3, {"name": "a", "count": 2, "assignments": rows})
    assert told.error_code == ErrorCode.invalid_replica_assignment


async def test_looking_only_lets_nothing_grow() -> None:
    stage = Stage()
    topic = await stage.catalog.create("a", 1, {})
    wishes = {"name": "a", "count": 2, "assignments": None}, {"name": "b", "count": 2, "assignments": None}
    told = await grow(stage, 3, *wishes, validate_only=True)
    assert [one.error_code for one in told] == [ErrorCode.none, ErrorCode.unknown_topic_or_partition]
    assert stage.catalog.topic("a") is topic
