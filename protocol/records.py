"""Opening a batch into its records, and building one: the slow path, on purpose.

Needed where a single record matters: the look-up of offsets by timestamp, key compaction, tests and tools.
Produce and Fetch never come here. Any bytes end as records or as one of the batch errors; memory is bounded
by the caller's limit on the opened size, since a record takes at least seven bytes of it. Header keys that
are not UTF-8 survive a round trip (as surrogates), because no Kafka broker refuses them.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from protocol import compression
from protocol.batches import HEADER_SIZE as BATCH_HEADER_SIZE
from protocol.batches import MAGIC, BatchHeader, Buffer, Codec, check_intact, seal, walk, write_header
from protocol.errors import CorruptBatch

_RECORD_SIZE_MIN = 7
_INT64_MAX = 2**63 - 1
_INT64_MIN = -(2**63)


class Record(NamedTuple):
    """One record. Times are milliseconds, -1 for none; a null key, value or header value is None."""

    offset: int
    timestamp: int
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class TimedOffset(NamedTuple):
    """Where a look-up by time ended: a record's offset, its timestamp, and the leader epoch of its batch."""

    offset: int
    timestamp: int
    leader_epoch: int


def open_batch(view: Buffer, bytes_max: int) -> list[Record]:
    """Open the one batch that spans `view` into its records, in order.

    Raises CorruptBatch (also for a bad checksum), BatchTooLarge if the records take more than `bytes_max`
    bytes, or UnsupportedCodec.
    """
    return _open(check_intact(view), view, bytes_max)


def first_at_or_after(view: Buffer, timestamp: int, offset_min: int, bytes_max: int) -> TimedOffset | None:
    """Find the first record from `offset_min` on with a time of `timestamp` or later, in a slice of batches.

    Only batches that can hold it are opened, each into at most `bytes_max` bytes. Raises what `open_batch`
    does.
    """
    for at, header in walk(view):
        # A maximum below the first record's time is no maximum: some producers do not fill it in.
        is_older = header.base_timestamp <= header.max_timestamp < timestamp
        if is_older or header.last_offset < offset_min:
            continue
        if header.uses_log_append_time:
            if header.max_timestamp >= timestamp:
                offset = max(header.base_offset, offset_min)
                return TimedOffset(offset, header.max_timestamp, header.leader_epoch)
            continue
        for record in open_batch(memoryview(view)[at : at + header.size], bytes_max):
            if record.timestamp >= timestamp and record.offset >= offset_min:
                return TimedOffset(record.offset, record.timestamp, header.leader_epoch)
    return None


def latest(view: Buffer, bytes_max: int) -> TimedOffset | None:
    """Find the first record with the largest time in the one batch that spans `view`; None without records.

    Raises what `open_batch` does.
    """
    header = check_intact(view)
    if header.uses_log_append_time:
        return TimedOffset(header.base_offset, header.max_timestamp, header.leader_epoch)
    newest = max(_open(header, view, bytes_max), key=lambda record: record.timestamp, default=None)
    return newest and TimedOffset(newest.offset, newest.timestamp, header.leader_epoch)


def build_batch(
    records: Sequence[Record],
    *,
    codec: Codec = Codec.NONE,
    leader_epoch: int = -1,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    is_transactional: bool = False,
    is_control: bool = False,
) -> bytearray:
    """Build a batch of at least one record, offsets ascending; a batch to be produced begins at offset 0.

    `open_batch` gives the records back as they are. Raises ValueError if there are none.
    """
    if not records:
        raise ValueError("a batch needs a record")
    base_offset, base_timestamp = records[0].offset, records[0].timestamp
    plain = bytearray()
    for record in records:
        body = _record_body(record, base_offset, base_timestamp)
        plain += _varint(len(body))
        plain += body
    payload = compression.compress(codec, plain)
    batch = bytearray(BATCH_HEADER_SIZE) + payload
    header = BatchHeader(
        base_offset=base_offset,
        batch_length=len(batch) - 12,
        leader_epoch=leader_epoch,
        magic=MAGIC,
        crc=0,
        attributes=codec | is_transactional << 4 | is_control << 5,
        last_offset_delta=records[-1].offset - base_offset,
        base_timestamp=base_timestamp,
        max_timestamp=max(record.timestamp for record in records),
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
        record_count=len(records),
    )
    write_header(batch, header)
    seal(batch)
    return batch


