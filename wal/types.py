"""The words of the log: identifiers, entries and what an append or a read gives back.

A *stream* is a sequence of positions inside one log. An *entry* is one append: opaque bytes that span `n`
positions of one stream. A *tag* is a few opaque bytes attached to an entry; it lies in the block's index, so
state is replayed without payloads. Nothing here does I/O.
"""

from enum import IntEnum
from typing import NamedTuple, NewType, Protocol

Buffer = bytes | bytearray | memoryview

LogId = NewType("LogId", int)
StreamId = NewType("StreamId", int)
Position = NewType("Position", int)

STATE_STREAMS = 1024
"""Streams below this id carry state, not data: their entries are replayed with their payloads, never read,
and dead as
soon as a checkpoint covers them. Data streams are numbered from here on."""

TAGS_KEPT = 5
"""How many tags of one group a block keeps per stream: the newest ones (docs/formats/block.md)."""


class TagKind(IntEnum):
    """What a tag row means. The first two belong to the appender, the others to the log itself."""

    DATA = 0
    CONTROL = 1
    TRIM = 2
    DROP = 3


class Entry(NamedTuple):
    """One append. `payload` must not change after the append; it may be a view of a larger buffer.

    n: positions spanned; 0 for a control entry that only carries a tag.
    time: the largest timestamp inside the entry in ms, -1 for none.
    tag: opaque bytes for the state machine (at most 65,535), empty for none.
    tag_group: entries of one stream with the same group other than 0 keep only their newest TAGS_KEPT tags
    per block;
        group 0 keeps every tag.
    """

    payload: Buffer
    n: int
    time: int = -1
    tag: bytes = b""
    tag_group: int = 0


class Slice(NamedTuple):
    """Consecutive entries of one stream, as stored: whole entries, in order, without gaps in bytes.

    first: position of the first entry in `parts`, at or below the position asked for.
    end: the position after the last entry in `parts`.
    parts: read-only views, each holding whole entries; empty when nothing is durable at the position yet.
    """

    first: Position
    end: Position
    parts: list[memoryview]


class State(Protocol):
    """What rides on the log: a state machine per log, fed with every tagged entry in order.

    Two of them live beside each log: the *appended* view, ahead of durability, and the *durable* view,
    applied block by block at release and the only source of checkpoints. Replay applies unconditionally and
    never validates.
    """

    def apply(
        self, stream: StreamId, position: Position, n: int, epoch: int, time: int, tag: bytes, payload: Buffer
    ) -> None:
        """Take in one tagged entry.

        `time` is the block's creation in ms; `payload` is empty for data streams.
        """

    def snapshot(self, stream: StreamId) -> bytes:
        """The state of one stream as bytes, empty for none."""

    def restore(self, stream: StreamId, data: bytes) -> None:
        """Replace the state of one stream with what `snapshot` once returned."""

    def forget(self, stream: StreamId) -> None:
        """The stream is gone for good."""
