"""Headers of record batches: what is refused, what is patched, where slices are cut."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.batches import (
    HEADER_SIZE,
    BatchHeader,
    Codec,
    check,
    check_intact,
    patch,
    read_header,
    seal,
    size_within,
    slice_from,
    stamp,
    walk,
    write_header,
)
from protocol.errors import CorruptBatch, InvalidBatch, UnsupportedCodec, WireError
from protocol.records import Record, build_batch, open_batch

GOLDEN = sorted((Path(__file__).parent.parent / "golden" / "batches").glob("*.hex"))
TIME = 1_700_000_000_000


def batch_of(count: int, *, first: int = 0) -> bytearray:
    return build_batch([Record(first + i, TIME + i, b"k", b"value") for i in range(count)])


def slice_of(counts: list[int], *, first: int = 0) -> bytes:
    """A slice of batches with dense offsets."""
    parts = []
    for count in counts:
        parts.append(bytes(batch_of(count, first=first)))
        first += count
    return b"".join(parts)


def changed(**fields: int) -> bytearray:
    """A batch of three records with other header fields and the checksum that fits them."""
    batch = batch_of(3)
    write_header(batch, read_header(batch)._replace(**fields))
    seal(batch)
    return batch


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_batches_of_real_clients_pass_and_tell_their_codec(path: Path) -> None:
    header = check(bytes.fromhex(path.read_text()))
    assert header.codec.name.lower() == path.stem.rsplit("-", 1)[1]
    assert (header.record_count, header.last_offset, header.time_max) == (12, 11, TIME + 40)
    assert not header.is_transactional
    assert not header.is_control
    assert not header.uses_log_append_time


def test_a_header_is_written_as_it_is_read() -> None:
    header = BatchHeader(1, 49, 3, 2, 0xFFFF_FFFF, 4, 7, -1, 9, 10, 11, 12, 8)
    view = bytearray(HEADER_SIZE)
    write_header(view, header)
    assert read_header(view) == header
    assert header.size == HEADER_SIZE
    assert header.codec is Codec.ZSTD


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"magic": 0}, InvalidBatch),
        ({"magic": 1}, InvalidBatch),
        ({"magic": 3}, InvalidBatch),
        ({"magic": -1}, InvalidBatch),
        ({"base_offset": 1}, InvalidBatch),
        ({"record_count": 0}, InvalidBatch),
        ({"record_count": -1}, InvalidBatch),
        ({"record_count": 4}, InvalidBatch),
        ({"last_offset_delta": 3}, InvalidBatch),
        ({"last_offset_delta": -1, "record_count": 0}, InvalidBatch),
        ({"attributes": 5}, UnsupportedCodec),
        ({"attributes": 7}, UnsupportedCodec),
        ({"attributes": 8}, InvalidBatch),
        ({"base_timestamp": -2}, InvalidBatch),
        ({"max_timestamp": -2}, InvalidBatch),
        ({"producer_id": 1, "producer_epoch": 0, "base_sequence": -1}, InvalidBatch),
        ({"batch_length": 48}, CorruptBatch),
        ({"batch_length": -12}, CorruptBatch),
        ({"batch_length": -(2**31)}, CorruptBatch),
        ({"batch_length": 2**31 - 1}, CorruptBatch),
    ],
)
def test_a_batch_that_breaks_a_rule_is_refused(fields: dict[str, int], error: type[WireError]) -> None:
    with pytest.raises(error):
        check(changed(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"max_timestamp": -1},
        {"base_timestamp": -1, "max_timestamp": -1},
        {"attributes": 0x10, "producer_id": 5, "producer_epoch": 0, "base_sequence": 0},
        {"attributes": 0x20},
        {"leader_epoch": 77},
        {"attributes": 0x40},
    ],
)
def test_what_kafka_takes_is_taken(fields: dict[str, int]) -> None:
    header = check(changed(**fields))
    assert header.is_transactional == bool(fields.get("attributes", 0) & 0x10)
    assert header.is_control == bool(fields.get("attributes", 0) & 0x20)


def test_exactly_one_batch_is_produced() -> None:
    with pytest.raises(InvalidBatch):
        check(b"")
    with pytest.raises(InvalidBatch):
        check(slice_of([2, 1]))
    with pytest.raises(InvalidBatch):
        check(batch_of(1) + b"\x00")


def test_messages_of_older_magics_are_refused_for_their_magic_however_short() -> None:
    for magic in (0, 1):
        with pytest.raises(InvalidBatch):
            check(bytes(16) + bytes([magic]) + bytes(10))


def test_a_batch_that_is_cut_short_is_corrupt() -> None:
    whole = bytes(batch_of(3))
    for size in range(1, len(whole)):
        with pytest.raises(CorruptBatch):
            check(whole[:size])


def test_any_bit_that_the_checksum_covers_is_seen() -> None:
    whole = batch_of(2)
    for at in range(17, len(whole)):
        broken = bytearray(whole)
        broken[at] ^= 0x10
        with pytest.raises(CorruptBatch):
            check(broken)
        with pytest.raises(CorruptBatch):
            check_intact(broken)


def test_a_stored_batch_is_corrupt_where_a_produced_one_is_invalid() -> None:
    for view in (changed(magic=1), slice_of([2, 1])):
        with pytest.raises(CorruptBatch):
            check_intact(view)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_a_wire_error(data: bytes) -> None:
    functions: list[Callable[[bytes], object]] = [
        check,
        check_intact,
        lambda view: list(walk(view)),
        lambda view: slice_from(view, 5),
        lambda view: size_within(view, 10, at_least_one=True),
    ]
    for function in functions:
        with contextlib.suppress(WireError):
            function(data)


def test_check_takes_writable_views_inside_a_frame() -> None:
    frame = bytearray(b"head") + batch_of(3) + b"tail"
    view = memoryview(frame)[4:-4]
    assert check(view).record_count == 3
    patch(view, 1000, 7)
    header = check_intact(view)
    assert (header.base_offset, header.leader_epoch, header.last_offset) == (1000, 7, 1002)
    assert frame[:4] == b"head"
    assert frame[-4:] == b"tail"
    assert [record.offset for record in open_batch(view, 1000)] == [1000, 1001, 1002]


def test_a_patch_leaves_the_checksum_valid_and_all_else_as_it_was() -> None:
    batch = batch_of(2)
    before = read_header(batch)
    patch(batch, 2**63 - 5, 2**31 - 1)
    assert check_intact(batch) == before._replace(base_offset=2**63 - 5, leader_epoch=2**31 - 1)


def test_a_stamped_batch_has_one_time_for_all_its_records() -> None:
    batch = batch_of(3)
    stamp(batch, TIME - 5000)
    header = check_intact(batch)
    assert header.uses_log_append_time
    assert header.time_max == TIME - 5000
    assert {record.timestamp for record in open_batch(batch, 1000)} == {TIME - 5000}


def test_a_missing_maximum_gives_way_to_the_first_record() -> None:
    assert read_header(changed(max_timestamp=-1)).time_max == TIME


def test_walk_gives_each_batch_where_it_lies() -> None:
    data = slice_of([3, 1, 2], first=10)
    walked = list(walk(data))
    assert [header.base_offset for _, header in walked] == [10, 13, 14]
    assert [data[at : at + header.size] for at, header in walked] == [
        bytes(batch_of(count, first=first)) for count, first in ((3, 10), (1, 13), (2, 14))
    ]
    assert list(walk(b"")) == []


def test_a_slice_that_ends_inside_a_batch_is_corrupt() -> None:
    data = slice_of([2, 2])
    for size in (len(data) - 1, len(data) // 2 + 5):
        with pytest.raises(CorruptBatch):
            list(walk(data[:size]))
        with pytest.raises(CorruptBatch):
            slice_from(data[:size], 4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 4), max_size=6), st.integers(0, 30))
def test_slice_from_finds_the_batch_that_holds_the_offset(counts: list[int], offset: int) -> None:
    data = slice_of(counts, first=5)
    ends = [(at, header.last_offset) for at, header in walk(data)]
    assert slice_from(data, offset) == next((at for at, last in ends if last >= offset), len(data))


def test_an_offset_in_a_hole_is_served_from_the_batch_behind_it() -> None:
    before, after = bytes(batch_of(2, first=0)), bytes(batch_of(2, first=10))
    assert slice_from(before + after, 5) == len(before)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 4), max_size=6), st.integers(0, 900), st.booleans())
def test_size_within_cuts_at_the_last_batch_that_fits(counts: list[int], bytes_max: int, one: bool) -> None:
    data = slice_of(counts)
    ends = [at + header.size for at, header in walk(data)]
    fitting = max((end for end in ends if end <= bytes_max), default=0)
    expected = ends[0] if one and ends and not fitting else fitting
    assert size_within(data, bytes_max, at_least_one=one) == expected
