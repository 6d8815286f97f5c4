"""Taking one partition's batch into the log: the checks, the producer's sequence, the append.

Nothing here waits. A copy of a known batch is not appended; its answer is that of the first copy, whose flush
it waits for if that is still under way. A batch is changed in place: its base offset and leader epoch, and
its time where the topic's setting says so.
"""

from typing import NamedTuple

from gateway.context import Context
from gateway.errors import ErrorCode, Refused, error_code, wire_error_code
from gateway.lookup import find
from gateway.partition import Partition
from gateway.producers import NEW, OLD_EPOCH, encode_tag
from gateway.state import GatewayState
from protocol.batches import BatchHeader, Codec, check, patch, read_header, stamp
from protocol.errors import InvalidBatch, UnsupportedCodec, WireError
from protocol.hot.produce import PartitionResult, ProducedTopic
from wal.durability import Flush
from wal.errors import Fenced, WalError
from wal.log import Log
from wal.types import Entry, Position

ZSTD_FROM = 7
"""The first version whose consumers are known to open zstd."""


class Stored(NamedTuple):
    """A batch that is in the log: how its partition is answered once `flush` is done; None: it is durable."""

    result: PartitionResult
    flush: Flush | None


def store(
    context: Context, topic: ProducedTopic, index: int, records: memoryview | None, version: int, now_ms: int
) -> Stored:
    """Take one partition's batch into the log, or find out why not."""
    try:
        partition = find(context.catalog, topic.name, topic.topic_id, index)
        if records is None:
            raise InvalidBatch("there is no batch")
        return _append(context, partition, records, _checked(records, partition, version), now_ms)
    except Refused as refusal:
        return failed(index, refusal)
    except WireError as error:
        return failed(index, Refused(wire_error_code(error), str(error)))
    except WalError as error:
        return failed(index, Refused(error_code(error), str(error)))


def _checked(records: memoryview, partition: Partition, version: int) -> BatchHeader:
    """The header of the one batch, if a producer may send it to this partition. Raises Refused, WireError."""
    bytes_max = partition.config.max_message_bytes
    if len(records) > bytes_max and read_header(records).size == len(records):
        raise Refused(
            ErrorCode.message_too_large,
            f"the batch has {len(records)} bytes, {partition.topic} takes {bytes_max}",
        )
    header = check(records)
    if header.is_transactional or header.is_control:
        raise InvalidBatch("transactional and control batches are not taken, there are no transactions yet")
    if version < ZSTD_FROM and header.codec is Codec.ZSTD:
        raise UnsupportedCodec(f"zstd needs Produce version {ZSTD_FROM} or newer, this is {version}")
    return header


def _append(
    context: Context, partition: Partition, records: memoryview, header: BatchHeader, now_ms: int
) -> Stored:
    """Append a checked batch, unless its producer's sequence speaks against it. Raises Refused, WalError."""
    log = context.logs.get(partition.log_id)
    stream = partition.stream
    n = header.record_count
    producer_id = header.producer_id
    tag = b""
    if producer_id >= 0:
        epoch, sequence = header.producer_epoch, header.base_sequence
        verdict = log.appended.producers.check(stream, producer_id, epoch, sequence, n, now_ms)
        if verdict != NEW:
            if verdict < 0:
                raise _out_of_sequence(verdict, header)
            return _duplicate(log, partition, Position(verdict))
        tag = encode_tag(producer_id, epoch, sequence)
    time, append_time = header.time_max, -1
    if partition.config.uses_log_append_time:
        time = append_time = now_ms
        stamp(records, now_ms)
    patch(records, log.appended_end(stream), partition.epoch_base + log.epoch)
    position, flush = log.append(stream, Entry(records, n, time, tag, producer_id + 1))
    return Stored(PartitionResult(partition.index, 0, position, append_time, log.start(stream)), flush)


def _duplicate(log: Log[GatewayState], partition: Partition, position: Position) -> Stored:
    """The answer of a batch whose first copy lies at `position`. Raises Fenced."""
    stream = partition.stream
    flush = log.flush_of(stream, position)
    if flush is None and position >= log.durable_end(stream):
        raise Fenced(f"log {log.id} was lost with the first copy of the batch")
    return Stored(PartitionResult(partition.index, 0, position, -1, log.start(stream)), flush)


def _out_of_sequence(verdict: int, header: BatchHeader) -> Refused:
    """The error for a batch that does not continue what its producer has written."""
    batch = f"sequence {header.base_sequence} of producer {header.producer_id} epoch {header.producer_epoch}"
    if verdict == OLD_EPOCH:
        return Refused(ErrorCode.invalid_producer_epoch, f"{batch}: a newer epoch has written already")
    return Refused(ErrorCode.out_of_order_sequence_number, f"{batch} does not follow what was written last")


def failed(index: int, refusal: Refused) -> Stored:
    """The answer of a partition that nothing was stored for."""
    return Stored(PartitionResult(index, refusal.code.value, error_message=refusal.message or None), None)
