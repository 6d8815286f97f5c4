"""Which leader epoch a position belongs to, and where an epoch ended: pure questions to a list of epochs.

A list holds (leader epoch, first position) pairs, ascending, one per epoch under which something was
appended; the log keeps it through restarts, trims and merges. Clients ask where an epoch ended to learn
whether what they have read is still there; here it always is, and the answers must never make them believe
otherwise.
"""

from collections.abc import Sequence
from typing import NamedTuple

from wal.types import Position

EpochStarts = Sequence[tuple[int, Position]]


class EpochEnd(NamedTuple):
    """An epoch and the position after its last entry; -1 and -1 where the epoch asked for is not known."""

    epoch: int
    end: int


UNKNOWN = EpochEnd(-1, -1)


def leader_epochs(epoch_base: int, epochs: EpochStarts) -> list[tuple[int, Position]]:
    """The partition's leader epochs, from its log's epochs."""
    return [(epoch_base + epoch, first) for epoch, first in epochs]


def epoch_of(starts: EpochStarts, position: int, otherwise: int) -> int:
    """The epoch of the position: the last one that begins at or below it.

    `otherwise` is the answer where nothing was ever appended that low.
    """
    found = otherwise
    for epoch, first in starts:
        if first > position:
            break
        found = epoch
    return found


def epoch_end(starts: EpochStarts, asked: int, *, current: int, log_start: int, log_end: int) -> EpochEnd:
    """Where `asked` ended: at the start of the next epoch known, with the newest epoch that is not above it.

    The current epoch ends at the log's end. An epoch older than all known is given back with the first start.
    One above the current epoch is UNKNOWN.
    """
    if asked < 0 or asked > current:
        return UNKNOWN
    if asked == current:
        return EpochEnd(asked, log_end)
    floor = asked
    for epoch, first in starts:
        if epoch > asked:
            return EpochEnd(floor, max(first, log_start))
        floor = epoch
    return EpochEnd(floor, log_end)
