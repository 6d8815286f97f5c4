"""The settings of a topic: one table, from which validation, defaults and descriptions are drawn.

A setting is here only if the gateway does what it says. What Kafka knows and Drumlog does not do yet is
refused with a sentence that says why; a success for what is not enforced would be a lie. Only what was set is
stored (*overrides*, as text); the rest follows the node's settings.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Protocol

from gateway.errors import ErrorCode, Refused
from wal.errors import Corrupt

LONG_MAX = (1 << 63) - 1
INT_MAX = (1 << 31) - 1


class NodeSettings(Protocol):
    """The node's settings that a topic's defaults and limits come from."""

    @property
    def message_bytes_max(self) -> int:
        """Default of max.message.bytes."""

    @property
    def request_bytes_max(self) -> int:
        """The largest Produce frame the node takes, so the largest max.message.bytes that means anything."""

    @property
    def retention_ms(self) -> int:
        """Default of retention.ms."""

    @property
    def retention_bytes(self) -> int:
        """Default of retention.bytes."""


class ConfigKind(IntEnum):
    """The wire's names for types of settings."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    LONG = 5
    LIST = 7


class ConfigSource(IntEnum):
    """The wire's names for where a value comes from."""

    TOPIC = 1
    NODE = 4
    DEFAULT = 5


