"""Metadata responses by hand, piece by piece, so that pieces can be kept: rows of partitions, topics, the
body around them.

A row has four shapes over the versions 0 to 13 (`row_shape`); a leader of -1 makes it a row with
LEADER_NOT_AVAILABLE and no replicas. Every partition has one replica, its leader: the storage does the
replication. Equal to kio's bytes by test.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from protocol.hot.primitives import (
    I16,
    I32,
    NodeEndpoint,
    compact_nullable_string,
    nullable_string,
    topic_id_bytes,
    uvarint,
)

FLEXIBLE = 9
LEADER_NOT_AVAILABLE = 5
OPERATIONS_UNKNOWN = -(1 << 31)
"""Authorized operations where none were worked out."""

_OPERATIONS = I32.pack(OPERATIONS_UNKNOWN)

_SHAPES = (0, 5, 7, 9)


def row_shape(version: int) -> int:
    """Versions of one shape have the same partition rows: 0 to 4, 5 and 6, 7 and 8, 9 and later."""
    return next(shape for shape in reversed(_SHAPES) if version >= shape)


class Rows:
    """Encodes partition rows of one version; what follows the index is made once for each leader."""

    ERRORS = (I16.pack(0), I16.pack(LEADER_NOT_AVAILABLE))

    def __init__(self, version: int) -> None:
        self.shape = row_shape(version)
        self._ends: dict[tuple[int, int], bytes] = {}

    def encode(self, first: int, leaders: Iterable[tuple[int, int]]) -> bytes:
        """The rows of partitions from `first` on, given the (leader, leader epoch) of each."""
        ends, errors, pack = self._ends, self.ERRORS, I32.pack
        parts: list[bytes] = []
        for index, leader in enumerate(leaders, first):
            end = ends.get(leader)
            if end is None:
                end = ends[leader] = self._end(*leader)
            parts += (errors[leader[0] < 0], pack(index), end)
        return b"".join(parts)

    def _end(self, leader: int, epoch: int) -> bytes:
        """What follows the index in a row."""
        flexible = self.shape >= FLEXIBLE
        replicas = _count(flexible, leader >= 0) + (I32.pack(leader) if leader >= 0 else b"")
        parts = [I32.pack(leader)]
        if self.shape >= 7:
            parts.append(I32.pack(epoch))
        parts += [replicas, replicas]
        if self.shape >= 5:
            parts.append(_count(flexible, 0))
        if flexible:
            parts.append(b"\x00")
        return b"".join(parts)


def topic(
    version: int,
    *,
    error_code: int,
    name: str | None,
    topic_id: UUID | None,
    internal: bool,
    count: int,
    rows: bytes,
) -> bytes:
    """One topic with the rows of its `count` partitions.

    A name of None is empty where the version has no null.
    """
    flexible = version >= FLEXIBLE
    parts = [I16.pack(error_code), _string(flexible, name if version >= 12 else name or "")]
    if version >= 10:
        parts.append(topic_id_bytes(topic_id))
    if version >= 1:
        parts.append(b"\x01" if internal else b"\x00")
    parts += [_count(flexible, count), rows]
    if version >= 8:
        parts.append(_OPERATIONS)
    if flexible:
        parts.append(b"\x00")
    return b"".join(parts)


def body(
    version: int,
    *,
    brokers: Sequence[NodeEndpoint],
    cluster_id: str,
    controller_id: int,
    topics: Sequence[bytes],
) -> bytes:
    """The body around encoded topics."""
    flexible = version >= FLEXIBLE
    parts = [I32.pack(0)] if version >= 3 else []
    parts.append(_count(flexible, len(brokers)))
    parts += [_broker(version, broker) for broker in brokers]
    if version >= 2:
        parts.append(_string(flexible, cluster_id))
    if version >= 1:
        parts.append(I32.pack(controller_id))
    parts.append(_count(flexible, len(topics)))
    parts += topics
    if 8 <= version <= 10:
        parts.append(_OPERATIONS)
    if version >= 13:
        parts.append(I16.pack(0))
    if flexible:
        parts.append(b"\x00")
    return b"".join(parts)


def response(version: int, correlation_id: int, encoded: bytes) -> bytes:
    """The header and an encoded body."""
    return I32.pack(correlation_id) + (b"\x00" if version >= FLEXIBLE else b"") + encoded


def _broker(version: int, broker: NodeEndpoint) -> bytes:
    flexible = version >= FLEXIBLE
    parts = [I32.pack(broker.node_id), _string(flexible, broker.host), I32.pack(broker.port)]
    if version >= 1:
        parts.append(_string(flexible, broker.rack))
    if flexible:
        parts.append(b"\x00")
    return b"".join(parts)


def _count(flexible: bool, count: int) -> bytes:
    return uvarint(count + 1) if flexible else I32.pack(count)


def _string(flexible: bool, text: str | None) -> bytes:
    return compact_nullable_string(text) if flexible else nullable_string(text)
