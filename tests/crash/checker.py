"""Which promises a history of clients breaks. Pure: what was sent, answered and read goes in, violations come
out.

The words for violations are those of Jepsen's Kafka checker where it has one. What is promised: an
acknowledged record lies at its acknowledged offset and, unless its client sent it again, nowhere else;
offsets are dense; what is read was sent, and was not refused; a producer's records appear in the order in
which it sent them; what a consumer has read once stays where it was; a committed offset does not go back. A
record whose outcome nobody knows may be there or not.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

SHOWN_MAX = 20


class Record(NamedTuple):
    """A record by its name: who sent it, and as its how-manieth."""

    producer: str
    serial: int


class Outcome(Enum):
    """What a client was told about a record that has no offset."""

    UNKNOWN = "unknown"
    FAILED = "failed"


class Sent(NamedTuple):
    """A record that a client sent: the offset it was told, or what else; how often it may have been
    written."""

    record: Record
    partition: int
    outcome: int | Outcome
    copies_max: int


class Read(NamedTuple):
    """A record as a consumer got it."""

    partition: int
    offset: int
    record: Record


class Commit(NamedTuple):
    """A group's offset: asked to be stored (`acked`: and answered so), or what the group was told it is."""

    partition: int
    offset: int
    acked: bool = False
    told: bool = False


@dataclass(slots=True)
class History:
    """All that happened, each list in the order of its client.

    sent: by producer, in the order of its serials. log: all partitions, in the order of their offsets, read
    at the end. ends: the partitions' end offsets then. polls: what one consumer read all along. commits: one
    group's, in order.
    """

    sent: Mapping[str, Sequence[Sent]]
    log: Mapping[int, Sequence[Read]]
    ends: Mapping[int, int]
    polls: Sequence[Read] = ()
    commits: Sequence[Commit] = field(default_factory=tuple)


class Violation(NamedTuple):
    """A broken promise: its name, and one sentence."""

    name: str
    sentence: str


def check(history: History) -> list[Violation]:
    """Every violation in the history, law by law; an empty list for none."""
    return [
        *_offsets(history),
        *_origins(history),
        *_acknowledged(history),
        *_copies(history),
        *_order(history),
        *_polls(history),
        *_commits(history.commits),
    ]


def report(violations: Sequence[Violation]) -> str:
    """The violations for a person: how many of each name, and the first ones in full."""
    counts = Counter(violation.name for violation in violations)
    lines = [f"{count} × {name}" for name, count in counts.most_common()]
    shown: Counter[str] = Counter()
    for name, sentence in violations:
        shown[name] += 1
        if shown[name] <= SHOWN_MAX:
            lines.append(f"{name}: {sentence}")
    return "\n".join(lines)


def _offsets(history: History) -> Iterator[Violation]:
    """Offsets are dense, from 0 to the end."""
    for partition, end in history.ends.items():
        offsets = [row.offset for row in history.log.get(partition, ())]
        if offsets != list(range(end)):
            missing = sorted(set(range(end)) - set(offsets))
            strange = sorted(set(offsets) - set(range(end)))
            yield Violation(
                "offset-gap",
                f"partition {partition} has offsets 0 to {end}, read were {len(offsets)}:"
                f" missing {missing[:SHOWN_MAX]}, beyond the end {strange[:SHOWN_MAX]}"
                f"{'' if missing or strange else ', out of order or twice'}",
            )


def _origins(history: History) -> Iterator[Violation]:
    """What is read was sent, to that partition, and not refused."""
    sent = {one.record: one for sends in history.sent.values() for one in sends}
    for row in _rows(history.log):
        one = sent.get(row.record)
        if one is None:
            yield Violation("never-sent", f"{row} was sent by nobody")
        elif one.partition != row.partition:
            yield Violation("never-sent", f"{row} was sent to partition {one.partition}")
        elif one.outcome is Outcome.FAILED:
            yield Violation("G1a", f"{row} was refused, its client was told so")


