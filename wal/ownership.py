"""Whose log it is: acquiring it with a new epoch, fencing every earlier writer, and giving it up.

The rules (docs/ARCHITECTURE.md, "Ownership"; checked by tests/model/fencing.py): the epoch grows in one
transaction that needs our session alive and the last owner's gone; then every unsealed segment of a lower
epoch gets a fence block right behind its contiguous run, at 0 where it has none; then one transaction records
what was found and our first segment. Only after that is the log replayed and written. A writer that wakes up
late meets a fence with its next block, whichever segment that goes to, and knows by it that it lost the log.
Nothing here trusts a clock.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from wal import keys
from wal.block import BLOCK_SIZE_MIN, Block, BlockHeader
from wal.block_build import fence
from wal.errors import Corrupt, Fenced, Unavailable
from wal.manifest import NO_BLOCKS, GarbageRecord, LogRecord, SegmentRecord
from wal.meta.base import OPERATIONS_MAX, Compare, Delete, Exists, MetaStore, Operation, Put, Read, RevisionIs
from wal.objects.base import ObjectExists, ObjectStore
from wal.session import SESSIONS_PREFIX, Session
from wal.tasks import Backoff, together
from wal.types import LogId

logger = logging.getLogger("drumlog.wal.ownership")

ACQUIRE_TRIES_MAX = 16
FENCE_TRIES_MAX = 1_000
"""A writer that is alive and outruns the fences has at most its flushes in flight to do so with; this is far
beyond.
"""

FENCE_KEPT_MS = 7 * 24 * 3600 * 1000
"""A paused machine may wake this late and must still meet its fence."""


class Ownership:
    """One ownership of a log: an epoch, and the right to change the log's records for as long as it is the
    newest.
    """

    def __init__(
        self, log: LogId, epoch: int, session: Session, meta: MetaStore, revision: int, record: LogRecord
    ) -> None:
        self.log = log
        self.epoch = epoch
        self.session = session
        self.record = record
        self._meta = meta
        self._revision = revision

    async def guarded(self, operations: Sequence[Operation]) -> None:
        """Do the operations if the log is still ours.

        They must be repeatable. Raises Fenced or Unavailable.
        """
        result = await self._meta.txn((RevisionIs(keys.log_key(self.log), self._revision),), operations)
        if not result.succeeded:
            raise Fenced(f"log {self.log} has a new owner; epoch {self.epoch} is over")

    async def record_segment(self, segment: int) -> SegmentRecord:
        """Record a segment of ours before its first block. Raises Fenced or Unavailable."""
        record = SegmentRecord(segment=segment, epoch=self.epoch)
        await self.guarded((Put(keys.segment_key(self.log, segment), record.pack()),))
        return record

    async def release(self, segment_next: int, empty_segments: Sequence[int]) -> None:
        """Give the log up: no owner, and no record of our segments that never had a block.

        Raises Fenced or Unavailable.
        """
        record = replace(self.record, owner="", segment_next=segment_next)
        operations: list[Operation] = [
            Delete(keys.segment_key(self.log, segment)) for segment in empty_segments
        ]
        await self.guarded((*operations, Put(keys.log_key(self.log), record.pack())))


@dataclass(frozen=True, slots=True)
class FoundSegment:
    """A segment that recovery found unsealed: its record with `last` known, and the size of each of its
    blocks.
    """

    record: SegmentRecord
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Acquired:
    """A log as its new owner finds it: what is sealed, what is to be replayed, and the new owner's first
    segment.
    """

    ownership: Ownership
    sealed: tuple[SegmentRecord, ...]
    found: tuple[FoundSegment, ...]
    first_segment: int

    @property
    def previous_last(self) -> int:
        """The last block of the segment before the first one of ours."""
        if self.found:
            return len(self.found[-1].sizes) - 1
        last = self.sealed[-1].last if self.sealed else None
        return NO_BLOCKS if last is None else last


async def acquire(
    log: LogId,
    *,
    objects: ObjectStore,
    meta: MetaStore,
    session: Session,
    writer: bytes,
    now_ms: int,
    pauses: Backoff,
) -> Acquired:
    """Become the log's owner and fence all earlier ones.

    `objects` should repeat its reads. Raises Fenced while a living session owns the log, and Unavailable.
    """
    ownership, records = await _take(log, meta, session)
    unsealed = [record for record in records if not record.sealed]
    header = BlockHeader(
        log=log,
        segment=0,
        n=0,
        epoch=ownership.epoch,
        writer=writer,
        created_at=now_ms,
        previous_last=NO_BLOCKS,
        fence=True,
    )
    found = await together(_find(objects, record, header, pauses) for record in unsealed)
    numbers = [record.segment for record in records]
    first = max([ownership.record.segment_next, *(number + 1 for number in numbers)])
    # Our first segment is recorded with the first of them: an empty segment's number, whose fence stays, is
    # never used again.
    mine = SegmentRecord(segment=first, epoch=ownership.epoch)
    operations: list[Operation] = [Put(keys.segment_key(log, first), mine.pack())]
    for segment in found:
        key = keys.segment_key(log, segment.record.segment)
        if segment.sizes:
            operations.append(Put(key, segment.record.pack()))
        else:
            operations += (Delete(key), _empty_garbage(log, segment.record.segment, now_ms))
    for at in range(0, len(operations), OPERATIONS_MAX):
        await ownership.guarded(operations[at : at + OPERATIONS_MAX])
    return Acquired(
        ownership=ownership,
        sealed=tuple(record for record in records if record.sealed),
        found=tuple(segment for segment in found if segment.sizes),
        first_segment=first,
    )


async def _take(log: LogId, meta: MetaStore, session: Session) -> tuple[Ownership, list[SegmentRecord]]:
    """The acquiring transaction: the next epoch is ours, and these are the segments as of that moment."""
    key = keys.log_key(log)
    for _ in range(ACQUIRE_TRIES_MAX):
        current = await meta.get(key)
        record = LogRecord.unpack(key, current.value) if current else LogRecord()
        compares: list[Compare] = [RevisionIs(key, current.revision if current else 0), Exists(session.key)]
        if record.owner not in ("", session.id):
            owner_key = SESSIONS_PREFIX + record.owner
            if await meta.get(owner_key) is not None:
                raise Fenced(f"log {log} is owned by the living session {record.owner}")
            compares.append(RevisionIs(owner_key, 0))
        if await meta.get(session.key) is None:
            raise Fenced(f"session {session.id} is gone; it can own no log")
        mine = replace(record, epoch=record.epoch + 1, owner=session.id)
        result = await meta.txn(compares, (Put(key, mine.pack()), Read(keys.segments_prefix(log))))
        if result.succeeded:
            segments = [SegmentRecord.unpack(row.key, row.value) for row in result.reads[0]]
            segments.sort(key=lambda segment: segment.segment)
            return Ownership(log, mine.epoch, session, meta, result.revision, mine), segments
    raise Unavailable(f"log {log} changed hands {ACQUIRE_TRIES_MAX} times while it was being acquired")


async def _find(
    objects: ObjectStore, record: SegmentRecord, header: BlockHeader, pauses: Backoff
) -> FoundSegment:
    """Where an unsealed segment ends: by its record, or found by listing and made final by a fence."""
    log, segment = LogId(header.log), record.segment
    if record.last is not None:
        sizes = await _run(objects, log, segment)
        if len(sizes) <= record.last:
            raise Corrupt(
                f"segment {segment} of log {log} ended at block {record.last}, has only {len(sizes)} blocks"
            )
        return FoundSegment(record, sizes[: record.last + 1])
    for _ in range(FENCE_TRIES_MAX):
        # Was the fence placed, or somebody faster? A new look tells; an unanswered put is no different.
        sizes = await _run(objects, log, segment)
        fenced_at = await _fence_in(objects, log, segment, sizes)
        if fenced_at is not None:
            return FoundSegment(record.found(fenced_at - 1), sizes[:fenced_at])
        n = len(sizes)
        try:
            mine = header._replace(segment=segment, n=n)
            await objects.put_if_absent(keys.block_key(log, segment, n), (fence(mine),))
        except ObjectExists:
            continue
        except Unavailable as error:
            logger.warning(
                "no answer to the fence of segment %d of log %d, looking again: %s", segment, log, error
            )
            await pauses.pause()
            continue
        return FoundSegment(record.found(n - 1), sizes)
    raise Unavailable(
        f"could not fence segment {segment} of log {log}: its writer was faster {FENCE_TRIES_MAX} times"
    )


async def _run(objects: ObjectStore, log: LogId, segment: int) -> tuple[int, ...]:
    """The sizes of blocks 0, 1, 2… of the segment up to the first gap, fences included."""
    sizes: list[int] = []
    async for info in objects.list(keys.segment_prefix(log, segment)):
        if info.key != keys.block_key(log, segment, len(sizes)):
            break
        sizes.append(info.size)
    return tuple(sizes)


async def _fence_in(objects: ObjectStore, log: LogId, segment: int, sizes: Sequence[int]) -> int | None:
    """The number of the first fence among the blocks; only objects as small as a fence are looked at."""
    for n, size in enumerate(sizes):
        if (
            size == BLOCK_SIZE_MIN
            and Block.parse(await objects.get(keys.block_key(log, segment, n))).header.fence
        ):
            return n
    return None


def _empty_garbage(log: LogId, segment: int, now_ms: int) -> Put:
    """The record that lets an empty segment's fence be deleted in time."""
    garbage = GarbageRecord(
        segment=segment, blocks=0, not_before=now_ms, fence=0, fence_not_before=now_ms + FENCE_KEPT_MS
    )
    return Put(keys.garbage_key(log, segment), garbage.pack())
