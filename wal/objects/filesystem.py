"""The file system as an object store, for the event loop: `wal.objects.object_files` in threads of its own.

Each call is one hop into a bounded pool; a listing is one hop a page. A call that was cancelled runs on to
its end in its thread, and its outcome is unknown.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from wal.errors import Closed, StoreRefused, Unavailable
from wal.objects.base import ObjectInfo
from wal.objects.keys import check_key, check_prefix
from wal.objects.object_files import ObjectFiles
from wal.objects.syscalls import FilePort
from wal.types import Buffer

LIST_PAGE_ROWS = 1000
DELETE_PAGE_KEYS = 1000
"""How much one hop into a thread lists or deletes."""

P = ParamSpec("P")
T = TypeVar("T")


class FileSystemObjectStore:
    """An ObjectStore below a directory. `open` makes one.

    A put that returned survives a power failure; no put is ever seen in part. Several processes, and machines
    that share the directory over NFS, may use it at the same time.
    """

    def __init__(self, root: Path, objects: ObjectFiles, pool: ThreadPoolExecutor) -> None:
        """`open` is the way in."""
        self._root = root
        self._objects = objects
        self._pool = pool
        self._closed = False

    @classmethod
    async def open(cls, root: Path, files: FilePort, *, threads: int = 8) -> "FileSystemObjectStore":
        """The store below `root` (absolute), which is made durably where it is missing.

        Raises StoreRefused where the directory cannot be used. `threads` bounds the calls that run at a time.
        """
        pool = ThreadPoolExecutor(threads, thread_name_prefix="objects")
        try:
            objects = await asyncio.get_running_loop().run_in_executor(pool, ObjectFiles, files, root)
        except OSError as failure:
            pool.shutdown(wait=False)
            raise StoreRefused(f"{root} cannot hold objects: {failure.strerror}") from failure
        return cls(root, objects, pool)

    async def put_if_absent(self, key: str, parts: Sequence[Buffer]) -> None:
        """Create the object durably and atomically, without joining `parts`. Raises ObjectExists."""
        check_key(key)
        await self._run(f"writing {key}", self._objects.put, key, parts)

    async def get(self, key: str) -> bytes:
        """The whole object. Raises ObjectMissing."""
        check_key(key)
        return await self._run(f"reading {key}", self._objects.get, key)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """Bytes `start` to `start + length`, fewer where the object ends before. Raises ObjectMissing."""
        check_key(key)
        if start < 0 or length < 0:
            raise ValueError(f"no object has a range of {length} bytes from {start}")
        return await self._run(f"reading {key}", self._objects.get_range, key, start, length)

    async def list(self, prefix: str, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """All objects below `prefix` and above `start_after`, in key order, read page by page."""
        check_prefix(prefix)
        rows = self._objects.list(prefix, start_after)
        while page := await self._run(f"listing {prefix}", _page, rows):
            for row in page:
                yield row

    async def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects durably; those that are not there are no error."""
        doomed = list(keys)
        for key in doomed:
            check_key(key)
        for first in range(0, len(doomed), DELETE_PAGE_KEYS):
            page = doomed[first : first + DELETE_PAGE_KEYS]
            await self._run(f"deleting {page[0]}", self._objects.delete, page)

    async def close(self) -> None:
        """Wait for calls under way, then give the directory back."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown)
        await asyncio.to_thread(self._objects.close)

    async def _run(self, what: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._closed:
            raise Closed("the object store was closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: call(*args, **kwargs))
        except OSError as failure:
            raise Unavailable(f"{what} failed in {self._root}: {failure.strerror}") from failure


def _page(rows: Iterator[ObjectInfo]) -> Sequence[ObjectInfo]:
    return list(itertools.islice(rows, LIST_PAGE_ROWS))
