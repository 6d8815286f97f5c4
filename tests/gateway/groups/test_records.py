"""Laws of the slots' entries and states: any bytes are read or are Corrupt, nothing is lost on the way, and
what was once written stays readable.
"""

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.groups.offsets import GroupStates
from gateway.groups.records import (
    Committed,
    GroupForgotten,
    GroupStored,
    OffsetsCommitted,
    OffsetsForgotten,
    PlaceId,
    Record,
    StoredMember,
    StoredProtocol,
    TimedCommit,
    decode_record,
    encode_record,
)
from gateway.groups.slots import slot_of, stream_of
from wal.errors import Corrupt
from wal.types import STATE_STREAMS, Position, StreamId

GOLDEN = Path(__file__).parents[2] / "golden" / "groups"
STREAM = StreamId(7)
TOPIC = UUID(int=0x1234)

names = st.sampled_from(["", "g", "h", "группа"])
small = st.integers(-1, 2**63 - 1)
places = st.builds(PlaceId, st.sampled_from([TOPIC, UUID(int=9)]), st.integers(0, 3))
commits = st.builds(Committed, small, st.integers(-1, 2**31 - 1), st.text(max_size=5))
members = st.builds(
    StoredMember,
    st.text(max_size=4),
    st.none() | st.text(max_size=4),
    st.text(max_size=4),
    st.text(max_size=4),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**31 - 1),
    st.lists(st.builds(StoredProtocol, st.text(max_size=3), st.binary(max_size=5)), max_size=2).map(tuple),
    st.binary(max_size=5),
)
times = st.integers(0, 2**40)
timed = st.builds(TimedCommit, commits, times)
committed = st.builds(OffsetsCommitted, names, st.dictionaries(places, timed, max_size=3))
texts = st.none() | st.text(max_size=4)
stored = st.builds(
    GroupStored,
    names,
    times,
    st.integers(0, 2**31),
    texts,
    texts,
    texts,
    st.lists(members, max_size=3).map(tuple),
)
forgotten = st.builds(OffsetsForgotten, names, st.lists(places, max_size=3).map(tuple))
records: st.SearchStrategy[Record] = committed | stored | forgotten | st.builds(GroupForgotten, names)


def put(states: GroupStates, record: Record) -> None:
    tag, payload = encode_record(record)
    states.apply(STREAM, Position(0), 1, 1, 0, tag, memoryview(payload))


def commit(offset: int, metadata: str, time_ms: int = 1) -> TimedCommit:
    return TimedCommit(Committed(offset, -1, metadata), time_ms)


def content(states: GroupStates) -> dict[str, tuple[GroupStored | None, dict[PlaceId, TimedCommit]]]:
    return {name: (data.stored, dict(data.offsets)) for name, data in states.groups(STREAM)}


@given(records)
@settings(deadline=None)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    assert decode_record(*encode_record(record)) == record


@given(st.binary(max_size=3), st.binary(max_size=60), records, st.integers(0, 200), st.integers(0, 255))
@settings(deadline=None)
def test_any_bytes_are_a_record_or_corrupt(
    tag: bytes, data: bytes, record: Record, at: int, byte: int
) -> None:
    good_tag, payload = encode_record(record)
    mutated = bytearray(payload)
    mutated[at % len(mutated)] = byte
    for some_tag, some in ((tag, data), (good_tag, data), (good_tag, mutated), (good_tag, payload[:at])):
        try:
            decode_record(some_tag, some)
        except Corrupt:
            continue


@given(st.lists(records, max_size=12), st.integers(0, 12))
@settings(deadline=None)
def test_a_state_restored_half_way_is_the_state_that_lived(entries: list[Record], cut: int) -> None:
    lived, restored = GroupStates(), GroupStates()
    for record in entries[:cut]:
        put(lived, record)
    restored.restore(STREAM, lived.snapshot(STREAM))
    for record in entries[cut:]:
        put(lived, record)
        put(restored, record)
    assert content(restored) == content(lived)
    assert restored.snapshot(STREAM) == lived.snapshot(STREAM)
    assert lived.groups_count == restored.groups_count == len(content(lived))
    offsets = sum(len(one) for _, one in content(lived).values())
    assert lived.offsets_count == restored.offsets_count == offsets


