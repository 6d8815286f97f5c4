"""Where the partitions of a topic live, run-length coded: pure values and their transitions.

A *run* is a row of partitions created together: partition `first + i` lives in log `logs[i % len(logs)]`, in
stream `first_stream + i`. A partition that was moved has an *exception*: its whole list of places, oldest
first (none is made today). What must hold: runs follow each other from partition 0 without gaps, growing
never changes a place, and no two partitions share a stream.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, cycle
from typing import NamedTuple

from wal.types import LogId, StreamId


class Place(NamedTuple):
    """One home of a partition: its stream in a log, from `first_offset` on.

    epoch_base: added to the log's epoch it gives the leader epoch, so that a move never lets the leader epoch
        go back.
    """

    log_id: LogId
    stream: StreamId
    first_offset: int = 0
    epoch_base: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """`count` partitions from `first` on, laid over `logs` in turn, in consecutive streams."""

    first: int
    count: int
    logs: tuple[LogId, ...]
    first_stream: StreamId

    def place(self, index: int) -> Place:
        """The place of partition `index`, which lies in this run."""
        step = index - self.first
        return Place(self.logs[step % len(self.logs)], StreamId(self.first_stream + step))

    def continues(self, other: "Run") -> bool:
        """Whether both are one longer run, `other` being the next one."""
        if other.first_stream != self.first_stream + self.count:
            return False
        size = len(self.logs)
        return all(
            self.logs[(self.count + step) % size] == other.logs[step % len(other.logs)]
            for step in range(other.count)
        )


@dataclass(frozen=True, slots=True)
class Exceptional:
    """A partition that was moved: its first place is the one that its run gave it."""

    index: int
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Places:
    """The places of all partitions of one topic."""

    runs: tuple[Run, ...] = ()
    exceptions: tuple[Exceptional, ...] = ()

    @property
    def count(self) -> int:
        """How many partitions there are."""
        return self.runs[-1].first + self.runs[-1].count if self.runs else 0

    def of(self, index: int) -> tuple[Place, ...]:
        """The places of partition `index`, oldest first; the last one takes appends.

        The partition must exist.
        """
        for exception in self.exceptions:
            if exception.index == index:
                return exception.places
        run = self.runs[bisect_right(self.runs, index, key=_first) - 1]
        return (run.place(index),)

    def grown(self, count: int, logs: Sequence[LogId], first_stream: StreamId) -> "Places":
        """The same places and `count` partitions more, laid over `logs` in turn, in streams from there on."""
        assert count > 0
        assert logs
        run = Run(self.count, count, tuple(logs[:count]), first_stream)
        if self.runs and self.runs[-1].continues(run):
            last = self.runs[-1]
            return Places((*self.runs[:-1], replace(last, count=last.count + count)), self.exceptions)
        return Places((*self.runs, run), self.exceptions)

    def each(self) -> Iterator[tuple[LogId, int]]:
        """For each partition in order the log that takes its appends, and the epoch base there."""
        moved = {exception.index: exception.places[-1] for exception in self.exceptions}
        for run in self.runs:
            for index, log_id in zip(range(run.first, run.first + run.count), cycle(run.logs), strict=False):
                place = moved.get(index) if moved else None
                yield (place.log_id, place.epoch_base) if place is not None else (log_id, 0)

    def log_ids(self) -> frozenset[LogId]:
        """Every log that holds a part of the topic."""
        moved = chain.from_iterable(exception.places for exception in self.exceptions)
        return frozenset(
            chain(chain.from_iterable(run.logs for run in self.runs), (place.log_id for place in moved))
        )

    def streams(self, log_id: LogId) -> Iterator[StreamId]:
        """Every stream that the topic has, or had, in one log."""
        for run in self.runs:
            size = len(run.logs)
            for start, log in enumerate(run.logs):
                if log == log_id:
                    yield from map(
                        StreamId, range(run.first_stream + start, run.first_stream + run.count, size)
                    )
        for exception in self.exceptions:
            yield from (place.stream for place in exception.places[1:] if place.log_id == log_id)


def sequence(logs: Sequence[LogId], after: LogId | None, start: int) -> list[LogId]:
    """The logs in the order in which new partitions take them.

    Goes on behind the log `after`, which the topic's last partition has; without one (or if that log is no
    more) begins at `start`, a random number.
    """
    assert logs
    at = logs.index(after) + 1 if after in logs else start
    return [logs[(at + step) % len(logs)] for step in range(len(logs))]


def _first(run: Run) -> int:
    return run.first
