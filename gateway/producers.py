"""What the log remembers of idempotent producers: per stream and producer the last five batches.

It decides whether a batch is new, a copy of a known one, or out of order. It is a state machine that rides on
the log (wal.types.State): `check` asks and changes nothing, `apply` takes in a tag that is in the log and
never judges it. What must hold: the windows replayed from a block's thinned tags (the newest five of each
producer), or restored from a snapshot, decide exactly as the ones that lived through it. A million windows
fit into memory: a window is one packed bytes object, oldest batch first, and each stream's dictionary is kept
in order of use, so the longest idle come first. The bytes of tags and snapshots are described in
docs/formats/producer-tags.md.
"""

import heapq
from itertools import islice
from struct import Struct
from typing import Final, NamedTuple

from wal.errors import Corrupt
from wal.types import TAGS_KEPT, Position, StreamId

NEW: Final = -1
"""Verdict: the batch continues its producer's sequence; append it."""
OUT_OF_ORDER: Final = -2
"""Verdict: the batch leaves a gap, goes back beyond the window, or begins a new epoch other than at 0."""
OLD_EPOCH: Final = -3
"""Verdict: a newer instance of the producer has written already."""

SEQUENCE_MASK: Final = 0x7FFF_FFFF
"""Sequences count from 0 to 2³¹−1 and begin again at 0."""

TAG_FORMAT: Final = 1
SNAPSHOT_FORMAT: Final = 1
_TAG = Struct(">BBhqi")
_HEAD = Struct(">qh")
_ROW = Struct(">qii")
_SNAPSHOT_WINDOW = Struct(">qB")
_ROWS_AT = _HEAD.size
_ROWS_KEPT_BYTES = (TAGS_KEPT - 1) * _ROW.size
_LOOKS_MAX = 64


class ProducerTag(NamedTuple):
    """A producer's mark on a batch: the batch's first sequence number; its span gives the last."""

    producer_id: int
    producer_epoch: int
    first_sequence: int
    flags: int = 0


def encode_tag(producer_id: int, producer_epoch: int, first_sequence: int, flags: int = 0) -> bytes:
    """The 16 bytes that lie beside the batch in the block's index."""
    return _TAG.pack(TAG_FORMAT, flags, producer_epoch, producer_id, first_sequence)


def decode_tag(tag: bytes) -> ProducerTag:
    """What `encode_tag` was given. Raises Corrupt on anything else."""
    if len(tag) != _TAG.size or tag[0] != TAG_FORMAT:
        raise Corrupt(f"a producer tag has {_TAG.size} bytes and format {TAG_FORMAT}, not {tag[:32].hex()!r}")
    _, flags, producer_epoch, producer_id, first_sequence = _TAG.unpack(tag)
    return ProducerTag(producer_id, producer_epoch, first_sequence, flags)


