"""A segment that this owner writes or is about to seal: its place among blocks, its size, its directory."""

from dataclasses import dataclass, field

from wal.directory import Directory
from wal.manifest import NO_BLOCKS, SegmentRecord


@dataclass(slots=True)
class OpenSegment:
    """A segment whose blocks are not all sealed. next_n: number of the next block to be sent."""

    record: SegmentRecord
    previous_last: int
    next_n: int = 0
    size: int = 0
    time_first: int = -1
    time_last: int = -1
    directory: Directory = field(default_factory=Directory)

    @property
    def number(self) -> int:
        """The segment's number in its log."""
        return self.record.segment

    @property
    def last(self) -> int:
        """The last block sent; NO_BLOCKS where there is none."""
        return self.next_n - 1 if self.next_n else NO_BLOCKS

    def sent(self, size: int) -> int:
        """Another block is on its way; gives its number."""
        n = self.next_n
        self.next_n += 1
        self.size += size
        return n

    def released(self, created_at: int) -> None:
        """A block of the segment became durable."""
        if self.time_first < 0:
            self.time_first = created_at
        self.time_last = created_at
