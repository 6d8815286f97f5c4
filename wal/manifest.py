"""The records of a log in the metadata store, as values: who owns it, and which segments it is made of.

Every update of them is a transaction guarded by the revision of the log's own record, which changes with the
owner and with nothing else: a process that lost the log cannot change any of them (docs/formats/metadata.md).
"""

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

import msgpack

from wal.errors import Corrupt

FORMAT = 1
NO_BLOCKS = -1
"""`last` of a segment without blocks."""


class SegmentState(StrEnum):
    """active → sealed → merged → (deleted)."""

    ACTIVE = "active"
    SEALED = "sealed"
    MERGED = "merged"


@dataclass(frozen=True, slots=True)
class _Record:
    """A record that is stored as a msgpack map with a format number."""

    def pack(self) -> bytes:
        """The record's bytes."""
        return bytes(msgpack.packb({"format": FORMAT, **asdict(self)}))

    @classmethod
    def unpack(cls, key: str, value: bytes) -> Self:
        """The record that `pack` made. Raises Corrupt for anything else."""
        try:
            fields: Any = msgpack.unpackb(value)
            version = fields.pop("format")
            if version != FORMAT:
                raise Corrupt(
                    f"{key} has format {version}, this program reads format {FORMAT}: use a newer one"
                )
            return cls(**fields)
        except (ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException) as error:
            raise Corrupt(f"{key} is not a {cls.__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class LogRecord(_Record):
    """`logs/<log>`.

    owner: a session id, empty for none; segment_next: no segment from here on was ever recorded.
    """

    epoch: int = 0
    owner: str = ""
    segment_next: int = 0


@dataclass(frozen=True, slots=True)
class SegmentRecord(_Record):
    """`logs/<log>/segments/<segment>`. last: its last block once known, None before, NO_BLOCKS for none.

    epoch: the epoch that recorded it; ensemble and ack_quorum: journals of quorum mode, empty in object mode;
    merged: ids of merged segments' objects; checkpoint, directory: ids of objects under `c/`, empty for none.
    """

    segment: int
    epoch: int
    state: str = SegmentState.ACTIVE
    last: int | None = None
    size: int = 0
    time_first: int = -1
    time_last: int = -1
    checkpoint: str = ""
    directory: str = ""
    merged: list[str] = field(default_factory=list)
    ensemble: list[list[int]] = field(default_factory=list)
    ack_quorum: int = 0

    @property
    def sealed(self) -> bool:
        """Its last block, checkpoint and directory are known."""
        return self.state != SegmentState.ACTIVE

    def found(self, last: int) -> "SegmentRecord":
        """A recovery found that `last` is the segment's last block and has fenced it there."""
        return replace(self, last=last)

    def seal(
        self, last: int, size: int, time_first: int, time_last: int, checkpoint: str, directory: str
    ) -> "SegmentRecord":
        """The segment is complete, and its checkpoint and directory are stored."""
        return replace(
            self,
            state=SegmentState.SEALED,
            last=last,
            size=size,
            time_first=time_first,
            time_last=time_last,
            checkpoint=checkpoint,
            directory=directory,
        )


@dataclass(frozen=True, slots=True)
class GarbageRecord(_Record):
    """`logs/<log>/garbage/<segment>`: objects that nothing names any more, to be deleted later.

    blocks: how many of the segment's blocks, from 0; not_before: earliest deletion in ms; fence: number of
    its fence block or None; fence_not_before: fences stay longer, since a paused writer may wake late;
    chunks: ids of objects under `c/`.
    """

    segment: int
    blocks: int
    not_before: int
    fence: int | None = None
    fence_not_before: int = 0
    chunks: list[str] = field(default_factory=list)
