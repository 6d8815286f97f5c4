"""One pass over the partitions of a Fetch: what each of them can give now, within the request's limits.

Whole batches only, in the order of the request; the first batch that holds an offset is given however large
it is, so that a consumer never stands still. A pass does no I/O: it stops wherever something must be read
from storage, says what, and goes on with the outcome.
"""

from collections.abc import Generator
from typing import NamedTuple

from gateway.context import Context
from gateway.errors import ErrorCode, Refused, read_error_code
from gateway.lookup import check_leader_epoch, find
from gateway.state import GatewayState
from protocol.batches import size_within, slice_from
from protocol.errors import WireError
from protocol.hot.fetch import AskedPartition, AskedTopic, FetchedPartition, FetchedTopic, FetchRequest
from wal.errors import WalError
from wal.log import Log
from wal.types import Position, Slice, StreamId

READ_COMMITTED = 1


class Wanted(NamedTuple):
    """What has to be read from storage before a look can go on."""

    log: Log[GatewayState]
    stream: StreamId
    position: Position
    bytes_max: int


class Tail(NamedTuple):
    """A partition read up to its durable end, that may give `bytes_max` more; `results[at]` is its answer."""

    log: Log[GatewayState]
    stream: StreamId
    end: Position
    bytes_max: int
    results: list[FetchedPartition]
    at: int


class Look:
    """One pass over all partitions of a request; it stops wherever something must be read from storage.

    `begin`, and then `give` or `fail` with the outcome of each read, return the next read wanted; None when
    everything was looked at.
    """

    def __init__(self, request: FetchRequest, context: Context, bytes_min: int, bytes_max: int) -> None:
        self.topics: list[FetchedTopic] = []
        self.tails: list[Tail] = []
        self.bytes_found = 0
        self.has_error = False
        self._has_more = False
        self._context = context
        self._bytes_min = bytes_min
        self._bytes_left = bytes_max
        self._aborted: tuple[tuple[int, int], ...] | None = (
            () if request.isolation_level == READ_COMMITTED else None
        )
        self._steps = self._see_all(request.topics)

    @property
    def is_enough(self) -> bool:
        """Whether there is no reason to wait for more."""
        return self.has_error or self._has_more or self.bytes_found >= self._bytes_min

    def begin(self) -> Wanted | None:
        """Look at as many partitions as memory holds."""
        return next(self._steps, None)

    def give(self, found: Slice) -> Wanted | None:
        """Go on with what was read."""
        try:
            return self._steps.send(found)
        except StopIteration:
            return None

    def fail(self, error: WalError) -> Wanted | None:
        """Go on after a read that failed."""
        try:
            return self._steps.throw(error)
        except StopIteration:
            return None

    def _see_all(self, topics: list[AskedTopic]) -> Generator[Wanted, Slice, None]:
        for topic in topics:
            results: list[FetchedPartition] = []
            self.topics.append(FetchedTopic(topic.name, topic.topic_id, results))
            for asked in topic.partitions:
                try:
                    results.append((yield from self._see(topic, asked, results)))
                    continue
                except Refused as refusal:
                    code = refusal.code
                except WalError as error:
                    code = read_error_code(error)
                except WireError:
                    code = ErrorCode.kafka_storage_error
                self.has_error = True
                results.append(FetchedPartition(asked.index, code.value))

    def _see(
        self, topic: AskedTopic, asked: AskedPartition, results: list[FetchedPartition]
    ) -> Generator[Wanted, Slice, FetchedPartition]:
        """One partition's answer. Raises Refused, and what its reads raise."""
        partition = find(self._context.catalog, topic.name, topic.topic_id, asked.index)
        log = self._context.logs.get(partition.log_id)
        check_leader_epoch(asked.current_leader_epoch, partition.epoch_base + log.epoch)
        stream = partition.stream
        offset = position = Position(asked.fetch_offset)
        end = log.durable_end(stream)
        if not log.start(stream) <= offset <= end:
            raise Refused(ErrorCode.offset_out_of_range, f"{offset} is not from {log.start(stream)} to {end}")
        bytes_max = min(asked.partition_max_bytes, self._bytes_left)
        at_least_one = not self.bytes_found
        parts: list[memoryview] = []
        while position < end and not parts and (bytes_max > 0 or at_least_one):
            found = log.read_cached(stream, position, max(bytes_max, 1))
            if found is None:
                found = yield Wanted(log, stream, position, max(bytes_max, 1))
            parts = _reaching(found, offset)
            position = found.end
        whole = sum(map(len, parts))
        if whole > bytes_max:
            parts = _within(parts, bytes_max, at_least_one=at_least_one)
        size = sum(map(len, parts)) if whole > bytes_max else whole
        self.bytes_found += size
        self._bytes_left -= size
        if size == whole and position >= end:
            self.tails.append(Tail(log, stream, position, bytes_max - size, results, len(results)))
        elif size == whole and size:
            self._has_more = True
        high_watermark = log.durable_end(stream)
        return FetchedPartition(
            asked.index, 0, high_watermark, high_watermark, log.start(stream), parts, self._aborted
        )


def _reaching(found: Slice, offset: int) -> list[memoryview]:
    """The parts of a slice without the batches that end below `offset`; none if all do."""
    parts = found.parts
    if found.first >= offset:
        return parts
    for i, part in enumerate(parts):
        at = slice_from(part, offset)
        if at < len(part):
            return [part[at:], *parts[i + 1 :]]
    return []


def _within(parts: list[memoryview], bytes_max: int, *, at_least_one: bool) -> list[memoryview]:
    """The leading whole batches that fit in `bytes_max`; with `at_least_one` the first one in any case."""
    kept: list[memoryview] = []
    for part in parts:
        size = size_within(part, bytes_max, at_least_one=at_least_one and not kept)
        if size:
            kept.append(part[:size])
        if size < len(part):
            break
        bytes_max -= size
    return kept
