"""The node's settings as the configuration of a broker: Kafka's names where Kafka has the same setting, ours
for the rest.

Read-only: a node is configured where it is started. Where data lives may hold secrets, so its value is never
told.
"""

from collections.abc import Mapping
from typing import NamedTuple

from gateway.settings import SETTINGS, Setting, Settings
from gateway.topic_config import TOPIC_SETTINGS, ConfigKind, ConfigSource

OUR_PREFIX = "drumlog."

KAFKA_NAMES: Mapping[str, str] = {
    "auto_create_topics": "auto.create.topics.enable",
    "connection_idle_ms_max": "connections.max.idle.ms",
    "connections_max": "max.connections",
    "fetch_bytes_max": "fetch.max.bytes",
    "group_initial_rebalance_delay_ms": "group.initial.rebalance.delay.ms",
    "group_session_timeout_ms_max": "group.max.session.timeout.ms",
    "group_session_timeout_ms_min": "group.min.session.timeout.ms",
    "message_bytes_max": "message.max.bytes",
    "node_id": "node.id",
    "num_partitions": "num.partitions",
    "offset_metadata_bytes_max": "offset.metadata.max.bytes",
    "producer_id_expiration_ms": "producer.id.expiration.ms",
    "rack": "broker.rack",
    "request_bytes_max": "socket.request.max.bytes",
    "retention_bytes": "log.retention.bytes",
    "retention_check_interval_ms": "log.retention.check.interval.ms",
    "retention_ms": "log.retention.ms",
}
"""Settings that Kafka has too, by our names."""

SECRET = frozenset({"store", "meta", "config"})
"""Settings whose values are not told."""


class NodeConfig(NamedTuple):
    """One setting of the node as clients are told of it."""

    name: str
    value: str | None
    default: str | None
    source: ConfigSource
    kind: ConfigKind
    sensitive: bool
    documentation: str


def described(settings: Settings) -> list[NodeConfig]:
    """Everything that is told of the node's settings, in order of name."""
    rows = [_row(setting, settings) for setting in SETTINGS]
    rows += [
        NodeConfig(
            fact.node_name,
            fact.default,
            fact.default,
            ConfigSource.DEFAULT,
            fact.kind,
            False,
            fact.documentation,
        )
        for fact in TOPIC_SETTINGS.values()
        if not fact.node_setting
    ]
    return sorted(rows, key=lambda row: row.name)


def _row(setting: Setting, settings: Settings) -> NodeConfig:
    value = getattr(settings, setting.name)
    sensitive = setting.name in SECRET
    return NodeConfig(
        name=KAFKA_NAMES.get(setting.name, OUR_PREFIX + setting.name.replace("_", ".")),
        value=None if sensitive or value is None else setting.kind.show(value),
        default=None if sensitive or setting.default is None else setting.kind.show(setting.default),
        source=ConfigSource.DEFAULT if value == setting.default else ConfigSource.NODE,
        kind=_kind(value),
        sensitive=sensitive,
        documentation=setting.help,
    )


def _kind(value: object) -> ConfigKind:
    if isinstance(value, bool):
        return ConfigKind.BOOLEAN
    return ConfigKind.LONG if isinstance(value, int) else ConfigKind.STRING