@given(st.lists(records, min_size=1, max_size=3), st.integers(0, 400), st.integers(0, 255))
@settings(deadline=None)
def test_any_snapshot_is_restored_or_corrupt_and_then_changes_nothing(
    entries: list[Record], at: int, byte: int
) -> None:
    states = GroupStates()
    for record in entries:
        put(states, record)
    before = content(states)
    mutated = bytearray(states.snapshot(STREAM) or b"\0")
    mutated[at % len(mutated)] = byte
    try:
        states.restore(STREAM, bytes(mutated))
    except Corrupt:
        assert content(states) == before


def test_later_offsets_replace_earlier_ones_and_forgotten_ones_are_gone() -> None:
    states = GroupStates()
    first, second = PlaceId(TOPIC, 0), PlaceId(TOPIC, 1)
    old = {first: commit(1, "a"), second: commit(2, "")}
    put(states, OffsetsCommitted("g", old))
    put(states, OffsetsCommitted("g", {first: commit(0, "b", 2)}))
    assert states.offsets(STREAM, "g")[first] == commit(0, "b", 2)
    put(states, OffsetsForgotten("g", (second, PlaceId(TOPIC, 9))))
    assert set(states.offsets(STREAM, "g")) == {first}
    put(states, GroupForgotten("g"))
    assert states.group(STREAM, "g") is None and states.snapshot(STREAM) == b""


def test_a_slot_that_is_forgotten_is_empty() -> None:
    states = GroupStates()
    put(states, OffsetsCommitted("g", {PlaceId(TOPIC, 0): commit(1, "a")}))
    states.forget(STREAM)
    assert content(states) == {} and states.offsets_count == 0


GOLDEN_RECORDS: dict[str, Record] = {
    "offsets-committed": OffsetsCommitted(
        "group",
        {
            PlaceId(TOPIC, 3): TimedCommit(Committed(42, 5, "note"), 1_700_000_000_000),
            PlaceId(TOPIC, 4): TimedCommit(Committed(0, -1, ""), 1_700_000_000_000),
        },
    ),
    "offsets-forgotten": OffsetsForgotten("group", (PlaceId(TOPIC, 3),)),
    "group-stored": GroupStored(
        "group",
        1_700_000_000_000,
        7,
        "consumer",
        "range",
        "client-1",
        (
            StoredMember(
                "client-1",
                "instance",
                "client",
                "127.0.0.1",
                10_000,
                300_000,
                (StoredProtocol("range", b"\x00\x01"),),
                b"\x02",
            ),
        ),
    ),
    "group-forgotten": GroupForgotten("group"),
}


@pytest.mark.parametrize("name", GOLDEN_RECORDS)
def test_what_was_once_written_stays_readable(name: str) -> None:
    tag, payload = (bytes.fromhex(line) for line in (GOLDEN / f"{name}-1.hex").read_text().split())
    assert decode_record(tag, payload) == GOLDEN_RECORDS[name]
    assert encode_record(GOLDEN_RECORDS[name]) == (tag, payload)


def test_a_snapshot_once_written_stays_readable() -> None:
    lived, restored = GroupStates(), GroupStates()
    put(lived, GOLDEN_RECORDS["offsets-committed"])
    put(lived, GOLDEN_RECORDS["group-stored"])
    data = bytes.fromhex((GOLDEN / "snapshot-1.hex").read_text())
    restored.restore(STREAM, data)
    assert content(restored) == content(lived)
    assert lived.snapshot(STREAM) == data


def test_slots_never_move() -> None:
    assert [slot_of(name) for name in ("", "g", "my-group", "группа")] == [0, 24, 26, 27]
    assert {stream_of(slot_of(f"group {i}")) for i in range(2_000)} == set(range(1, 65))
    assert stream_of(63) < STATE_STREAMS


def test_a_map_whose_key_is_no_key_is_corrupt() -> None:
    tag, _ = encode_record(GroupForgotten("g"))
    with pytest.raises(Corrupt):
        decode_record(tag, bytes.fromhex("8190c0"))
