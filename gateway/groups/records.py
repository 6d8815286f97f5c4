"""What is written about groups: four kinds of entries, as values and as bytes (docs/formats/group-state.md).

An entry's tag is two bytes, format and kind; its payload is one msgpack list. Whoever reads gets a record or
`Corrupt`, never anything else. Names of topics are not stored: an offset belongs to a topic's id, so that
nothing of a deleted topic reaches one made again under its name.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import msgpack

from wal.errors import Corrupt
from wal.types import Buffer

FORMAT = 1
TAG_SIZE = 2


class Kind(IntEnum):
    """What an entry says. Numbers from 16 on are kept for transactions, which share the slots."""

    OFFSETS_COMMITTED = 1
    OFFSETS_FORGOTTEN = 2
    GROUP_STORED = 3
    GROUP_FORGOTTEN = 4


class PlaceId(NamedTuple):
    """A partition as offsets name it."""

    topic_id: UUID
    partition: int


class Committed(NamedTuple):
    """An offset with what the client wanted to have beside it; -1: no leader epoch was given."""

    offset: int
    leader_epoch: int
    metadata: str


class TimedCommit(NamedTuple):
    """A committed offset and when it was committed, in ms since 1970."""

    committed: Committed
    time_ms: int


class StoredProtocol(NamedTuple):
    """An assignment strategy that a member knows, and what it says about itself for it."""

    name: str
    metadata: bytes


class StoredMember(NamedTuple):
    """A member of a generation, with its share of the work."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_ms: int
    rebalance_ms: int
    protocols: tuple[StoredProtocol, ...]
    assignment: bytes


class OffsetsCommitted(NamedTuple):
    """Offsets of a group, committed together."""

    group: str
    offsets: Mapping[PlaceId, TimedCommit]


class OffsetsForgotten(NamedTuple):
    """Offsets that a group has no more."""

    group: str
    places: tuple[PlaceId, ...]


class GroupStored(NamedTuple):
    """A group as of the end of a rebalance; without members it is empty."""

    group: str
    time_ms: int
    generation: int
    protocol_type: str | None
    protocol: str | None
    leader: str | None
    members: tuple[StoredMember, ...]


class GroupForgotten(NamedTuple):
    """A group that is gone with all its offsets."""

    group: str


Record = OffsetsCommitted | OffsetsForgotten | GroupStored | GroupForgotten

KINDS: Mapping[type[Record], Kind] = MappingProxyType(
    {
        OffsetsCommitted: Kind.OFFSETS_COMMITTED,
        OffsetsForgotten: Kind.OFFSETS_FORGOTTEN,
        GroupStored: Kind.GROUP_STORED,
        GroupForgotten: Kind.GROUP_FORGOTTEN,
    }
)


def encode_record(record: Record) -> tuple[bytes, bytes]:
    """Tag and payload of the entry."""
    return bytes((FORMAT, KINDS[type(record)])), bytes(
        msgpack.packb(_packed(record), unicode_errors="surrogatepass")
    )


def decode_record(tag: bytes, payload: Buffer) -> Record:
    """What `encode_record` was given. Raises Corrupt on anything else."""
    if len(tag) != TAG_SIZE or tag[0] != FORMAT or tag[1] not in _READERS:
        raise Corrupt(f"a slot's entry has a tag of format {FORMAT} and a known kind, not {tag[:16].hex()!r}")
    return _READERS[Kind(tag[1])](unpacked(payload))


def unpacked(data: Buffer) -> Any:
    """The msgpack value in `data`. Raises Corrupt."""
    try:
        return msgpack.unpackb(data, strict_map_key=False, unicode_errors="surrogatepass")
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise Corrupt(f"a slot's bytes cannot be unpacked: {error}") from error


def offset_rows(offsets: Mapping[PlaceId, TimedCommit]) -> list[object]:
    """Offsets gathered by topic."""
    topics: dict[bytes, list[object]] = {}
    for (topic_id, partition), ((offset, epoch, metadata), time_ms) in offsets.items():
        topics.setdefault(topic_id.bytes, []).append((partition, offset, epoch, metadata, time_ms))
    return list(topics.items())


