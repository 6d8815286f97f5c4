"""Encoded bytes kept for the next one who asks: bounded in bytes, the longest unused goes first.

Nothing in here is ever made invalid: a key names everything that its bytes were made from, so what is
outdated is not asked for again and ages out.
"""

from collections import OrderedDict
from collections.abc import Hashable


class BytesCache:
    """A mapping from keys to bytes that forgets."""

    ENTRY_BYTES = 200
    """What an entry costs besides its bytes, about."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._entries: OrderedDict[Hashable, bytes] = OrderedDict()

    def get(self, key: Hashable) -> bytes | None:
        """The bytes kept for the key."""
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: Hashable, data: bytes) -> bytes:
        """Keep the bytes, unless they alone are more than the cache may hold. Returns them."""
        cost = len(data) + self.ENTRY_BYTES
        if cost > self._bytes_max:
            return data
        before = self._entries.pop(key, None)
        if before is not None:
            self._bytes -= len(before) + self.ENTRY_BYTES
        self._entries[key] = data
        self._bytes += cost
        while self._bytes > self._bytes_max:
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= len(oldest) + self.ENTRY_BYTES
        return data