class Operation(IntEnum):
    """The wire's names for what an incremental change does."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSetting:
    """One row of the table.

    values: the texts allowed, for settings with a choice; low, high: the range, for numbers.
    node_setting: the field of the node's settings that gives the default; node_name: Kafka's name of the same
        for a broker.
    high_setting: the field of the node's settings that the value must stay below.
    """

    name: str
    kind: ConfigKind
    default: str
    documentation: str
    values: tuple[str, ...] = ()
    low: int = 0
    high: int = LONG_MAX
    node_setting: str = ""
    node_name: str = ""
    high_setting: str = ""

    def parse(self, text: str) -> int | str:
        """The value that a text means; raises ValueError where it means none. Ranges are not looked at."""
        text = text.strip()
        if self.kind in (ConfigKind.INT, ConfigKind.LONG):
            if not re.fullmatch(r"[+-]?[0-9]{1,20}", text):
                raise ValueError
            return int(text)
        if text not in self.values:
            raise ValueError
        return text

    def allowed(self, settings: NodeSettings) -> str:
        """What may be set, in words."""
        if self.values:
            return " or ".join(self.values)
        return f"a whole number from {self.low} to {self._high(settings)}"

    def checked(self, text: str, settings: NodeSettings) -> str:
        """The text to store. Raises Refused where the value is not allowed."""
        try:
            value = self.parse(text)
        except ValueError:
            value = ""
        if value == "" or (isinstance(value, int) and not self.low <= value <= self._high(settings)):
            raise Refused(
                ErrorCode.invalid_config,
                f"{self.name}={text!r:.100} is not possible; allowed: {self.allowed(settings)}",
            )
        return str(value)

    def node_value(self, settings: NodeSettings) -> str:
        """The value of a topic that does not set it."""
        return str(getattr(settings, self.node_setting)) if self.node_setting else self.default

    def _high(self, settings: NodeSettings) -> int:
        return min(self.high, getattr(settings, self.high_setting) - 1) if self.high_setting else self.high


TOPIC_SETTINGS: Mapping[str, TopicSetting] = {
    setting.name: setting
    for setting in (
        TopicSetting(
            name="cleanup.policy",
            kind=ConfigKind.LIST,
            default="delete",
            values=("delete",),
            node_name="log.cleanup.policy",
            documentation="What becomes of old records: retention deletes them. No key compaction yet.",
        ),
        TopicSetting(
            name="compression.type",
            kind=ConfigKind.STRING,
            default="producer",
            values=("producer",),
            node_name="compression.type",
            documentation="How batches are stored: as the producer compressed them. No other way yet.",
        ),
        TopicSetting(
            name="max.message.bytes",
            kind=ConfigKind.INT,
            default="1048588",
            high=INT_MAX,
            node_setting="message_bytes_max",
            node_name="message.max.bytes",
            high_setting="request_bytes_max",
            documentation="The largest record batch taken, in bytes as it arrives, headers included.",
        ),
        TopicSetting(
            name="message.timestamp.type",
            kind=ConfigKind.STRING,
            default="CreateTime",
            values=("CreateTime", "LogAppendTime"),
            node_name="log.message.timestamp.type",
            documentation="Whose time records carry: the producer's, or the append's (LogAppendTime).",
        ),
        TopicSetting(
            name="min.insync.replicas",
            kind=ConfigKind.INT,
            default="1",
            low=1,
            high=INT_MAX,
            node_name="min.insync.replicas",
            documentation=(
                "Any number from 1 on is kept: a record is acknowledged when the storage has it, and the "
                "storage does the replication."
            ),
        ),
        TopicSetting(
            name="retention.bytes",
            kind=ConfigKind.LONG,
            default="-1",
            low=-1,
            node_setting="retention_bytes",
            node_name="log.retention.bytes",
            documentation="Bytes of a partition to keep; the oldest segments beyond it go. -1: no limit.",
        ),
        TopicSetting(
            name="retention.ms",
            kind=ConfigKind.LONG,
            default="604800000",
            low=-1,
            node_setting="retention_ms",
            node_name="log.retention.ms",
            documentation="How long records are kept; segments that hold only older ones go. -1: for ever.",
        ),
        TopicSetting(
            name="unclean.leader.election.enable",
            kind=ConfigKind.BOOLEAN,
            default="false",
            values=("false",),
            node_name="unclean.leader.election.enable",
            documentation="Always false: a new leader begins with every acknowledged record or not at all.",
        ),
    )
}
"""All settings of a topic, in order of name."""

SEGMENTS = "segments belong to a log that many topics share; their size and age are settings of the node"
COMPACTION = "key compaction does not exist yet"
TIERS = "there is one kind of storage, which holds everything"
UNSUPPORTED: Mapping[str, str] = {
    "segment.bytes": SEGMENTS,
    "segment.ms": SEGMENTS,
    "segment.jitter.ms": SEGMENTS,
    "segment.index.bytes": SEGMENTS,
    "index.interval.bytes": SEGMENTS,
    "preallocate": SEGMENTS,
    "file.delete.delay.ms": SEGMENTS,
    "delete.retention.ms": COMPACTION,
    "min.cleanable.dirty.ratio": COMPACTION,
    "min.compaction.lag.ms": COMPACTION,
    "max.compaction.lag.ms": COMPACTION,
    "flush.messages": "every acknowledged record is on storage already",
    "flush.ms": "every acknowledged record is on storage already",
    "message.timestamp.before.max.ms": "timestamps are not compared with the clock yet",
    "message.timestamp.after.max.ms": "timestamps are not compared with the clock yet",
    "local.retention.ms": TIERS,
    "local.retention.bytes": TIERS,
    "remote.storage.enable": TIERS,
    "remote.log.copy.disable": TIERS,
    "remote.log.delete.on.disable": TIERS,
    "leader.replication.throttled.replicas": "there are no followers, the storage replicates",
    "follower.replication.throttled.replicas": "there are no followers, the storage replicates",
    "compression.gzip.level": "batches are stored as the producer compressed them",
    "compression.lz4.level": "batches are stored as the producer compressed them",
    "compression.zstd.level": "batches are stored as the producer compressed them",
}
"""What Kafka knows and Drumlog does not do, and why not."""


@dataclass(frozen=True, slots=True)
class TopicConfig:
    """The settings of one topic as they are in force; field names are the settings' with `_` for `.`."""

    cleanup_policy: str
    compression_type: str
    max_message_bytes: int
    message_timestamp_type: str
    min_insync_replicas: int
    retention_bytes: int
    retention_ms: int

    @property
    def uses_log_append_time(self) -> bool:
        """Whether batches are stamped with the time of their append."""
        return self.message_timestamp_type == "LogAppendTime"


class Synonym(NamedTuple):
    """A value that would be in force if those before it were not there."""

    name: str
    value: str
    source: ConfigSource


class Described(NamedTuple):
    """A setting as clients are told of it."""

    setting: TopicSetting
    value: str
    source: ConfigSource
    synonyms: list[Synonym]


class Change(NamedTuple):
    """One part of an incremental change."""

    name: str
    operation: int
    value: str | None


