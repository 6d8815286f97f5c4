"""What the log and the gateway ask of a metadata store: get, list, txn, watch, lease.

Keys are `/`-separated strings, values at most 1 MiB. Every change raises the store's revision by one per
transaction; a key carries the revision of its last change. All methods may raise `wal.errors.Unavailable`
(outcome unknown).
"""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

OPERATIONS_MAX = 128
"""Most compares, and most operations, of one transaction (etcd's default limit)."""


class KeyValue(NamedTuple):
    """One record and the revision at which it last changed."""

    key: str
    value: bytes
    revision: int


class RevisionIs(NamedTuple):
    """The key's revision is exactly this; 0: the key does not exist."""

    key: str
    revision: int


class Exists(NamedTuple):
    """The key exists."""

    key: str


class Put(NamedTuple):
    """Write the key; with a lease, it disappears with the lease."""

    key: str
    value: bytes
    lease: int = 0


class Delete(NamedTuple):
    """Remove the key; no error where there is none."""

    key: str


class Read(NamedTuple):
    """Read all keys that begin with `prefix`, as of the end of this transaction."""

    prefix: str


Compare = RevisionIs | Exists
Operation = Put | Delete | Read


class TxnResult(NamedTuple):
    """succeeded: all compares held and all operations were done; revision: the store's now; reads: one list a
    Read.
    """

    succeeded: bool
    revision: int
    reads: tuple[tuple[KeyValue, ...], ...]


class Change(NamedTuple):
    """One change seen by a watch: a new value, or None for a deletion, at a revision."""

    key: str
    value: bytes | None
    revision: int


class Lease(Protocol):
    """A promise to be alive. Keys put with its id disappear when it expires or is revoked."""

    @property
    def id(self) -> int:
        """The number to put keys with."""

    @property
    def ttl_s(self) -> float:
        """Seconds from a keep-alive until expiry."""

    async def keep_alive(self) -> bool:
        """Start the time to live anew. False: the lease is gone for good."""

    async def revoke(self) -> None:
        """End it now; its keys disappear."""


class MetaStore(Protocol):
    """Small records with compare-and-set."""

    async def get(self, key: str) -> KeyValue | None:
        """The newest value of the key; None where there is none. Linearizable."""

    async def list(self, prefix: str) -> tuple[Sequence[KeyValue], int]:
        """All records whose key begins with `prefix`, in key order, and the store's revision as of the same
        moment.
        """

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        """Do all operations if all compares hold, atomically and durably; otherwise none.

        A put whose lease is gone makes the transaction fail like a compare. No key is written twice in one
        transaction (ValueError).
        """

    def watch(self, prefix: str, after: int) -> AsyncIterator[Change]:
        """Every change to keys with `prefix` at a revision above `after`, in order, without gaps, for ever.

        Raises WatchGap where the store no longer has them all: list again, then watch from the list's
        revision.
        """

    async def lease(self, ttl_s: float) -> Lease:
        """Grant a lease."""

    async def close(self) -> None:
        """Give back what the store holds. Leases are not revoked."""


class WatchGap(Exception):
    """Changes after the asked revision are no longer kept. List again and watch from there."""
