"""Building one block: entries are taken in as they are appended and joined in one go when the block is cut.

`BlockBuilder.add` is on the path of every append: it does what can be done for one entry (checksum, run,
tag), so that `build` has little left and does not hold the event loop for long. Sorting the streams, thinning
tags and the one copy of the payload happen in `build`. The same entries and header always give the same
bytes.
"""

from collections.abc import Mapping
from itertools import chain

import lz4.frame
from crc32c import crc32c

from wal.block_format import (
    BLOCK_SIZE_MAX,
    BLOCK_SIZE_MIN,
    COUNTS,
    EPOCH_RUN,
    HEADER_SIZE,
    NOTE,
    NOTES_BYTES_MAX,
    NOTES_LZ4,
    NOTES_PLAIN,
    ROW,
    RUN_BYTES_MAX,
    TAG,
    TAG_BYTES_MAX,
    TRAILER,
    BlockHeader,
    Trailer,
    header_bytes,
    trailer_bytes,
)
from wal.types import TAGS_KEPT, Buffer, Entry, Position, StreamId, TagKind


class _OpenStream:
    """What the open block holds of one stream; the run that is still growing is in the plain attributes.

    runs: the closed ones as (first, end, length, crc, entries, time_max, time_position).
    tagged: (position, entry, kind, offset of the payload within the stream).
    """

    __slots__ = (
        "crc",
        "end",
        "entries",
        "first",
        "length",
        "length_closed",
        "parts",
        "run_first",
        "runs",
        "tagged",
        "time_max",
        "time_position",
    )

    def __init__(self, position: Position) -> None:
        self.first = self.end = position
        self.runs: list[tuple[int, ...]] = []
        self.parts: list[Buffer] = []
        self.tagged: list[tuple[Position, Entry, TagKind, int]] = []
        self.length_closed = 0
        self._begin_run()

    def _begin_run(self) -> None:
        self.run_first = self.end
        self.length = self.crc = self.entries = 0
        self.time_max, self.time_position = -1, -1

    def close_run(self) -> None:
        self.runs.append(
            (
                self.run_first,
                self.end,
                self.length,
                self.crc,
                self.entries,
                self.time_max,
                self.time_position,
            )
        )
        self.length_closed += self.length
        self._begin_run()


class BlockBuilder:
    """The open block. Entries of one stream must come in order, each where the one before ends.

    size: payload plus about what the index will add. entries: how many were added.
    """

    __slots__ = ("_streams", "entries", "size")

    def __init__(self) -> None:
        self.entries = 0
        self.size = BLOCK_SIZE_MIN
        self._streams: dict[StreamId, _OpenStream] = {}

    @property
    def empty(self) -> bool:
        """Whether nothing was added yet."""
        return not self.entries

    def add(self, stream: StreamId, position: Position, entry: Entry, kind: TagKind = TagKind.DATA) -> None:
        """Take in one entry at its position. The payload is not copied and must not change any more."""
        opened = self._streams.get(stream)
        if opened is None:
            opened = self._streams[stream] = _OpenStream(position)
            self.size += ROW.size + EPOCH_RUN.size
        assert position == opened.end, "the positions of a stream are dense"
        payload, n, time, tag, _group = entry
        length = len(payload)
        if n or length:
            if opened.length + length > RUN_BYTES_MAX and opened.entries:
                opened.close_run()
                self.size += ROW.size
            if time > opened.time_max:
                opened.time_max, opened.time_position = time, position
            opened.crc = crc32c(payload, opened.crc)
            opened.entries += 1
            opened.end = Position(position + n)
            opened.parts.append(payload)
        if tag or kind:
            assert len(tag) <= TAG_BYTES_MAX
            opened.tagged.append((position, entry, kind, opened.length_closed + opened.length))
            self.size += TAG.size + len(tag)
        opened.length += length
        self.entries += 1
        self.size += length

    def build(self, header: BlockHeader, notes: Mapping[StreamId, bytes] | None = None) -> bytes:
        """Join the block. The payload is copied once. Nothing may be added afterwards."""
        assert not header.fence
        epoch = header.epoch
        payload: list[list[Buffer]] = []
        rows: list[bytes] = []
        epochs: list[bytes] = []
        tags: list[bytes] = []
        offset = HEADER_SIZE
        for stream in sorted(self._streams):
            opened = self._streams[stream]
            if opened.entries:
                opened.close_run()
            if opened.tagged:
                tags += _tag_rows(stream, opened.tagged, offset)
            for first, end, length, *rest in opened.runs:
                rows.append(ROW.pack(stream, first, end, offset, length, *rest))
                offset += length
            if opened.end > opened.first:
                epochs.append(EPOCH_RUN.pack(stream, epoch, opened.first))
            payload.append(opened.parts)
        return _join(header, payload, offset, rows, epochs, tags, _notes(notes or {}))


def fence(header: BlockHeader) -> bytes:
    """A fence block: no entries, only the mark that ends the segment for whoever wrote to it before."""
    assert header.fence
    return _join(header, [], HEADER_SIZE, [], [], [], [])


def _tag_rows(
    stream: StreamId, tagged: list[tuple[Position, Entry, TagKind, int]], offset: int
) -> list[bytes]:
    """The stream's tag rows in append order, data tags thinned to the newest TAGS_KEPT of each group."""
    kept: dict[int, int] = {}
    newest_first: list[bytes] = []
    for position, (payload, n, _time, tag, group), kind, at in reversed(tagged):
        if group and not kind:
            count = kept.get(group, 0)
            if count == TAGS_KEPT:
                continue
            kept[group] = count + 1
        newest_first.append(TAG.pack(stream, position, n, offset + at, len(payload), kind, len(tag)) + tag)
    newest_first.reverse()
    return newest_first


def _notes(notes: Mapping[StreamId, bytes]) -> list[bytes]:
    """The pieces of the notes section, lz4-framed where that is smaller."""
    pieces: list[bytes] = []
    for stream in sorted(notes):
        plain = notes[stream]
        assert len(plain) <= NOTES_BYTES_MAX
        packed = lz4.frame.compress(plain)
        packing, blob = (NOTES_LZ4, packed) if len(packed) < len(plain) else (NOTES_PLAIN, plain)
        pieces.append(NOTE.pack(stream, len(blob), packing) + blob)
    return pieces


def _join(
    header: BlockHeader,
    payload: list[list[Buffer]],
    offset: int,
    rows: list[bytes],
    epochs: list[bytes],
    tags: list[bytes],
    notes: list[bytes],
) -> bytes:
    """Join header, payload, index and trailer. `offset`: where the payload ends and the index begins."""
    head = header_bytes(header)
    tag_section, note_section = b"".join(tags), b"".join(notes)
    counts = COUNTS.pack(len(rows), len(epochs), len(tags), len(tag_section), len(notes), len(note_section))
    section = b"".join(chain((head, counts), rows, epochs, (tag_section, note_section)))
    assert offset + len(section) + TRAILER.size <= BLOCK_SIZE_MAX
    trailer = trailer_bytes(Trailer(offset, len(section), crc32c(section)))
    return b"".join(chain((head,), chain.from_iterable(payload), (section, trailer)))