class ProducerWindows:
    """All producers' windows of one log.

    expiration_ms: a producer idle for longer, by the times of blocks, is forgotten.
    producers_max: most windows kept in all; beyond it the longest idle are forgotten, a thousandth at a time.
    """

    def __init__(self, *, expiration_ms: int, producers_max: int) -> None:
        assert expiration_ms > 0 and producers_max > 0
        self._expiration_ms = expiration_ms
        self._producers_max = producers_max
        self._evicted_together = max(1, producers_max // 1024)
        self._streams: dict[StreamId, dict[int, bytes]] = {}
        self._count = 0
        # (a time at or before the last use of the stream's longest idle producer, stream): corrected when
        # looked at.
        self._idle: list[tuple[int, StreamId]] = []

    def __len__(self) -> int:
        """How many windows are kept."""
        return self._count

    def check(
        self,
        stream: StreamId,
        producer_id: int,
        producer_epoch: int,
        first_sequence: int,
        n: int,
        now_ms: int,
    ) -> int:
        """Judge a batch of `n` records: NEW, OUT_OF_ORDER, OLD_EPOCH, or where its first copy is (≥ 0).

        A producer that is not known, or no longer, may begin anywhere. A copy older than the window is
        OUT_OF_ORDER.
        """
        windows = self._streams.get(stream)
        window = windows.get(producer_id) if windows is not None else None
        if window is None:
            return NEW
        time, epoch = _HEAD.unpack_from(window)
        if now_ms - time > self._expiration_ms:
            return NEW
        if producer_epoch != epoch:
            if producer_epoch < epoch:
                return OLD_EPOCH
            return NEW if first_sequence == 0 else OUT_OF_ORDER
        last_sequence = (first_sequence + n - 1) & SEQUENCE_MASK
        row = len(window) - _ROW.size
        position, first, last = _ROW.unpack_from(window, row)
        if first_sequence == (last + 1) & SEQUENCE_MASK:
            return NEW
        while first != first_sequence or last != last_sequence:
            row -= _ROW.size
            if row < _ROWS_AT:
                return OUT_OF_ORDER
            position, first, last = _ROW.unpack_from(window, row)
        return int(position)

    def apply(self, stream: StreamId, position: Position, n: int, time_ms: int, tag: bytes) -> None:
        """Take in a batch that is in the log, without judging it. `time_ms`: its block's. Raises Corrupt."""
        producer_id, producer_epoch, first_sequence, _ = decode_tag(tag)
        windows = self._streams.get(stream)
        if windows is None:
            windows = self._streams[stream] = {}
            heapq.heappush(self._idle, (time_ms, stream))
        window = windows.pop(producer_id, None)
        rows = b""
        if window is None:
            self._count += 1
        else:
            used_ms, epoch = _HEAD.unpack_from(window)
            if epoch == producer_epoch and time_ms - used_ms <= self._expiration_ms:
                rows = window[max(_ROWS_AT, len(window) - _ROWS_KEPT_BYTES) :]
            time_ms = max(time_ms, used_ms)
        last_sequence = (first_sequence + n - 1) & SEQUENCE_MASK
        windows[producer_id] = (
            _HEAD.pack(time_ms, producer_epoch) + rows + _ROW.pack(position, first_sequence, last_sequence)
        )
        if self._count > self._producers_max or time_ms - self._idle[0][0] > self._expiration_ms:
            self._evict(time_ms)

    def snapshot(self, stream: StreamId) -> bytes:
        """The stream's windows as bytes, longest idle first; empty for none."""
        windows = self._streams.get(stream)
        if not windows:
            return b""
        parts = [bytes([SNAPSHOT_FORMAT])]
        for producer_id, window in windows.items():
            parts.append(_SNAPSHOT_WINDOW.pack(producer_id, (len(window) - _ROWS_AT) // _ROW.size))
            parts.append(window)
        return b"".join(parts)

    def restore(self, stream: StreamId, data: bytes) -> None:
        """Replace the stream's windows with those of a snapshot. Raises Corrupt and then changes nothing."""
        windows = _parse_snapshot(data)
        self.forget(stream)
        if not windows:
            return
        self._streams[stream] = windows
        self._count += len(windows)
        times = [_HEAD.unpack_from(window)[0] for window in windows.values()]
        heapq.heappush(self._idle, (min(times), stream))
        while self._count > self._producers_max:
            self._evict(max(times))

    def forget(self, stream: StreamId) -> None:
        """Drop all windows of the stream."""
        self._count -= len(self._streams.pop(stream, ()))

    def _evict(self, now_ms: int) -> None:
        """Forget some of the longest idle, in bounded time: those that are too many, and expired ones.

        Where more than _LOOKS_MAX streams were used since they were last looked at, the longest idle of one
        of them goes instead of the longest idle of all.
        """
        looks = 0
        while self._idle:
            believed_ms, stream = self._idle[0]
            windows = self._streams.get(stream)
            if not windows:
                heapq.heappop(self._idle)
                self._streams.pop(stream, None)
                continue
            oldest_ms = _HEAD.unpack_from(next(iter(windows.values())))[0]
            looks += 1
            if oldest_ms > believed_ms and looks <= _LOOKS_MAX:
                heapq.heapreplace(self._idle, (oldest_ms, stream))
                continue
            excess = self._count - self._producers_max
            if excess <= 0 and now_ms - oldest_ms <= self._expiration_ms:
                return
            self._forget_longest_idle(windows, now_ms, many=self._evicted_together if excess > 0 else 0)
            if not windows:
                del self._streams[stream]
                heapq.heappop(self._idle)
            return

    def _forget_longest_idle(self, windows: dict[int, bytes], now_ms: int, *, many: int) -> None:
        """Forget the first `many` of a stream's windows, and of the next few those that are expired."""
        going = [
            producer_id
            for i, (producer_id, window) in enumerate(islice(windows.items(), self._evicted_together))
            if i < many or now_ms - _HEAD.unpack_from(window)[0] > self._expiration_ms
        ]
        for producer_id in going:
            del windows[producer_id]
        self._count -= len(going)


def _parse_snapshot(data: bytes) -> dict[int, bytes]:
    """The windows of a snapshot by producer id. Raises Corrupt."""
    windows: dict[int, bytes] = {}
    if not data:
        return windows
    if data[0] != SNAPSHOT_FORMAT:
        raise Corrupt(f"a snapshot of producer windows has format {SNAPSHOT_FORMAT}, this has {data[0]}")
    at = 1
    while at < len(data):
        if at + _SNAPSHOT_WINDOW.size > len(data):
            raise Corrupt("a snapshot of producer windows ends inside a window's head")
        producer_id, rows = _SNAPSHOT_WINDOW.unpack_from(data, at)
        at += _SNAPSHOT_WINDOW.size
        end = at + _ROWS_AT + rows * _ROW.size
        if not 1 <= rows <= TAGS_KEPT or end > len(data) or producer_id in windows:
            raise Corrupt(f"a snapshot of producer windows has a broken window at byte {at}")
        windows[producer_id] = data[at:end]
        at = end
    return windows
