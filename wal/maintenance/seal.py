"""Sealing: behind the writer's back, in segment order, checkpoint first, then the segment's record.

A segment comes here when all its blocks are released, with a capture of the durable view as of that moment.
One `step` seals one
segment: its directory, the changed chunks and the checkpoint's list are stored, then the record. A step may
die anywhere and be repeated; ids of objects are random, so a repeated write finds only itself.
"""

import asyncio
import random as random_module
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from wal import keys
from wal.checkpoint import Capture, ChunkName, pack_chunks, pack_list
from wal.errors import Unavailable
from wal.history import History
from wal.meta.base import Put
from wal.objects.base import ObjectExists, ObjectStore
from wal.ownership import Ownership
from wal.segment import OpenSegment
from wal.settings import LogSettings
from wal.tasks import Backoff

SLICE_STREAMS = 64
"""Streams captured before the event loop gets its turn: well below two milliseconds."""


PUT_TRIES_MAX = 8
"""Tries of one object before the whole step is given up: a step that is begun anew stores them all again."""


class Sealer:
    """The closed segments of a log that wait for their seal."""

    def __init__(
        self,
        *,
        ownership: Ownership,
        objects: ObjectStore,
        history: History,
        chunks: dict[int, list[ChunkName]],
        settings: LogSettings,
        random: random_module.Random,
        sealed: Callable[[OpenSegment], None],
    ) -> None:
        self._ownership = ownership
        self._objects = objects
        self._history = history
        self._chunks = chunks
        self._settings = settings
        self._random = random
        self._sealed = sealed
        self._waiting: deque[tuple[OpenSegment, Capture]] = deque()
        self._arrived = asyncio.Event()
        self._done = asyncio.Event()
        self._done.set()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def blocks(self) -> int:
        """Blocks of all segments that wait."""
        return sum(segment.next_n for segment, _ in self._waiting)

    def add(self, segment: OpenSegment, capture: Capture) -> None:
        """A segment is complete; `capture` was begun at its end."""
        self._waiting.append((segment, capture))
        self._done.clear()
        self._arrived.set()

    async def arrived(self) -> None:
        """Return once a segment waits."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()

    async def progressed(self) -> None:
        """Return once a segment was sealed after this call, or a try failed, or none waits."""
        if self._waiting:
            self._done.clear()
            await self._done.wait()

    def tried(self) -> None:
        """Let those who wait for progress look again: a try failed, or there will be none any more."""
        self._done.set()

    async def step(self) -> bool:
        """Seal the oldest segment that waits; False when none does.

        Raises Fenced or Unavailable, then repeat.
        """
        if not self._waiting:
            return False
        segment, capture = self._waiting[0]
        while not capture.complete:
            capture.take(SLICE_STREAMS)
            await asyncio.sleep(0)
        chunks = await self._store_chunks(capture)
        names = [name for bucket in chunks.values() for name in bucket]
        checkpoint = await self._store("list", pack_list(segment.number, names))
        directory = await self._store("dir", segment.directory.pack(segment.number))
        record = segment.record.seal(
            segment.last, segment.size, segment.time_first, segment.time_last, checkpoint, directory
        )
        await self._ownership.guarded(
            (Put(keys.segment_key(self._ownership.log, segment.number), record.pack()),)
        )
        self._chunks = chunks
        self._waiting.popleft()
        self._history.add(replace(record))
        self._sealed(segment)
        self._done.set()
        return True

    async def _store_chunks(self, capture: Capture) -> dict[int, list[ChunkName]]:
        """Store the changed buckets; gives the chunks of all buckets."""
        chunks = dict(self._chunks)
        for bucket in sorted(capture.buckets):
            names: list[ChunkName] = []
            for first, last, data in pack_chunks(capture.bucket(bucket), self._settings.chunk_bytes_max):
                names.append(ChunkName(bucket, await self._store("chunk", data), first, last))
            if names:
                chunks[bucket] = names
            else:
                chunks.pop(bucket, None)
        return chunks

    async def _store(self, kind: str, data: bytes) -> str:
        """Store an object of this attempt under a random id."""
        object_id = f"{self._ownership.epoch:010d}-{kind}-{self._random.getrandbits(96):024x}"
        key = keys.checkpoint_key(self._ownership.log, object_id)
        pauses = Backoff(self._settings.retry_ms_min, self._settings.retry_ms_max, self._random)
        for tries in range(1, PUT_TRIES_MAX + 1):
            try:
                await self._objects.put_if_absent(key, (data,))
                break
            except ObjectExists as error:
                if tries == 1:
                    raise AssertionError(f"the random id {object_id} was drawn twice") from error
                break  # a try of ours without an answer
            except Unavailable:
                if tries == PUT_TRIES_MAX:
                    raise
                await pauses.pause()
        return object_id
