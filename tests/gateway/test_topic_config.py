"""Laws of the topic settings: what is accepted is in force, what is not done is refused with a reason."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from gateway.errors import ErrorCode, Refused
from gateway.settings import Settings
from gateway.topic_config import (
    TOPIC_SETTINGS,
    UNSUPPORTED,
    Change,
    ConfigKind,
    ConfigSource,
    Operation,
    TopicConfig,
    changed,
    described,
    resolve,
    validated,
)
from wal.errors import Corrupt

NODE = Settings()


def refusal(*values: tuple[str, str | None]) -> Refused:
    with pytest.raises(Refused) as raised:
        validated(values, NODE)
    return raised.value


def test_a_topic_without_settings_follows_the_node() -> None:
    node = Settings(message_bytes_max=5000, retention_ms=77, retention_bytes=99)
    config = resolve({}, node)
    assert (config.max_message_bytes, config.retention_ms, config.retention_bytes) == (5000, 77, 99)
    assert (config.compression_type, config.cleanup_policy) == ("producer", "delete")
    assert not config.uses_log_append_time


def test_the_defaults_of_the_table_are_the_defaults_of_the_node() -> None:
    for setting in TOPIC_SETTINGS.values():
        if setting.node_setting:
            assert str(getattr(NODE, setting.node_setting)) == setting.default


def test_every_default_is_itself_allowed_and_the_table_is_in_order_of_name() -> None:
    assert list(TOPIC_SETTINGS) == sorted(TOPIC_SETTINGS)
    for setting in TOPIC_SETTINGS.values():
        assert setting.checked(setting.default, NODE) == setting.default
        assert setting.node_name
        assert setting.documentation.endswith(".")


def test_every_field_of_a_config_is_a_setting() -> None:
    names = {field.name for field in fields(TopicConfig)}
    assert names <= {name.replace(".", "_") for name in TOPIC_SETTINGS}


def test_what_is_set_is_in_force() -> None:
    overrides = validated(
        [
            ("retention.ms", " 1000 "),
            ("message.timestamp.type", "LogAppendTime"),
            ("min.insync.replicas", "2"),
            ("max.message.bytes", "+2000"),
            ("retention.bytes", "-1"),
        ],
        NODE,
    )
    config = resolve(overrides, NODE)
    assert overrides["retention.ms"] == "1000"
    assert config.retention_ms == 1000
    assert config.uses_log_append_time
    assert config.min_insync_replicas == 2
    assert config.max_message_bytes == 2000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retention.ms", "-2"),
        ("retention.ms", "soon"),
        ("retention.ms", ""),
        ("retention.ms", "1_000"),
        ("retention.ms", "١"),
        ("retention.ms", str(2**63)),
        ("retention.ms", "9" * 5000),
        ("retention.ms", None),
        ("min.insync.replicas", "0"),
        ("max.message.bytes", str(NODE.request_bytes_max)),
        ("max.message.bytes", "-1"),
        ("message.timestamp.type", "createtime"),
        ("compression.type", "gzip"),
        ("cleanup.policy", "compact"),
        ("cleanup.policy", "compact,delete"),
        ("unclean.leader.election.enable", "true"),
        ("no.such.setting", "1"),
        ("", "1"),
    ],
)
def test_what_is_not_possible_is_refused_with_a_sentence(name: str, value: str | None) -> None:
    refused = refusal((name, value))
    assert refused.code == ErrorCode.invalid_config
    assert name in refused.message
    assert "allowed" in refused.message or "there are" in refused.message
    assert len(refused.message) < 400


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_what_kafka_knows_and_we_do_not_do_is_refused_with_the_reason(name: str) -> None:
    refused = refusal((name, "1"))
    assert refused.code == ErrorCode.invalid_config
    assert UNSUPPORTED[name] in refused.message


def test_a_setting_given_twice_is_an_invalid_request() -> None:
    assert refusal(("retention.ms", "1"), ("retention.ms", "2")).code == ErrorCode.invalid_request


def test_a_change_leaves_alone_what_it_does_not_name_even_if_this_program_does_not_know_it() -> None:
    before = {"retention.ms": "5", "from.a.newer.program": "x", "retention.bytes": "7"}
    after = changed(
        before,
        [
            Change("retention.ms", Operation.DELETE, None),
            Change("max.message.bytes", Operation.SET, "100"),
            Change("cleanup.policy", Operation.APPEND, "delete"),
        ],
        NODE,
    )
    assert after == {
        "from.a.newer.program": "x",
        "retention.bytes": "7",
        "max.message.bytes": "100",
        "cleanup.policy": "delete",
    }
    assert resolve(after, NODE).max_message_bytes == 100
    assert changed(after, [Change("from.a.newer.program", Operation.DELETE, None)], NODE).keys() == {
        "retention.bytes",
        "max.message.bytes",
        "cleanup.policy",
    }


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (Change("retention.ms", Operation.APPEND, "5"), ErrorCode.invalid_config),
        (Change("retention.ms", Operation.SET, None), ErrorCode.invalid_request),
        (Change("retention.ms", 9, "5"), ErrorCode.invalid_request),
        (Change("cleanup.policy", Operation.APPEND, "compact"), ErrorCode.invalid_config),
        (Change("cleanup.policy", Operation.SUBTRACT, "delete"), ErrorCode.invalid_config),
        (Change("no.such.setting", Operation.DELETE, None), ErrorCode.invalid_config),
    ],
)
def test_an_impossible_change_is_refused(change: Change, code: ErrorCode) -> None:
    with pytest.raises(Refused) as raised:
        changed({}, [change], NODE)
    assert raised.value.code == code
    assert raised.value.message


def test_a_name_changed_twice_is_an_invalid_request() -> None:
    twice = [Change("retention.ms", Operation.SET, "5"), Change("retention.ms", Operation.DELETE, None)]
    with pytest.raises(Refused) as raised:
        changed({}, twice, NODE)
    assert raised.value.code == ErrorCode.invalid_request


def test_a_stored_value_that_cannot_be_read_is_corrupt_and_never_a_default() -> None:
    with pytest.raises(Corrupt, match=r"retention\.ms"):
        resolve({"retention.ms": "a week"}, NODE)


def test_a_description_tells_the_value_in_force_and_what_would_be_without_it() -> None:
    node = Settings(retention_ms=77)
    rows = {row.setting.name: row for row in described({"retention.ms": "5"}, node)}
    assert rows.keys() == TOPIC_SETTINGS.keys()
    row = rows["retention.ms"]
    assert (row.value, row.source) == ("5", ConfigSource.TOPIC)
    assert [(one.name, one.value, one.source) for one in row.synonyms] == [
        ("retention.ms", "5", ConfigSource.TOPIC),
        ("log.retention.ms", "77", ConfigSource.NODE),
        ("log.retention.ms", "604800000", ConfigSource.DEFAULT),
    ]
    assert rows["retention.bytes"].source == ConfigSource.DEFAULT
    assert rows["cleanup.policy"].setting.kind == ConfigKind.LIST


@limits(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(TOPIC_SETTINGS)), st.text(max_size=30))
def test_any_text_is_either_refused_or_in_force_as_it_is_described(name: str, text: str) -> None:
    try:
        overrides = validated([(name, text)], NODE)
    except Refused as refused:
        assert refused.code == ErrorCode.invalid_config
        return
    resolve(overrides, NODE)
    row = next(row for row in described(overrides, NODE) if row.setting.name == name)
    assert row.value == overrides[name]
    assert validated([(name, row.value)], NODE) == overrides
