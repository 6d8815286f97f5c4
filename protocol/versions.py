"""THE table of the APIs that are spoken: which versions are advertised, and which are accepted.

ApiVersions is drawn from `ADVERTISED`; every other request is held against `ACCEPTED` before anything looks
into it. The two differ for Produce alone: librdkafka before 2.11 turns compression off without a word
unless Produce begins at 0 (KAFKA-18659), while only the versions that carry record batches of magic 2, from
3 on, are served.

The minimums matter too: librdkafka switches features on by looking for one version inside a range.
"""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple

from protocol.errors import UnsupportedVersion


class ApiKey(IntEnum):
    """The numbers of the APIs, as Kafka gives them out."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    API_VERSIONS = 18
    CREATE_TOPICS = 19
    DELETE_TOPICS = 20
    INIT_PRODUCER_ID = 22
    OFFSET_FOR_LEADER_EPOCH = 23
    DESCRIBE_CONFIGS = 32
    ALTER_CONFIGS = 33
    CREATE_PARTITIONS = 37
    INCREMENTAL_ALTER_CONFIGS = 44
    DESCRIBE_CLUSTER = 60
    DESCRIBE_TOPIC_PARTITIONS = 75


class Versions(NamedTuple):
    """A range of versions, both ends included."""

    lowest: int
    highest: int


class _Row(NamedTuple):
    advertised: Versions
    accepted: Versions


def _both(lowest: int, highest: int) -> _Row:
    return _Row(Versions(lowest, highest), Versions(lowest, highest))


_TABLE = {
    ApiKey.PRODUCE: _Row(advertised=Versions(0, 13), accepted=Versions(3, 13)),
    ApiKey.FETCH: _both(4, 18),
    ApiKey.LIST_OFFSETS: _both(1, 11),
    ApiKey.METADATA: _both(0, 13),
    ApiKey.OFFSET_COMMIT: _both(2, 10),
    ApiKey.OFFSET_FETCH: _both(1, 10),
    ApiKey.FIND_COORDINATOR: _both(0, 6),
    ApiKey.JOIN_GROUP: _both(0, 9),
    ApiKey.HEARTBEAT: _both(0, 4),
    ApiKey.LEAVE_GROUP: _both(0, 5),
    ApiKey.SYNC_GROUP: _both(0, 5),
    ApiKey.API_VERSIONS: _both(0, 4),
    ApiKey.CREATE_TOPICS: _both(2, 7),
    ApiKey.DELETE_TOPICS: _both(1, 6),
    ApiKey.INIT_PRODUCER_ID: _both(0, 5),
    ApiKey.OFFSET_FOR_LEADER_EPOCH: _both(2, 4),
    ApiKey.DESCRIBE_CONFIGS: _both(1, 4),
    ApiKey.ALTER_CONFIGS: _both(0, 2),
    ApiKey.CREATE_PARTITIONS: _both(0, 3),
    ApiKey.INCREMENTAL_ALTER_CONFIGS: _both(0, 1),
    ApiKey.DESCRIBE_CLUSTER: _both(0, 2),
    ApiKey.DESCRIBE_TOPIC_PARTITIONS: _both(0, 0),
}

ADVERTISED: Mapping[ApiKey, Versions] = MappingProxyType({key: row.advertised for key, row in _TABLE.items()})
"""What ApiVersions answers, in order of API key."""

ACCEPTED: Mapping[ApiKey, Versions] = MappingProxyType({key: row.accepted for key, row in _TABLE.items()})
"""What is served. Never wider than `ADVERTISED`."""


def accept(api_key: int, version: int) -> ApiKey:
    """Return the API of a request that is served in this version; raises UnsupportedVersion for any other."""
    versions = ACCEPTED.get(api_key)  # type: ignore[call-overload]
    if versions is None or not versions.lowest <= version <= versions.highest:
        raise UnsupportedVersion(api_key, version)
    return ApiKey(api_key)
