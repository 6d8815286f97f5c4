"""The rules of the embedded metadata stores as a pure value: records, revisions, leases, and the last
changes.

Nothing here waits or writes. A transaction is first planned, against the records as they are, and then
committed; between the two the shell may make the plan durable. Everything that changes records goes this way,
the end of a lease included.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, assert_never

from wal.meta.base import (
    OPERATIONS_MAX,
    Change,
    Compare,
    Delete,
    Exists,
    KeyValue,
    Operation,
    Put,
    Read,
    RevisionIs,
    TxnResult,
    WatchGap,
)

KEY_LENGTH_MAX = 1024
VALUE_BYTES_MAX = 1 << 20
HISTORY_CHANGES_MAX = 10_000
HISTORY_BYTES_MAX = 16 << 20
"""How much of the past is kept for watches."""


class Record(NamedTuple):
    """A stored value, the revision of its last change, and the lease it goes with (0: none)."""

    value: bytes
    revision: int
    lease: int


class Plan(NamedTuple):
    """What a transaction will do: the new record of each changed key, None for a removal, all at one
    revision.
    """

    revision: int
    changes: tuple[tuple[str, Record | None], ...]
    leases_ended: tuple[int, ...] = ()


@dataclass(slots=True)
class _Granted:
    ttl_s: float
    deadline: float
    keys: set[str] = field(default_factory=set)


def check_key(key: str) -> None:
    """Raise ValueError with a sentence if `key` is no metadata key."""
    if not (0 < len(key) <= KEY_LENGTH_MAX and key.isascii() and key.isprintable()):
        raise ValueError(
            f"{key!r} is no metadata key: allowed are 1 to {KEY_LENGTH_MAX} printable ASCII characters"
        )


def check_txn(compares: Sequence[Compare], operations: Sequence[Operation]) -> None:
    """Raise ValueError with a sentence if this can be no transaction, whatever the records."""
    if len(compares) > OPERATIONS_MAX or len(operations) > OPERATIONS_MAX:
        raise ValueError(
            f"a transaction has at most {OPERATIONS_MAX} compares and {OPERATIONS_MAX} operations"
        )
    written = set()
    for operation in operations:
        match operation:
            case Put(key, value, _):
                if len(value) > VALUE_BYTES_MAX:
                    raise ValueError(
                        f"the value of {key} has {len(value)} bytes; allowed are {VALUE_BYTES_MAX}"
                    )
            case Delete(key):
                pass
            case Read():
                continue
            case _:
                assert_never(operation)
        check_key(key)
        if key in written:
            raise ValueError(f"a transaction writes {key} twice")
        written.add(key)
    for compare in compares:
        check_key(compare.key)


class Records:
    """All records of a store. Not for several threads."""

    def __init__(self, revision: int = 0, records: Iterable[tuple[str, Record]] = ()) -> None:
        """Begin with what was stored; leases begin anew, so no record given here may have one."""
        self.revision = revision
        self._records = dict(records)
        self._keys = sorted(self._records)
        self._leases: dict[int, _Granted] = {}
        self._leases_granted = 0
        # One element a revision, so that the changes of a revision are found by its number.
        self._history: deque[tuple[Change, ...]] = deque()
        self._history_changes = 0
        self._history_bytes = 0

    def get(self, key: str) -> KeyValue | None:
        """The record of a key."""
        record = self._records.get(key)
        return None if record is None else KeyValue(key, record.value, record.revision)

    def list(self, prefix: str) -> tuple[KeyValue, ...]:
        """The records whose key begins with `prefix`, in key order."""
        found = []
        for key in islice(self._keys, bisect_left(self._keys, prefix), None):
            if not key.startswith(prefix):
                break
            record = self._records[key]
            found.append(KeyValue(key, record.value, record.revision))
        return tuple(found)

    def holds(self, compare: Compare) -> bool:
        """Whether a compare holds now."""
        record = self._records.get(compare.key)
        match compare:
            case RevisionIs(_, revision):
                return revision == (0 if record is None else record.revision)
            case Exists():
                return record is not None
            case _:
                assert_never(compare)

    def plan(self, compares: Sequence[Compare], operations: Sequence[Operation], now: float) -> Plan | None:
        """What the transaction would change; None where a compare fails or a lease to put with is gone."""
        if not all(self.holds(compare) for compare in compares):
            return None
        revision = self.revision + 1
        changes: list[tuple[str, Record | None]] = []
        for operation in operations:
            match operation:
                case Put(key, value, lease):
                    if lease and not self.is_alive(lease, now):
                        return None
                    changes.append((key, Record(bytes(value), revision, lease)))
                case Delete(key):
                    if key in self._records:
                        changes.append((key, None))
                case Read():
                    pass
                case _:
                    assert_never(operation)
        return Plan(revision if changes else self.revision, tuple(changes))

    def plan_end_of_leases(self, leases: Sequence[int]) -> Plan:
        """What ending these leases changes."""
        keys = sorted(key for lease in leases if lease in self._leases for key in self._leases[lease].keys)
        changes = tuple((key, None) for key in keys)
        return Plan(self.revision + 1 if changes else self.revision, changes, tuple(leases))

    def commit(self, plan: Plan) -> None:
        """Do what was planned. Nothing else may have been committed since."""
        for lease in plan.leases_ended:
            self._leases.pop(lease, None)
        if not plan.changes:
            return
        assert plan.revision == self.revision + 1
        self.revision = plan.revision
        for key, record in plan.changes:
            former = self._records.get(key)
            if former is not None and former.lease in self._leases:
                self._leases[former.lease].keys.discard(key)
            if record is None:
                del self._records[key]
                del self._keys[bisect_left(self._keys, key)]
                continue
            if former is None:
                insort(self._keys, key)
            self._records[key] = record
            if record.lease in self._leases:
                self._leases[record.lease].keys.add(key)
        self._remember(
            tuple(
                Change(key, None if record is None else record.value, plan.revision)
                for key, record in plan.changes
            )
        )

    def result(self, succeeded: bool, operations: Sequence[Operation]) -> TxnResult:
        """The answer to a transaction that was just committed, or not."""
        reads = (self.list(operation.prefix) for operation in operations if isinstance(operation, Read))
        return TxnResult(succeeded, self.revision, tuple(reads) if succeeded else ())

    def changes_after(self, revision: int, prefix: str) -> Sequence[Change]:
        """Every kept change above `revision` to keys with `prefix`, in order. Raises WatchGap where some are
        not.
        """
        missed = self.revision - revision
        if missed > len(self._history):
            raise WatchGap(f"changes after revision {revision} are no longer kept")
        if missed <= 0:
            return []
        transactions = islice(self._history, len(self._history) - missed, None)
        return [change for changes in transactions for change in changes if change.key.startswith(prefix)]

    def grant(self, ttl_s: float, now: float) -> int:
        """A new lease's number."""
        self._leases_granted += 1
        self._leases[self._leases_granted] = _Granted(ttl_s, now + ttl_s)
        return self._leases_granted

    def is_alive(self, lease: int, now: float) -> bool:
        """Whether the lease has neither expired nor been ended."""
        granted = self._leases.get(lease)
        return granted is not None and now < granted.deadline

    def keep_alive(self, lease: int, now: float) -> bool:
        """Let the lease's time begin anew, unless it has run out."""
        if not self.is_alive(lease, now):
            return False
        granted = self._leases[lease]
        granted.deadline = now + granted.ttl_s
        return True

    def expired(self, now: float) -> Sequence[int]:
        """Leases whose time has run out and that have not been ended yet."""
        return [lease for lease, granted in self._leases.items() if granted.deadline <= now]

    def next_deadline(self) -> float | None:
        """When the next lease runs out; None where there is none."""
        return min((granted.deadline for granted in self._leases.values()), default=None)

    def _remember(self, changes: tuple[Change, ...]) -> None:
        self._history.append(changes)
        self._history_changes += len(changes)
        self._history_bytes += _bytes(changes)
        while self._history_changes > HISTORY_CHANGES_MAX or self._history_bytes > HISTORY_BYTES_MAX:
            dropped = self._history.popleft()
            self._history_changes -= len(dropped)
            self._history_bytes -= _bytes(dropped)


def _bytes(changes: tuple[Change, ...]) -> int:
    return sum(len(change.key) + len(change.value or b"") for change in changes)