def read_offset_rows(rows: Any) -> dict[PlaceId, TimedCommit]:
    """What `offset_rows` was given. Raises ValueError or TypeError."""
    found = {}
    for topic_bytes, partitions in rows:
        topic_id = UUID(bytes=_bytes(topic_bytes))
        for partition, offset, epoch, metadata, time_ms in partitions:
            if not type(partition) is type(offset) is type(epoch) is type(time_ms) is int:
                raise TypeError("a partition, its offset, leader epoch and time are integers")
            committed = Committed(offset, epoch, _str(metadata))
            found[PlaceId(topic_id, partition)] = TimedCommit(committed, time_ms)
    return found


def group_row(record: GroupStored) -> list[object]:
    """The group without its name."""
    members = [
        (*member[:6], [tuple(protocol) for protocol in member.protocols], member.assignment)
        for member in record.members
    ]
    return [*record[1:6], members]


def read_group_row(group: str, row: Any) -> GroupStored:
    """What `group_row` was given. Raises ValueError or TypeError."""
    time_ms, generation, protocol_type, protocol, leader, members = row
    return GroupStored(
        _str(group),
        _int(time_ms),
        _int(generation),
        _optional(protocol_type),
        _optional(protocol),
        _optional(leader),
        tuple(_read_member(member) for member in members),
    )


def _read_member(row: Any) -> StoredMember:
    member_id, instance_id, client_id, host, session_ms, rebalance_ms, protocols, assignment = row
    return StoredMember(
        _str(member_id),
        _optional(instance_id),
        _str(client_id),
        _str(host),
        _int(session_ms),
        _int(rebalance_ms),
        tuple(StoredProtocol(_str(name), _bytes(metadata)) for name, metadata in protocols),
        _bytes(assignment),
    )


def _packed(record: Record) -> list[object]:
    match record:
        case OffsetsCommitted(group, offsets):
            return [group, offset_rows(offsets)]
        case OffsetsForgotten(group, places):
            return [group, [(place.topic_id.bytes, place.partition) for place in places]]
        case GroupStored():
            return [record.group, group_row(record)]
        case GroupForgotten(group):
            return [group]


def _read_committed(fields: Any) -> OffsetsCommitted:
    group, rows = fields
    return OffsetsCommitted(_str(group), read_offset_rows(rows))


def _read_forgotten(fields: Any) -> OffsetsForgotten:
    group, rows = fields
    return OffsetsForgotten(
        _str(group), tuple(PlaceId(UUID(bytes=_bytes(one)), _int(index)) for one, index in rows)
    )


def _read_group(fields: Any) -> GroupStored:
    group, row = fields
    return read_group_row(group, row)


def _read_gone(fields: Any) -> GroupForgotten:
    (group,) = fields
    return GroupForgotten(_str(group))


def checked(read: Callable[[Any], Any], value: Any) -> Any:
    """What `read` makes of the value. Raises Corrupt where it is something else."""
    try:
        return read(value)
    except (ValueError, TypeError) as error:
        raise Corrupt(f"a slot's bytes hold what they should not: {error}") from error


def _reader(read: Callable[[Any], Record]) -> Callable[[Any], Record]:
    def reader(value: Any) -> Record:
        record: Record = checked(read, value)
        return record

    return reader


_READERS: Mapping[int, Callable[[Any], Record]] = MappingProxyType(
    {
        Kind.OFFSETS_COMMITTED: _reader(_read_committed),
        Kind.OFFSETS_FORGOTTEN: _reader(_read_forgotten),
        Kind.GROUP_STORED: _reader(_read_group),
        Kind.GROUP_FORGOTTEN: _reader(_read_gone),
    }
)


def _int(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"an integer, not {value!r:.100}")
    return value


def _str(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"a string, not {value!r:.100}")
    return value


def _bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise TypeError(f"bytes, not {value!r:.100}")
    return value


def _optional(value: Any) -> str | None:
    return None if value is None else _str(value)
