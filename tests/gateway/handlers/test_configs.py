"""DescribeConfigs, AlterConfigs and IncrementalAlterConfigs: what was set is told, and nothing else was."""

from typing import Any

import pytest

from gateway.errors import ErrorCode
from gateway.handlers import alter_configs, describe_configs, incremental_alter_configs
from gateway.topic_config import TOPIC_SETTINGS, ConfigKind, ConfigSource, Operation
from tests.support.topic_stage import Stage
from tests.support.topics import NODE

DESCRIBE, ALTER, INCREMENTAL = 32, 33, 44
TOPIC, BROKER = 2, 4


def resource(kind: int, name: str, configs: list[dict[str, object]] | None = None) -> dict[str, object]:
    return {
        "resource_type": kind,
        "resource_name": name,
        "configs": configs or [],
        "configuration_keys": None,
    }


def assign(name: str, value: str | None, operation: int = Operation.SET) -> dict[str, object]:
    return {"name": name, "value": value, "config_operation": operation}


async def describe(stage: Stage, version: int, *resources: dict[str, object], **fields: object) -> Any:
    answer = await stage.ask(describe_configs, DESCRIBE, version, resources=list(resources), **fields)
    return answer.results


async def values(stage: Stage, name: str) -> dict[str, str]:
    """The settings of a topic that were set."""
    (result,) = await describe(stage, 4, resource(TOPIC, name))
    return {one.name: one.value for one in result.configs if one.config_source == ConfigSource.TOPIC}


@pytest.mark.parametrize("version", range(1, 5))
async def test_a_topic_is_described_with_every_setting(version: int) -> None:
    stage = Stage(retention_bytes=77)
    await stage.catalog.create("a", 1, {"retention.ms": "5"})
    (result,) = await describe(
        stage, version, resource(TOPIC, "a"), include_synonyms=True, include_documentation=True
    )
    assert (result.error_code, result.resource_type, result.resource_name) == (ErrorCode.none, TOPIC, "a")
    told = {one.name: one for one in result.configs}
    assert told.keys() == TOPIC_SETTINGS.keys()
    assert [told[name].value for name in ("retention.ms", "retention.bytes", "cleanup.policy")] == [
        "5",
        "77",
        "delete",
    ]
    assert [told[name].config_source for name in ("retention.ms", "retention.bytes", "cleanup.policy")] == [
        1,
        4,
        5,
    ]
    assert not any(one.is_sensitive or one.read_only for one in result.configs)
    assert [(one.name, one.source) for one in told["retention.ms"].synonyms] == [
        ("retention.ms", 1),
        ("log.retention.ms", 5),
    ]
    if version >= 3:
        assert told["retention.ms"].config_type == ConfigKind.LONG
        assert all(one.documentation for one in result.configs)


@pytest.mark.parametrize("version", range(1, 5))
async def test_only_what_is_asked_for_is_described(version: int) -> None:
    stage = Stage()
    await stage.catalog.create("a", 1, {})
    keys = ["retention.ms", "no.such.setting"]
    (result,) = await describe(stage, version, {**resource(TOPIC, "a"), "configuration_keys": keys})
    assert [one.name for one in result.configs] == ["retention.ms"]
    assert result.configs[0].synonyms == ()
    if version >= 3:
        assert result.configs[0].documentation is None


async def test_resources_that_are_not_there_are_told_each_by_itself() -> None:
    results = await describe(
        Stage(),
        4,
        resource(TOPIC, "nobody"),
        resource(TOPIC, "bad name"),
        resource(BROKER, "99"),
        resource(BROKER, "x"),
        resource(8, str(NODE.id)),
        resource(BROKER, str(NODE.id)),
    )
    assert [result.error_code for result in results] == [
        ErrorCode.unknown_topic_or_partition,
        ErrorCode.invalid_topic_exception,
        ErrorCode.invalid_request,
        ErrorCode.invalid_request,
        ErrorCode.invalid_request,
        ErrorCode.none,
    ]
    assert all(bool(result.error_message) == (result.configs == ()) for result in results)


@pytest.mark.parametrize("version", range(1, 5))
async def test_the_node_is_described_read_only(version: int) -> None:
    stage = Stage(num_partitions=6)
    (result,) = await describe(stage, version, resource(BROKER, str(NODE.id)), include_synonyms=True)
    told = {one.name: one for one in result.configs}
    assert (told["num.partitions"].value, told["num.partitions"].config_source) == ("6", ConfigSource.NODE)
    assert [(one.value, one.source) for one in told["num.partitions"].synonyms] == [("6", 4), ("1", 5)]
    assert all(one.read_only for one in result.configs)
    (result,) = await describe(stage, version, resource(BROKER, ""))
    assert (result.error_code, result.configs) == (ErrorCode.none, ())


