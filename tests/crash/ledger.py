"""What the clients of a crash test did and were told, written down as it happens, by many threads.

How often a record may have been written is found without looking into the client: a client sends again only
what it lost with a connection, so a record has at most one copy more than there were kills between its send
and its answer; one of an idempotent producer, or of a client that never sends again, has one.
"""

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from tests.crash.checker import Outcome, Record, Sent

SMALL_BYTES = (10, 1_500)
LARGE_BYTES = (10_000, 30_000)
LARGE_SHARE = 0.01
NOBODY = Record("nobody", -1)


class Runs:
    """How often the gateway was killed, and how many records it acknowledged since its last start."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.kills = 0
        self.acked = 0
        self.acked_in_all = 0

    def killed(self) -> None:
        """Count a kill; call it before the kill."""
        with self._changed:
            self.kills += 1

    def started(self) -> None:
        """Count acknowledged records from 0 again."""
        with self._changed:
            self.acked = 0

    def count_ack(self) -> None:
        """Count an acknowledged record."""
        with self._changed:
            self.acked += 1
            self.acked_in_all += 1
            self._changed.notify_all()

    def wait_acked(self, n: int, seconds_max: float) -> bool:
        """Wait until this start of the gateway has acknowledged `n`; whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: self.acked >= n, seconds_max)


@dataclass(slots=True)
class _Row:
    partition: int
    kills: int
    outcome: int | Outcome = Outcome.UNKNOWN
    copies_max: int = 0


class Ledger:
    """One producer's records. Its `record` comes before the client's send, `told` when the client says so."""

    def __init__(self, producer: str, runs: Runs, *, repeats: bool) -> None:
        self.producer = producer
        self.runs = runs
        self._repeats = repeats
        self._rows: list[_Row] = []

    def record(self, partition: int) -> tuple[int, bytes]:
        """Name the next record: its serial and its value."""
        serial = len(self._rows)
        self._rows.append(_Row(partition, self.runs.kills))
        return serial, value_of(Record(self.producer, serial))

    def told(self, serial: int, outcome: int | Outcome) -> None:
        """What became of a record: its offset, or what else."""
        row = self._rows[serial]
        assert row.copies_max == 0, f"{self.producer}'s record {serial} has two outcomes"
        row.outcome = outcome
        row.copies_max = self._copies_max(row)
        if not isinstance(outcome, Outcome):
            self.runs.count_ack()

    def sent(self) -> Sequence[Sent]:
        """All records, for the checker."""
        return [
            Sent(
                Record(self.producer, serial),
                row.partition,
                row.outcome,
                row.copies_max or self._copies_max(row),
            )
            for serial, row in enumerate(self._rows)
        ]

    def _copies_max(self, row: _Row) -> int:
        return 1 + self.runs.kills - row.kills if self._repeats else 1


def value_of(record: Record) -> bytes:
    """A record's value, which tells its name; the same name gives the same bytes."""
    source = random.Random(f"{record.producer}/{record.serial}")
    bounds = LARGE_BYTES if source.random() < LARGE_SHARE else SMALL_BYTES
    return b"%s/%d/" % (record.producer.encode(), record.serial) + source.randbytes(source.randint(*bounds))


def record_of(value: bytes | None) -> Record:
    """The record that has this value, to the last byte; `NOBODY` where there is none."""
    try:
        producer, serial, _ = (value or b"").split(b"/", 2)
        record = Record(producer.decode("ascii"), int(serial))
    except ValueError:
        return NOBODY
    return record if value_of(record) == value else NOBODY