def _acknowledged(history: History) -> Iterator[Violation]:
    """An acknowledged record is at its offset."""
    at = {(row.partition, row.offset): row.record for row in _rows(history.log)}
    copies = _places(history.log)
    for sends in history.sent.values():
        for one in sends:
            if isinstance(one.outcome, Outcome):
                continue
            found = at.get((one.partition, one.outcome))
            if found == one.record:
                continue
            name = "inconsistent-offsets" if copies.get(one.record) else "lost-write"
            yield Violation(
                name,
                f"{one.record} was acknowledged at {one.outcome} of partition {one.partition};"
                f" {found or 'nothing'} is there, and it is at {copies.get(one.record, [])}",
            )


def _copies(history: History) -> Iterator[Violation]:
    """No record is there more often than its client may have written it."""
    copies = _places(history.log)
    for sends in history.sent.values():
        for one in sends:
            places = copies.get(one.record, [])
            if len(places) > one.copies_max:
                yield Violation(
                    "duplicate",
                    f"{one.record} was written at most {one.copies_max} times to partition {one.partition},"
                    f" and is at {places}; outcome {one.outcome}",
                )


def _order(history: History) -> Iterator[Violation]:
    """A producer's records first appear in the order in which it sent them."""
    for partition, rows in history.log.items():
        newest: dict[str, int] = {}
        seen: set[Record] = set()
        for row in rows:
            if row.record in seen:
                continue
            seen.add(row.record)
            producer, serial = row.record
            if serial < newest.get(producer, -1):
                yield Violation(
                    "nonmonotonic-send",
                    f"{row.record} first appears at {row.offset} of partition {partition},"
                    f" after {producer}'s {newest[producer]}",
                )
            newest[producer] = max(serial, newest.get(producer, -1))


def _polls(history: History) -> Iterator[Violation]:
    """What a consumer has read once is what is there at the end, and it went on without a jump."""
    at = {(row.partition, row.offset): row.record for row in _rows(history.log)}
    expected: dict[int, int] = defaultdict(int)
    for row in history.polls:
        if row.offset < expected[row.partition]:
            yield Violation("nonmonotonic-poll", f"{row} came when {expected[row.partition]} was next")
        elif row.offset > expected[row.partition]:
            yield Violation("poll-skip", f"{row} came when {expected[row.partition]} was next")
        expected[row.partition] = row.offset + 1
        found = at.get((row.partition, row.offset))
        if found is None:
            yield Violation("precommitted-read", f"{row} was read, and is not there at the end")
        elif found != row.record:
            yield Violation("inconsistent-offsets", f"{row} was read, at the end {found} is there")


def _commits(commits: Iterable[Commit]) -> Iterator[Violation]:
    """A group is told an offset that it has asked for, and none older than the last that was acknowledged.

    Its client asks for ascending offsets, one after the other.
    """
    asked: dict[int, set[int]] = defaultdict(lambda: {-1})
    least: dict[int, int] = defaultdict(lambda: -1)
    for one in commits:
        known = least[one.partition]
        if not one.told:
            asked[one.partition].add(one.offset)
            if one.acked:
                least[one.partition] = max(known, one.offset)
            continue
        if one.offset < known:
            yield Violation(
                "offset-regression",
                f"{one.offset} is said to be committed for partition {one.partition}, {known} was before",
            )
        if one.offset not in asked[one.partition]:
            yield Violation("never-sent", f"nobody committed {one.offset} for partition {one.partition}")
        least[one.partition] = max(known, one.offset)


def _rows(log: Mapping[int, Sequence[Read]]) -> Iterator[Read]:
    for rows in log.values():
        yield from rows


def _places(log: Mapping[int, Sequence[Read]]) -> dict[Record, list[tuple[int, int]]]:
    """Where each record is: (partition, offset)."""
    places: dict[Record, list[tuple[int, int]]] = defaultdict(list)
    for row in _rows(log):
        places[row.record].append((row.partition, row.offset))
    return places
