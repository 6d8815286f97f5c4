"""What the log asks of an object store: five methods, every one of which may be repeated.

Keys are `/`-separated printable ASCII without empty parts; no key is a directory of another. No part begins
with a dot; a part has at most 255 characters, a key at most 1,024. Objects are immutable: `put_if_absent` is
the only way one comes into being. Implementations do not retry; wrappers do.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import NamedTuple, Protocol

from wal.types import Buffer


class ObjectExists(Exception):
    """`put_if_absent` found an object under the key: ours from an earlier try, or a rival's.

    Read it back to know; it is durable by then.
    """


class ObjectMissing(Exception):
    """There is no object under the key."""


class ObjectInfo(NamedTuple):
    """One row of a listing: the key and the object's size in bytes."""

    key: str
    size: int


class ObjectStore(Protocol):
    """Immutable objects by key. Every method may raise `wal.errors.Unavailable`: outcome unknown, repeat."""

    async def put_if_absent(self, key: str, parts: Sequence[Buffer]) -> None:
        """Create the object from `parts`, in order, durably and atomically. Raises ObjectExists.

        When it returns, the object survives any crash; of concurrent calls for one key exactly one returns.
        """

    async def get(self, key: str) -> bytes:
        """The whole object. Raises ObjectMissing."""

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """Bytes `start` to `start + length` of the object, fewer where it ends before.

        Raises ObjectMissing.
        """

    def list(self, prefix: str, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """All objects whose key begins with `prefix` and is greater than `start_after`, in key order.

        Sees every object whose put returned before the call.
        """

    async def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; those that are not there are no error."""

    async def close(self) -> None:
        """Give back what the store holds."""