def _open(header: BatchHeader, view: Buffer, bytes_max: int) -> list[Record]:
    """Open a batch whose checksum is right: what lies in it is still the producer's word."""
    data = compression.decompress(header.codec, memoryview(view)[BATCH_HEADER_SIZE:], bytes_max)
    if not 0 <= header.record_count <= len(data) // _RECORD_SIZE_MIN:
        raise CorruptBatch(f"{header.record_count} records cannot lie in {len(data)} bytes")
    if not 0 <= header.base_offset <= header.last_offset <= _INT64_MAX:
        raise CorruptBatch(f"no offsets are from {header.base_offset} to {header.last_offset}")
    records: list[Record] = []
    at = 0
    offset_after = header.base_offset
    try:
        for _ in range(header.record_count):
            record, at = _read_record(data, at, header)
            if not offset_after <= record.offset <= header.last_offset:
                raise CorruptBatch(f"a record has the offset {record.offset}, out of order")
            offset_after = record.offset + 1
            records.append(record)
    except IndexError as error:
        raise CorruptBatch("the records are cut short") from error
    if at != len(data):
        raise CorruptBatch(f"{len(data) - at} bytes lie behind the records")
    return records


def _read_record(data: bytes, at: int, header: BatchHeader) -> tuple[Record, int]:
    """Read the record at `at`. Raises CorruptBatch, or IndexError where the bytes end."""
    length, at = _read_varint(data, at)
    end = at + length
    time_delta, at = _read_varint(data, at + 1)
    offset_delta, at = _read_varint(data, at)
    key, at = _read_bytes(data, at)
    value, at = _read_bytes(data, at)
    header_count, at = _read_varint(data, at)
    if header_count < 0 or header_count > len(data) - at:
        raise CorruptBatch(f"a record with {header_count} headers")
    headers = []
    for _ in range(header_count):
        name, at = _read_bytes(data, at)
        if name is None:
            raise CorruptBatch("a header without a key")
        header_value, at = _read_bytes(data, at)
        headers.append((name.decode("utf-8", "surrogateescape"), header_value))
    if at != end:
        raise CorruptBatch(f"a record of {length} bytes ends {at - end} bytes off")
    timestamp = header.max_timestamp if header.uses_log_append_time else header.base_timestamp + time_delta
    if not _INT64_MIN <= timestamp <= _INT64_MAX:
        raise CorruptBatch("a record's timestamp does not fit 64 bits")
    return Record(header.base_offset + offset_delta, timestamp, key, value, tuple(headers)), at


def _read_bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = _read_varint(data, at)
    if length == -1:
        return None, at
    end = at + length
    if length < 0 or end > len(data):
        raise CorruptBatch(f"{length} bytes where {len(data) - at} are left")
    return data[at:end], end


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a signed (zigzag) integer of at most 64 bits."""
    byte = data[at]
    at += 1
    value = byte & 0x7F
    shift = 7
    while byte & 0x80:
        if shift > 63:
            raise CorruptBatch("an integer of more than ten bytes")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
    if value >> 64:
        raise CorruptBatch("an integer of more than 64 bits")
    return (value >> 1) ^ -(value & 1), at


def _record_body(record: Record, base_offset: int, base_timestamp: int) -> bytes:
    """A record as it follows its own length."""
    parts = [b"\x00", _varint(record.timestamp - base_timestamp), _varint(record.offset - base_offset)]
    parts += _nullable(record.key)
    parts += _nullable(record.value)
    parts.append(_varint(len(record.headers)))
    for name, value in record.headers:
        parts += _nullable(name.encode("utf-8", "surrogateescape"))
        parts += _nullable(value)
    return b"".join(parts)


def _nullable(data: bytes | None) -> Iterable[bytes]:
    return (_varint(-1),) if data is None else (_varint(len(data)), data)


def _varint(value: int) -> bytes:
    """A signed integer of at most 64 bits, zigzag: small magnitudes are short."""
    rest = (value << 1) ^ (value >> 63)
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)