async def incremental(stage: Stage, version: int, *resources: dict[str, object], **fields: object) -> Any:
    answer = await stage.ask(
        incremental_alter_configs, INCREMENTAL, version, resources=list(resources), **fields
    )
    return answer.responses


@pytest.mark.parametrize("version", [0, 1])
async def test_single_settings_are_set_and_put_back(version: int) -> None:
    stage = Stage()
    await stage.catalog.create("a", 1, {"retention.ms": "5", "retention.bytes": "6"})
    changes = [assign("retention.ms", None, Operation.DELETE), assign("max.message.bytes", "100")]
    (told,) = await incremental(stage, version, resource(TOPIC, "a", changes))
    assert (told.error_code, told.resource_type, told.resource_name) == (ErrorCode.none, TOPIC, "a")
    assert await values(stage, "a") == {"retention.bytes": "6", "max.message.bytes": "100"}
    partition = stage.catalog.partition("a", 0)
    assert partition is not None
    assert partition.config.max_message_bytes == 100


@pytest.mark.parametrize("version", [0, 1, 2])
async def test_a_full_set_replaces_all_that_was_set(version: int) -> None:
    stage = Stage()
    await stage.catalog.create("a", 1, {"retention.ms": "5", "retention.bytes": "6"})

    async def replace(configs: list[dict[str, object]]) -> ErrorCode:
        answer = await stage.ask(alter_configs, ALTER, version, resources=[resource(TOPIC, "a", configs)])
        return ErrorCode(answer.responses[0].error_code)

    assert await replace([assign("max.message.bytes", "100")]) == ErrorCode.none
    assert await values(stage, "a") == {"max.message.bytes": "100"}
    assert await replace([assign("max.message.bytes", None)]) == ErrorCode.invalid_request
    assert await replace([assign("max.message.bytes", "x")]) == ErrorCode.invalid_config
    assert await values(stage, "a") == {"max.message.bytes": "100"}
    assert await replace([]) == ErrorCode.none
    assert await values(stage, "a") == {}


@pytest.mark.parametrize("version", [0, 1])
async def test_a_resource_is_altered_wholly_or_not_at_all_and_by_itself(version: int) -> None:
    stage = Stage()
    for name in ("a", "b", "c"):
        await stage.catalog.create(name, 1, {})
    good, bad = assign("retention.ms", "5"), assign("segment.bytes", "5")
    told = await incremental(
        stage,
        version,
        resource(TOPIC, "a", [good, bad]),
        resource(TOPIC, "b", [good]),
        resource(TOPIC, "c", [good]),
        resource(TOPIC, "c", [good]),
        resource(TOPIC, "nobody", [good]),
        resource(BROKER, str(NODE.id), [assign("num.partitions", "5")]),
        resource(BROKER, "", [assign("num.partitions", "5")]),
        resource(BROKER, "99", [good]),
        resource(16, "a", [good]),
    )
    assert [(one.resource_type, one.resource_name, one.error_code) for one in told] == [
        (TOPIC, "a", ErrorCode.invalid_config),
        (TOPIC, "b", ErrorCode.none),
        (TOPIC, "c", ErrorCode.invalid_request),
        (TOPIC, "nobody", ErrorCode.unknown_topic_or_partition),
        (BROKER, str(NODE.id), ErrorCode.invalid_request),
        (BROKER, "", ErrorCode.invalid_request),
        (BROKER, "99", ErrorCode.invalid_request),
        (16, "a", ErrorCode.invalid_request),
    ]
    assert all(bool(one.error_message) == (one.error_code != ErrorCode.none) for one in told)
    assert [await values(stage, name) for name in ("a", "b", "c")] == [{}, {"retention.ms": "5"}, {}]


async def test_looking_only_tells_the_same_and_alters_nothing() -> None:
    stage = Stage()
    topic = await stage.catalog.create("a", 1, {})
    for value, expected in (("5", ErrorCode.none), ("x", ErrorCode.invalid_config)):
        wish = resource(TOPIC, "a", [assign("retention.ms", value)])
        (told,) = await incremental(stage, 1, wish, validate_only=True)
        assert told.error_code == expected
    assert stage.catalog.topic("a") is topic


async def test_setting_what_is_set_already_changes_nothing() -> None:
    stage = Stage()
    topic = await stage.catalog.create("a", 1, {"retention.ms": "5"})
    (told,) = await incremental(stage, 1, resource(TOPIC, "a", [assign("retention.ms", "5")]))
    assert told.error_code == ErrorCode.none
    assert stage.catalog.topic("a") is topic
