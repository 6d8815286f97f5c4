"""The slots' states that ride on a log: each group's committed offsets and its last stored generation.

A state machine without I/O (gateway.state.SlotStates): `apply` takes in entries in order and judges nothing,
`snapshot` and `restore` carry a slot through a checkpoint. What the log's durable view holds here is what
OffsetFetch answers, and what a coordinator goes on with after a restart.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgpack

from gateway.groups.records import (
    GroupForgotten,
    GroupStored,
    OffsetsCommitted,
    OffsetsForgotten,
    PlaceId,
    Record,
    TimedCommit,
    checked,
    decode_record,
    group_row,
    offset_rows,
    read_group_row,
    read_offset_rows,
    unpacked,
)
from wal.errors import Corrupt
from wal.types import Buffer, Position, StreamId

SNAPSHOT_FORMAT = 1

NO_OFFSETS: Mapping[PlaceId, TimedCommit] = MappingProxyType({})


@dataclass(slots=True)
class GroupData:
    """What is known of one group. `stored` is None where it never completed a rebalance."""

    stored: GroupStored | None = None
    offsets: dict[PlaceId, TimedCommit] = field(default_factory=dict)


@dataclass(slots=True)
class _Slot:
    groups: dict[str, GroupData] = field(default_factory=dict)
    offsets_count: int = 0


class GroupStates:
    """The groups of all slots of one log."""

    def __init__(self) -> None:
        self._slots: dict[StreamId, _Slot] = {}

    def group(self, stream: StreamId, name: str) -> GroupData | None:
        """The group of this name; not to be changed."""
        slot = self._slots.get(stream)
        return slot.groups.get(name) if slot else None

    def offsets(self, stream: StreamId, name: str) -> Mapping[PlaceId, TimedCommit]:
        """The group's offsets; not to be changed."""
        data = self.group(stream, name)
        return data.offsets if data else NO_OFFSETS

    def groups(self, stream: StreamId) -> Iterator[tuple[str, GroupData]]:
        """All groups of a slot, as of now."""
        slot = self._slots.get(stream)
        return iter(tuple(slot.groups.items()) if slot else ())

    @property
    def groups_count(self) -> int:
        """How many groups there are."""
        return sum(len(slot.groups) for slot in self._slots.values())

    @property
    def offsets_count(self) -> int:
        """How many offsets there are."""
        return sum(slot.offsets_count for slot in self._slots.values())

    def apply(
        self, stream: StreamId, position: Position, n: int, epoch: int, time: int, tag: bytes, payload: Buffer
    ) -> None:
        """Take in one entry of a slot, unconditionally. Raises Corrupt."""
        del position, n, epoch, time
        self.take(stream, decode_record(tag, payload))

    def take(self, stream: StreamId, record: Record) -> None:
        """Take in what an entry says."""
        slot = self._slots.get(stream)
        if slot is None:
            slot = self._slots[stream] = _Slot()
        match record:
            case OffsetsCommitted(group, committed):
                offsets = slot.groups.setdefault(group, GroupData()).offsets
                before = len(offsets)
                offsets.update(committed)
                slot.offsets_count += len(offsets) - before
            case OffsetsForgotten(group, places):
                offsets = slot.groups.setdefault(group, GroupData()).offsets
                before = len(offsets)
                for place in places:
                    offsets.pop(place, None)
                slot.offsets_count += len(offsets) - before
            case GroupStored(group):
                slot.groups.setdefault(group, GroupData()).stored = record
            case GroupForgotten(group):
                gone = slot.groups.pop(group, None)
                slot.offsets_count -= len(gone.offsets) if gone else 0

    def snapshot(self, stream: StreamId) -> bytes:
        """The slot as bytes; empty where it holds nothing."""
        slot = self._slots.get(stream)
        if slot is None or not slot.groups:
            return b""
        rows = [
            (name, group_row(data.stored) if data.stored else None, offset_rows(data.offsets))
            for name, data in slot.groups.items()
        ]
        return bytes(msgpack.packb([SNAPSHOT_FORMAT, rows], unicode_errors="surrogatepass"))

    def restore(self, stream: StreamId, data: bytes) -> None:
        """Replace the slot with what a snapshot holds. Raises Corrupt and then changes nothing."""
        slot = _Slot()
        if data:
            fields = unpacked(data)
            if not isinstance(fields, list) or len(fields) != 2 or fields[0] != SNAPSHOT_FORMAT:
                raise Corrupt(f"a snapshot of a slot has format {SNAPSHOT_FORMAT}, not {fields!r:.100}")
            slot.groups = checked(_read_groups, fields[1])
            slot.offsets_count = sum(len(group.offsets) for group in slot.groups.values())
        self._slots[stream] = slot

    def forget(self, stream: StreamId) -> None:
        """The slot is gone."""
        self._slots.pop(stream, None)


def _read_groups(rows: Any) -> dict[str, GroupData]:
    groups = {}
    for name, row, offsets in rows:
        stored = None if row is None else read_group_row(name, row)
        if type(name) is not str or name in groups:
            raise ValueError(f"each group has a name and stands once, not so {name!r:.100}")
        groups[name] = GroupData(stored, read_offset_rows(offsets))
    return groups
