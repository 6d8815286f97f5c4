"""Batches open into the records that were put in, and any other bytes into an error."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.batches import Codec, check, patch, read_header, seal, stamp, write_header
from protocol.errors import BatchTooLarge, CorruptBatch, UnsupportedCodec, WireError
from protocol.records import Record, TimedOffset, build_batch, first_at_or_after, latest, open_batch

GOLDEN = sorted((Path(__file__).parent.parent / "golden" / "batches").glob("*.hex"))
TIME = 1_700_000_000_000
BYTES_MAX = 1 << 20

texts = st.text(st.characters(codec="utf-8"), max_size=8)
nullable_bytes = st.none() | st.binary(max_size=40)


@st.composite
def record_lists(draw: st.DrawFn) -> list[Record]:
    """Records with ascending offsets, as a producer, or a batch with holes, has them."""
    offset = draw(st.integers(0, 2**40))
    records = []
    for _ in range(draw(st.integers(1, 6))):
        headers = tuple(draw(st.lists(st.tuples(texts, nullable_bytes), max_size=3)))
        timestamp = draw(st.integers(-1, 2**62))
        records.append(Record(offset, timestamp, draw(nullable_bytes), draw(nullable_bytes), headers))
        offset += draw(st.integers(1, 1000))
    return records


def golden_records(client: str) -> list[Record]:
    """What every golden batch holds."""
    headers: tuple[tuple[str, bytes | None], ...] = (("h", b"x"), ("empty", b""))
    if client == "librdkafka":
        headers += (("null", None),)
    return [
        Record(
            i,
            TIME + 10 * (i % 5),
            None if i == 1 else f"key-{i}".encode(),
            None if i == 2 else f"value-{i} ".encode() * 20,
            headers if i == 3 else (),
        )
        for i in range(12)
    ]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_batches_of_real_clients_open(path: Path) -> None:
    client = "librdkafka" if path.stem.startswith("librdkafka") else "builder"
    assert open_batch(bytes.fromhex(path.read_text()), BYTES_MAX) == golden_records(client)


def test_there_is_a_golden_batch_of_every_codec() -> None:
    assert {read_header(bytes.fromhex(path.read_text())).codec for path in GOLDEN} == set(Codec)


@pytest.mark.parametrize("codec", Codec)
@settings(max_examples=40, deadline=None)
@given(records=record_lists())
def test_what_is_built_opens_as_it_was(codec: Codec, records: list[Record]) -> None:
    batch = build_batch(records, codec=codec)
    assert read_header(batch).codec is codec
    assert open_batch(batch, BYTES_MAX) == records


def test_dense_records_from_offset_0_build_a_batch_that_may_be_produced() -> None:
    records = [Record(i, TIME) for i in range(3)]
    header = check(
        build_batch(records, producer_id=7, producer_epoch=1, base_sequence=5, is_transactional=True)
    )
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (7, 1, 5)
    assert header.is_transactional
    assert not header.is_control
    assert check(build_batch(records, is_control=True)).is_control


def test_a_batch_needs_a_record() -> None:
    with pytest.raises(ValueError, match="needs a record"):
        build_batch([])


def test_header_keys_that_are_not_utf8_survive() -> None:
    batch = build_batch([Record(0, TIME, headers=((b"\xff\xfe".decode("utf-8", "surrogateescape"), b"v"),))])
    records = open_batch(batch, BYTES_MAX)
    assert build_batch(records) == batch


@pytest.mark.parametrize("codec", Codec)
def test_the_limit_is_on_the_opened_records(codec: Codec) -> None:
    records = [Record(i, TIME, None, b"v" * 100) for i in range(100)]
    size = len(build_batch(records)) - 61
    batch = build_batch(records, codec=codec)
    assert open_batch(batch, size) == records
    with pytest.raises(BatchTooLarge):
        open_batch(batch, size - 1)


def test_unknown_codecs_are_unsupported() -> None:
    batch = build_batch([Record(0, TIME)])
    write_header(batch, read_header(batch)._replace(attributes=6))
    seal(batch)
    with pytest.raises(UnsupportedCodec):
        open_batch(batch, BYTES_MAX)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(Codec), st.binary(max_size=80), st.integers(-1, 5), st.integers(-1, 5))
def test_any_bytes_open_or_raise_a_batch_error(codec: Codec, payload: bytes, count: int, delta: int) -> None:
    batch = build_batch([Record(0, TIME)])[:61] + payload
    fields = read_header(batch)._replace(
        batch_length=len(batch) - 12, attributes=codec, record_count=count, last_offset_delta=delta
    )
    write_header(batch, fields)
    seal(batch)
    with contextlib.suppress(CorruptBatch, BatchTooLarge):
        open_batch(batch, 1000)


@settings(max_examples=200, deadline=None)
@given(record_lists(), st.sampled_from(Codec), st.data())
def test_mutated_batches_open_or_raise_a_batch_error(
    records: list[Record], codec: Codec, data: st.DataObject
) -> None:
    batch = build_batch(records, codec=codec)
    at = data.draw(st.integers(21, len(batch) - 1))
    batch[at] = data.draw(st.integers(0, 255))
    seal(batch)
    try:
        opened = open_batch(batch, BYTES_MAX)
    except WireError:
        return
    assert all(-(2**63) <= record.timestamp < 2**63 for record in opened)
    assert all(0 <= record.offset < 2**63 for record in opened)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_batch_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptBatch):
        open_batch(data, BYTES_MAX)


def payload_batch(payload: bytes, count: int = 1, **fields: int) -> bytearray:
    """A batch around hand-written records."""
    batch = build_batch([Record(0, TIME)])[:61] + payload
    header = read_header(batch)._replace(batch_length=len(batch) - 12, record_count=count, **fields)
    write_header(batch, header)
    seal(batch)
    return batch


@pytest.mark.parametrize(
    ("payload", "count", "fields"),
    [
        (bytes.fromhex("0c000000010100"), 2, {"last_offset_delta": 1}),  # one record where two are promised
        (bytes.fromhex("0c000000010100") * 2, 1, {}),  # bytes behind the records
        (bytes.fromhex("0c000000010100") * 2, 2, {"last_offset_delta": 1}),  # the same offset twice
        (bytes.fromhex("0c000004010100"), 1, {}),  # an offset behind the last one
        (bytes.fromhex("0c000001010100"), 1, {}),  # an offset below the first one
        (bytes.fromhex("0c000000030100"), 1, {}),  # a length of -2
        (bytes.fromhex("0a000000010100"), 1, {}),  # a record longer than its length
        (bytes.fromhex("0c000000010101"), 1, {}),  # -1 headers
        (bytes.fromhex("0e00000001010201"), 1, {}),  # a header with a null key
        (bytes.fromhex("0c000000fe0100"), 1, {}),  # a key longer than the batch
        (b"\xff" * 11 + bytes(7), 1, {}),  # an integer that does not end
        (b"\xff" * 9 + b"\x7f" + bytes(7), 1, {}),  # an integer of more than 64 bits
        (bytes.fromhex("0c000000010100"), 1, {"base_offset": -1}),
        (bytes.fromhex("0c000000010100"), 1, {"base_offset": 2**63 - 1, "last_offset_delta": 1}),
        (bytes.fromhex("0c000000010100"), -1, {}),
        (bytes.fromhex("0c000000010100"), 2**31 - 1, {}),
        (bytes.fromhex("0c000200010100"), 1, {"base_timestamp": 2**63 - 1}),
    ],
)
def test_records_that_contradict_their_batch_are_corrupt(
    payload: bytes, count: int, fields: dict[str, int]
) -> None:
    with pytest.raises(CorruptBatch):
        open_batch(payload_batch(payload, count, **fields), BYTES_MAX)


def test_a_batch_whose_records_were_all_compacted_away_is_empty() -> None:
    batch = payload_batch(b"", 0, last_offset_delta=4)
    assert open_batch(batch, BYTES_MAX) == []
    assert latest(batch, BYTES_MAX) is None


def timed(first: int, times: list[int], epoch: int = 3) -> bytes:
    records = [Record(first + i, time, b"k", b"v") for i, time in enumerate(times)]
    return bytes(build_batch(records, codec=Codec.LZ4, leader_epoch=epoch))


def test_a_time_is_found_at_its_first_record() -> None:
    view = timed(0, [10, 30, 20], 1) + timed(3, [25, 40], 2) + timed(5, [50], 3)
    expected = {
        0: TimedOffset(0, 10, 1),
        11: TimedOffset(1, 30, 1),
        30: TimedOffset(1, 30, 1),
        31: TimedOffset(4, 40, 2),
        50: TimedOffset(5, 50, 3),
    }
    for time, found in expected.items():
        assert first_at_or_after(view, time, 0, BYTES_MAX) == found
    assert first_at_or_after(view, 51, 0, BYTES_MAX) is None
    assert first_at_or_after(view, 0, 2, BYTES_MAX) == TimedOffset(2, 20, 1)
    assert first_at_or_after(view, 26, 2, BYTES_MAX) == TimedOffset(4, 40, 2)
    assert first_at_or_after(view, 0, 6, BYTES_MAX) is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=4), max_size=4),
    st.integers(0, 21),
    st.integers(0, 16),
)
def test_the_look_up_agrees_with_looking_at_every_record(
    batches: list[list[int]], time: int, offset_min: int
) -> None:
    view = b""
    everything: list[tuple[int, int]] = []
    for times in batches:
        view += timed(len(everything), times)
        everything += [(len(everything) + i, time) for i, time in enumerate(times)]
    found = first_at_or_after(view, time, offset_min, BYTES_MAX)
    hits = (TimedOffset(offset, at, 3) for offset, at in everything if at >= time and offset >= offset_min)
    assert found == next(hits, None)


def test_a_batch_that_does_not_name_its_newest_time_is_opened() -> None:
    batch = bytearray(timed(0, [10, 30]))
    write_header(batch, read_header(batch)._replace(max_timestamp=-1))
    seal(batch)
    assert first_at_or_after(batch, 25, 0, BYTES_MAX) == TimedOffset(1, 30, 3)


def test_a_stamped_batch_has_its_append_time_at_every_record() -> None:
    batch = bytearray(timed(0, [10, 30, 20]))
    patch(batch, 100, 9)
    stamp(batch, 15)
    assert latest(batch, BYTES_MAX) == TimedOffset(100, 15, 9)
    assert first_at_or_after(batch, 15, 0, BYTES_MAX) == TimedOffset(100, 15, 9)
    assert first_at_or_after(batch, 15, 102, BYTES_MAX) == TimedOffset(102, 15, 9)
    assert first_at_or_after(batch, 16, 0, BYTES_MAX) is None
    stamp(batch, 5)
    assert first_at_or_after(batch, 7, 0, BYTES_MAX) is None


def test_the_latest_record_is_the_first_with_the_largest_time() -> None:
    assert latest(timed(7, [10, 30, 30, 20]), BYTES_MAX) == TimedOffset(8, 30, 3)
