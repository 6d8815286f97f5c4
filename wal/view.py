"""The durable view of a log: every stream's facts and the durable state machine, exactly as far as blocks
were released.

Blocks are applied one by one and whole, at release and in replay by the same code, which never validates. The
view is the only source of checkpoints: `capture` takes it as of the end of a segment while later blocks are
already being applied.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from wal.block import Index, TagRow
from wal.checkpoint import Capture, Stored
from wal.directory import Directory, Stretch
from wal.streams import Streams, StreamState
from wal.types import STATE_STREAMS, Buffer, Position, State, StreamId, TagKind

StateT = TypeVar("StateT", bound=State)
PayloadOf = Callable[[TagRow], Buffer]
START_BYTES = 8


def start_tag(start: int) -> bytes:
    """The tag of a trim entry: the stream's new start."""
    return start.to_bytes(START_BYTES, "big")


class DurableView(Generic[StateT]):
    """Streams and state as of the last block applied."""

    def __init__(self, state: StateT) -> None:
        self.streams = Streams()
        self.state = state
        self.trims = 0
        self._capture: Capture | None = None

    def restore(self, stored: Stored) -> None:
        """Set a stream as a checkpoint has it."""
        self.streams.put(stored.stream, StreamState.unpack(stored.facts.pack()))
        if stored.state:
            self.state.restore(stored.stream, stored.state)

    def capture(self, segment: int) -> Capture:
        """Begin to take the changed streams as of now, the end of `segment`; an unfinished earlier one is
        finished first.
        """
        if self._capture is not None and not self._capture.complete:
            self._capture.take(len(self.streams) + 1)
        self._capture = Capture(segment, self.streams, self.state)
        return self._capture

    def apply(self, index: Index, n: int, directory: Directory, payload_of: PayloadOf) -> list[StreamId]:
        """Take in a block; gives the streams that grew.

        `payload_of` gives the payloads of state streams' entries.
        """
        header = index.header
        grown: list[StreamId] = []
        for stretch in index.streams():
            stream = stretch.stream
            self._before_change(stream)
            directory.add(
                stream,
                Stretch(
                    stretch.first,
                    stretch.end,
                    n,
                    stretch.offset,
                    stretch.length,
                    stretch.time_max,
                    stretch.time_max_position,
                ),
            )
            self.streams.change(stream).extend(
                stretch.end,
                stretch.length,
                header.epoch,
                stretch.first,
                stretch.time_max,
                stretch.time_max_position,
            )
            grown.append(stream)
        for row in index.tags():
            self._before_change(row.stream)
            self._apply_tag(row, header.epoch, header.created_at, payload_of)
        return grown

    def _apply_tag(self, row: TagRow, epoch: int, time: int, payload_of: PayloadOf) -> None:
        if row.kind == TagKind.DROP:
            self.streams.drop(row.stream)
            self.trims += 1
        elif row.kind == TagKind.TRIM:
            if self.streams.get(row.stream) is not None:  # else it was dropped before
                self.streams.change(row.stream).trim(int.from_bytes(row.tag, "big"))
            self.trims += 1
        else:
            self.streams.change(row.stream)
        apply_tag(self.state, row, epoch, time, payload_of)

    def _before_change(self, stream: StreamId) -> None:
        if self._capture is not None and not self._capture.complete:
            self._capture.before_change(stream)


def apply_tag(state: State, row: TagRow, epoch: int, time: int, payload_of: PayloadOf) -> None:
    """Let a state machine know of one tag row, as far as it concerns it: trims are the log's own affair."""
    if row.kind == TagKind.DROP:
        state.forget(row.stream)
    elif row.kind != TagKind.TRIM:
        payload = payload_of(row) if row.stream < STATE_STREAMS and row.payload_length else b""
        state.apply(row.stream, Position(row.position), row.n, epoch, time, row.tag, payload)