def resolve(overrides: Mapping[str, str], settings: NodeSettings) -> TopicConfig:
    """The settings in force.

    A name that this program does not know stays unused; a value it cannot read raises Corrupt.
    """
    values: dict[str, int | str] = {}
    for name, setting in TOPIC_SETTINGS.items():
        text = overrides.get(name, setting.node_value(settings))
        try:
            values[name.replace(".", "_")] = setting.parse(text)
        except ValueError as error:
            raise Corrupt(
                f"the stored setting {name}={text!r:.100} cannot be read by this program"
            ) from error
    del values["unclean_leader_election_enable"]
    return TopicConfig(**values)  # type: ignore[arg-type]


def validated(values: Iterable[tuple[str, str | None]], settings: NodeSettings) -> dict[str, str]:
    """The overrides for a full set of values.

    Raises Refused (INVALID_CONFIG, or INVALID_REQUEST for a name twice).
    """
    overrides: dict[str, str] = {}
    for name, value in values:
        if name in overrides:
            raise Refused(ErrorCode.invalid_request, f"{name} is set twice; set it once")
        setting = setting_of(name)
        if value is None:
            raise Refused(
                ErrorCode.invalid_config, f"{name} has no value; allowed: {setting.allowed(settings)}"
            )
        overrides[name] = setting.checked(value, settings)
    return overrides


def changed(
    overrides: Mapping[str, str], changes: Iterable[Change], settings: NodeSettings
) -> dict[str, str]:
    """The overrides after an incremental change; what the change does not name stays. Raises Refused."""
    result = dict(overrides)
    seen: set[str] = set()
    for change in changes:
        if change.name in seen:
            raise Refused(ErrorCode.invalid_request, f"{change.name} is changed twice; change it once")
        seen.add(change.name)
        if change.operation == Operation.DELETE:
            if change.name not in result:
                setting_of(change.name)
            result.pop(change.name, None)
        else:
            result[change.name] = _changed_value(result, change, settings)
    return result


def _changed_value(overrides: Mapping[str, str], change: Change, settings: NodeSettings) -> str:
    """The new text of a setting that is set, or whose list is made longer or shorter."""
    setting = setting_of(change.name)
    if change.value is None:
        raise Refused(
            ErrorCode.invalid_request,
            f"{change.name} has no value; send one, or DELETE to go back to the default",
        )
    if change.operation == Operation.SET:
        return setting.checked(change.value, settings)
    if change.operation not in (Operation.APPEND, Operation.SUBTRACT):
        raise Refused(
            ErrorCode.invalid_request,
            f"operation {change.operation} is not known; 0 to 3 are SET to SUBTRACT",
        )
    if setting.kind != ConfigKind.LIST:
        raise Refused(
            ErrorCode.invalid_config,
            f"{change.name} is no list, so it cannot be appended to or subtracted from: SET it",
        )
    items = _items(overrides.get(change.name, setting.node_value(settings)))
    given = _items(change.value)
    if change.operation == Operation.APPEND:
        items += [item for item in given if item not in items]
    else:
        items = [item for item in items if item not in given]
    return setting.checked(",".join(items), settings)


def setting_of(name: str) -> TopicSetting:
    """The setting of this name.

    Raises Refused for one that does not exist, with the reason where there is one.
    """
    setting = TOPIC_SETTINGS.get(name)
    if setting is not None:
        return setting
    if name in UNSUPPORTED:
        raise Refused(ErrorCode.invalid_config, f"{name} cannot be set: {UNSUPPORTED[name]}")
    raise Refused(
        ErrorCode.invalid_config,
        f"{name!r:.100} is no setting of a topic; there are: {', '.join(TOPIC_SETTINGS)}",
    )


def described(overrides: Mapping[str, str], settings: NodeSettings) -> list[Described]:
    """Every setting with its value in force, where that comes from, and what would be in force without it."""
    rows = []
    for name, setting in TOPIC_SETTINGS.items():
        synonyms = []
        if name in overrides:
            synonyms.append(Synonym(name, overrides[name], ConfigSource.TOPIC))
        node_value = setting.node_value(settings)
        if node_value != setting.default:
            synonyms.append(Synonym(setting.node_name, node_value, ConfigSource.NODE))
        synonyms.append(Synonym(setting.node_name, setting.default, ConfigSource.DEFAULT))
        rows.append(Described(setting, synonyms[0].value, synonyms[0].source, synonyms))
    return rows


def _items(text: str) -> list[str]:
    """The items of a list written with commas."""
    return [item.strip() for item in text.split(",") if item.strip()]
