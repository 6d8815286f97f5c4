"""Laws of a broker's configuration: every setting of the node is told once, and nothing secret."""

from gateway.node_config import KAFKA_NAMES, SECRET, described
from gateway.settings import SETTINGS, Settings
from gateway.topic_config import TOPIC_SETTINGS, ConfigKind, ConfigSource


def test_every_setting_is_told_once_in_order_of_name() -> None:
    names = [row.name for row in described(Settings())]
    assert names == sorted(set(names))
    assert {"num.partitions", "drumlog.flush.bytes.max", "log.cleanup.policy"} <= set(names)
    assert len(names) == len(SETTINGS) + sum(not setting.node_setting for setting in TOPIC_SETTINGS.values())


def test_the_tables_name_settings_that_there_are() -> None:
    names = {setting.name for setting in SETTINGS}
    assert KAFKA_NAMES.keys() <= names
    assert names >= SECRET
    for setting in TOPIC_SETTINGS.values():
        if setting.node_setting:
            assert KAFKA_NAMES[setting.node_setting] == setting.node_name


def test_a_value_that_was_set_is_told_from_a_default() -> None:
    rows = {row.name: row for row in described(Settings(num_partitions=5, store="file:///secret"))}
    row = rows["num.partitions"]
    assert (row.value, row.default, row.source, row.kind) == ("5", "1", ConfigSource.NODE, ConfigKind.LONG)
    assert rows["auto.create.topics.enable"].kind == ConfigKind.BOOLEAN
    assert rows["auto.create.topics.enable"].source == ConfigSource.DEFAULT


def test_where_the_data_lives_is_not_told() -> None:
    for row in described(Settings(store="file:///secret", meta="sqlite:///secret")):
        assert "secret" not in f"{row.value}{row.default}"
    secret = [row for row in described(Settings()) if row.sensitive]
    assert len(secret) == len(SECRET)
    assert all(row.value is None for row in secret)
