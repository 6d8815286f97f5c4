"""Objects in memory: the store behind `memory://`, and the one that simulations put their faults around.

Nothing here ever waits, so every call is atomic. What is put lives as long as the last handle does.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator, Iterable, Sequence

from wal.errors import Closed
from wal.objects.base import ObjectExists, ObjectInfo, ObjectMissing
from wal.objects.keys import check_key, check_prefix
from wal.types import Buffer


class _Objects:
    """What the handles of one store share: the objects, and their keys in order."""

    def __init__(self) -> None:
        self.by_key: dict[str, bytes] = {}
        self.keys: list[str] = []


class MemoryObjectStore:
    """An ObjectStore in memory. It survives nothing but the closing of other handles."""

    def __init__(self) -> None:
        self._objects = _Objects()
        self._closed = False

    def share(self) -> "MemoryObjectStore":
        """Another handle on the same objects, closed on its own: a second node's view of one store."""
        other = MemoryObjectStore()
        other._objects = self._objects
        return other

    async def put_if_absent(self, key: str, parts: Sequence[Buffer]) -> None:
        """Create the object from a copy of `parts`. Raises ObjectExists."""
        self._check(key)
        if key in self._objects.by_key:
            raise ObjectExists(key)
        self._objects.by_key[key] = b"".join(parts)
        insort(self._objects.keys, key)

    async def get(self, key: str) -> bytes:
        """The whole object. Raises ObjectMissing."""
        self._check(key)
        try:
            return self._objects.by_key[key]
        except KeyError:
            raise ObjectMissing(key) from None

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """Bytes `start` to `start + length`, fewer where the object ends before. Raises ObjectMissing."""
        if start < 0 or length < 0:
            raise ValueError(f"no object has a range of {length} bytes from {start}")
        return (await self.get(key))[start : start + length]

    async def list(self, prefix: str, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """All objects below `prefix` and above `start_after` as of the first step, in key order."""
        check_prefix(prefix)
        self._check_open()
        keys = self._objects.keys
        first = max(bisect_left(keys, prefix), bisect_right(keys, start_after))
        # "\x7f" lies above every character a key may have.
        for key in keys[first : bisect_left(keys, prefix + "\x7f")]:
            body = self._objects.by_key.get(key)
            if body is not None:
                yield ObjectInfo(key, len(body))

    async def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; those that are not there are no error."""
        for key in keys:
            self._check(key)
            if self._objects.by_key.pop(key, None) is not None:
                del self._objects.keys[bisect_left(self._objects.keys, key)]

    async def close(self) -> None:
        """Close this handle; the others go on."""
        self._closed = True

    def _check(self, key: str) -> None:
        check_key(key)
        self._check_open()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the object store was closed")
