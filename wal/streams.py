"""The durable facts of each stream of a log: where it starts and ends, under which epochs, how large, how
new.

A value per stream and pure transitions, applied block by block at release and in replay alike.
`prefix_time_max` never goes back, so that segments can be searched by time; positions are dense, so that they
can be searched by position.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from wal.types import Position, StreamId


@dataclass(slots=True)
class StreamState:
    """One stream. epochs: (epoch, first position) pairs, flat and ascending; size: bytes ever appended."""

    start: int = 0
    end: int = 0
    time_max: int = -1
    time_max_position: int = -1
    size: int = 0
    epochs: list[int] = field(default_factory=list)

    def extend(
        self, end: int, size: int, epoch: int, first: int, time_max: int, time_max_position: int
    ) -> None:
        """Entries from `first` to `end` were appended under `epoch`."""
        if end > first and (not self.epochs or self.epochs[-2] < epoch):
            self.epochs += (epoch, first)
        self.end = max(self.end, end)
        self.size += size
        if time_max > self.time_max:
            self.time_max = time_max
            self.time_max_position = time_max_position

    def trim(self, start: int) -> None:
        """The stream begins at `start` now, never lower than before and never above its end."""
        self.start = max(self.start, min(start, self.end))
        while len(self.epochs) > 2 and self.epochs[3] <= self.start:
            del self.epochs[:2]
        if self.epochs:
            self.epochs[1] = max(self.epochs[1], self.start)

    def epoch_pairs(self) -> list[tuple[int, Position]]:
        """(epoch, first position), ascending."""
        flat = self.epochs
        return [(flat[i], Position(flat[i + 1])) for i in range(0, len(flat), 2)]

    def pack(self) -> list[object]:
        """The stream as a plain list, for checkpoint chunks."""
        return [self.start, self.end, self.time_max, self.time_max_position, self.size, list(self.epochs)]

    @classmethod
    def unpack(cls, fields: list[object]) -> "StreamState":
        """The stream that `pack` gave. Raises ValueError or TypeError for anything else."""
        start, end, time_max, time_max_position, size, epochs = fields
        if not isinstance(epochs, list) or len(epochs) % 2:
            raise ValueError(f"a stream's epochs are pairs, not {epochs!r}")
        numbers = [start, end, time_max, time_max_position, size, *epochs]
        if not all(type(number) is int for number in numbers):
            raise ValueError(f"a stream is made of integers, not {fields!r}")
        return cls(start, end, time_max, time_max_position, size, epochs)  # type: ignore[arg-type]


class Streams:
    """All streams of a log that exist, by id, with the ids changed since the last checkpoint."""

    def __init__(self) -> None:
        self._states: dict[StreamId, StreamState] = {}
        self.dirty: set[StreamId] = set()

    def __iter__(self) -> Iterator[StreamId]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)

    def get(self, stream: StreamId) -> StreamState | None:
        """The stream's facts; None where nothing was ever appended, or the stream was dropped."""
        return self._states.get(stream)

    def change(self, stream: StreamId) -> StreamState:
        """The stream's facts for changing, created where missing, marked as changed."""
        self.dirty.add(stream)
        state = self._states.get(stream)
        if state is None:
            state = self._states[stream] = StreamState()
        return state

    def put(self, stream: StreamId, state: StreamState) -> None:
        """Set a stream as a checkpoint has it, unchanged since then."""
        self._states[stream] = state

    def drop(self, stream: StreamId) -> None:
        """The stream is gone for good."""
        self.dirty.add(stream)
        self._states.pop(stream, None)
