"""Objects as files: the blocking half of the file system store, correct at every system call it might die at.

    <root>/objects/<key>          whole objects, one file each
    <root>/tmp/<token>.<n>        a put under way; <token>.lock is locked for as long as its process lives

A put writes a temporary file, makes its content durable, links it to its key (which fails where the key
exists), and makes the directory durable. So a name appears whole or not at all, on local disks and NFS alike,
and what a put answered survives a power failure. What must hold, and is tested by dropping each flush in
turn:

- A file has its key only after its content is durable.
- Nothing is answered before the names that lead to it are durable. That goes for directories and objects
  found made already, too: whoever made them may have been killed before the flush. Hence ObjectExists flushes
  as well, because its caller may read the object back, find it to be its own and count it as written.
- A directory whose flush failed may be clean in memory and lost on disk, and a repeated flush would tell
  nothing. After such a failure nothing is written any more until the process is started again.

On NFS, mount with `lookupcache=positive` or stricter if several machines share a store.
"""

import contextlib
import errno
import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

from wal.errors import Unavailable
from wal.objects.base import ObjectExists, ObjectInfo, ObjectMissing
from wal.objects.keys import is_part
from wal.objects.syscalls import (
    CREATE_FLAGS,
    DIRECTORY_FLAGS,
    READ_FLAGS,
    DirectoryRow,
    FilePort,
    make_directories,
    read_all,
    try_close,
    write_all,
)
from wal.types import Buffer

PINNED_MAX = 128
"""Directories kept open because they are known to be durable."""

PUT_ATTEMPTS = 16
"""How often a put starts again because its directory was removed, empty, under its feet."""

ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ESTALE)
"""What the system says where there is no such object; a directory is none."""


class DurableDirectories:
    """The directories below one root, each durable by the time it is handed out.

    Pinned ones are held open: an open directory that was removed takes no new names, so a new one of the same
    path, whose own name may not be durable yet, is never taken for it.
    """

    def __init__(self, files: FilePort, root: int, pinned_max: int = PINNED_MAX) -> None:
        self._files = files
        self._root = root
        self._pinned_max = pinned_max
        self._pins: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()
        self._broken: str | None = None

    def open(self, path: str) -> int:
        """A descriptor of the directory at `path`, made where it is missing. The caller closes it.

        Each caller gets a description of its own, because the system tells of a failed flush only once to
        each.
        """
        if not path:
            return self._files.open(".", DIRECTORY_FLAGS, self._root)
        with self._lock:
            pin = self._pins.get(path)
            if pin is not None:
                self._pins.move_to_end(path)
                return self._files.open(".", DIRECTORY_FLAGS, pin)
        above, _, name = path.rpartition("/")
        parent = self.open(above)
        try:
            with contextlib.suppress(FileExistsError):
                self._files.mkdir(name, parent)
            made = self._files.open(name, DIRECTORY_FLAGS, parent)
            try:
                self.flush(parent)
                self._pin(path, self._files.open(".", DIRECTORY_FLAGS, made))
            except BaseException:
                try_close(self._files, made)
                raise
        finally:
            try_close(self._files, parent)
        return made

    def flush(self, fd: int) -> None:
        """Make the names in an open directory durable. After a failure all later calls raise Unavailable."""
        self.check()
        try:
            self._files.fsync(fd)
        except OSError as failure:
            self._broken = failure.strerror
            raise

    def check(self) -> None:
        """Raise Unavailable if a flush has failed."""
        if self._broken is not None:
            raise Unavailable(
                f"a directory could not be made durable ({self._broken}), so nothing more is written there;"
                " see to the disk and start the process again"
            )

    def forget(self, path: str) -> None:
        """The directory at `path` or one above it may have been removed: look again."""
        with self._lock:
            while path:
                pin = self._pins.pop(path, None)
                if pin is not None:
                    try_close(self._files, pin)
                path = path.rpartition("/")[0]

    def close(self) -> None:
        """Let all pinned directories go."""
        with self._lock:
            while self._pins:
                try_close(self._files, self._pins.popitem()[1])

    def _pin(self, path: str, fd: int) -> None:
        with self._lock:
            former = self._pins.pop(path, None)
            self._pins[path] = fd
            if former is None and len(self._pins) > self._pinned_max:
                former = self._pins.popitem(last=False)[1]
            if former is not None:
                try_close(self._files, former)


class ObjectFiles:
    """The blocking object store. Raises OSError where the system does; safe to call from several threads."""

    def __init__(self, files: FilePort, root: Path) -> None:
        """Make `root` (absolute) durably where it is missing, and sweep up after dead processes."""
        self._files = files
        make_directories(files, root / "objects")
        with contextlib.suppress(FileExistsError):
            files.mkdir(str(root / "tmp"))
        self._objects = files.open(str(root / "objects"), DIRECTORY_FLAGS)
        self._directories = DurableDirectories(files, self._objects)
        self._temporary = TemporaryFiles(files, str(root / "tmp"))

    def put(self, key: str, parts: Sequence[Buffer]) -> None:
        """Create the object durably and atomically. Raises ObjectExists, by then as durable as its own."""
        above, _, name = key.rpartition("/")
        for attempt in itertools.count(1):
            self._directories.check()
            try:
                created = self._put(above, name, parts)
                break
            except OSError as failure:
                if failure.errno not in (errno.ENOENT, errno.ESTALE) or attempt == PUT_ATTEMPTS:
                    raise
                self._directories.forget(above)
        if not created:
            raise ObjectExists(key)

    def _put(self, above: str, name: str, parts: Sequence[Buffer]) -> bool:
        directory = self._directories.open(above)
        try:
            with self._temporary.create() as (file, temporary):
                write_all(self._files, file, parts)
                self._files.fdatasync(file)
                created = self._link(file, temporary, directory, name)
            self._directories.flush(directory)
        finally:
            try_close(self._files, directory)
        return created

    def _link(self, file: int, temporary: str, directory: int, name: str) -> bool:
        try:
            self._files.link(temporary, self._temporary.directory, name, directory)
        except OSError as failure:
            # NFS repeats a call whose answer was lost, and then reports that the name exists. The link count
            # knows.
            if self._files.stat(file).links == 2:
                return True
            if failure.errno == errno.EEXIST:
                return False
            raise
        return True

    def get(self, key: str) -> bytes:
        """The whole object. Raises ObjectMissing."""
        return self.get_range(key, 0, -1)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Bytes `start` to `start + length`, fewer where the object ends before; length -1: up to the end."""
        try:
            file = self._files.open(key, READ_FLAGS, self._objects)
            try:
                left = max(self._files.stat(file).size - start, 0)
                return read_all(self._files, file, start, left if length < 0 else min(length, left))
            finally:
                try_close(self._files, file)
        except OSError as failure:
            if failure.errno in ABSENT:
                raise ObjectMissing(key) from None
            raise

    def list(self, prefix: str, start_after: str) -> Iterator[ObjectInfo]:
        """The listing, one directory at a time; holds nothing open between two steps."""
        return self._walk(prefix.rpartition("/")[0], prefix, start_after)

    def _walk(self, directory: str, prefix: str, start_after: str) -> Iterator[ObjectInfo]:
        above = f"{directory}/" if directory else ""
        # A directory sorts by what its keys go on with: its name and a slash.
        paths = sorted(
            f"{above}{row.name}/" if row.is_directory else f"{above}{row.name}"
            for row in self._rows(directory)
            if is_part(row.name)
        )
        for path in paths:
            if path.endswith("/"):
                inside = path.startswith(prefix) or prefix.startswith(path)
                if inside and (path >= start_after or start_after.startswith(path)):
                    yield from self._walk(path[:-1], prefix, start_after)
            elif path > start_after and path.startswith(prefix):
                try:
                    size = self._files.size(path, self._objects)
                except FileNotFoundError:
                    continue
                yield ObjectInfo(path, size)

    def _rows(self, directory: str) -> Sequence[DirectoryRow]:
        # Opened anew for each listing: that is when NFS asks the server whether the directory has changed.
        try:
            fd = self._files.open(directory or ".", DIRECTORY_FLAGS, self._objects)
        except OSError as failure:
            if failure.errno in ABSENT:
                return ()
            raise
        try:
            return self._files.rows(fd)
        finally:
            try_close(self._files, fd)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove the objects durably, and directories that became empty."""
        names_of: dict[str, list[str]] = {}
        for key in keys:
            above, _, name = key.rpartition("/")
            names_of.setdefault(above, []).append(name)
        for above, names in names_of.items():
            try:
                directory = self._files.open(above or ".", DIRECTORY_FLAGS, self._objects)
            except OSError as failure:
                if failure.errno in ABSENT:
                    continue
                raise
            try:
                for name in names:
                    self._unlink(name, directory)
                # Also where nothing was there to remove: an earlier deletion may have died before this line.
                self._directories.flush(directory)
            finally:
                try_close(self._files, directory)
            self._remove_empty(above)

    def _unlink(self, name: str, directory: int) -> None:
        try:
            self._files.unlink(name, directory)
        except OSError as failure:
            if failure.errno not in ABSENT:
                raise

    def _remove_empty(self, path: str) -> None:
        while path:
            try:
                self._files.rmdir(path, self._objects)
            except OSError:
                return
            self._directories.forget(path)
            path = path.rpartition("/")[0]

    def close(self) -> None:
        """Give all descriptors back and remove this process's mark."""
        self._temporary.close()
        self._directories.close()
        try_close(self._files, self._objects)


class TemporaryFiles:
    """The files of puts under way, and the sweeping of those whose process is dead.

    A process marks its files with a token that nobody had before, and holds a lock on `<token>.lock`. Files
    whose lock is free, or gone, are left-overs. Should a lock be of no use (flock that stays on one NFS
    client), a living process may lose a temporary file: its link then fails, and the put starts again under a
    new name.
    """

    def __init__(self, files: FilePort, path: str) -> None:
        self._files = files
        self._numbers = itertools.count()
        self.directory = files.open(path, DIRECTORY_FLAGS)
        self._sweep()
        self._token, self._lock = self._mark()

    @contextlib.contextmanager
    def create(self) -> Iterator[tuple[int, str]]:
        """A new file, open, and its name in `directory`, which is gone afterwards."""
        name = f"{self._token}.{next(self._numbers)}"
        file = self._files.open(name, CREATE_FLAGS, self.directory)
        try:
            try:
                yield file, name
            finally:
                # Not durable, and no matter if it fails: the next start sweeps.
                with contextlib.suppress(OSError):
                    self._files.unlink(name, self.directory)
        finally:
            try_close(self._files, file)

    def close(self) -> None:
        """Remove the mark."""
        with contextlib.suppress(OSError):
            self._files.unlink(f"{self._token}.lock", self.directory)
        try_close(self._files, self._lock)
        try_close(self._files, self.directory)

    def _mark(self) -> tuple[str, int]:
        while True:
            token = self._files.token()
            lock = self._files.open(f"{token}.lock", CREATE_FLAGS, self.directory)
            # A sweeper may come between: then it has the lock, or has removed the name already.
            if self._try_lock(lock) is not False and self._files.stat(lock).links:
                return token, lock
            try_close(self._files, lock)

    def _sweep(self) -> None:
        names = [row.name for row in self._files.rows(self.directory) if not row.is_directory]
        living = {name[: -len(".lock")] for name in names if name.endswith(".lock") and not self._take(name)}
        for name in sorted(names, key=lambda name: name.endswith(".lock")):
            if name.rpartition(".")[0] not in living:
                with contextlib.suppress(OSError):
                    self._files.unlink(name, self.directory)

    def _take(self, name: str) -> bool:
        """Whether the process of a lock file is dead, so that its files are ours to remove."""
        try:
            lock = self._files.open(name, os.O_RDWR | os.O_CLOEXEC, self.directory)
        except FileNotFoundError:
            return True
        try:
            return self._try_lock(lock) is True
        finally:
            try_close(self._files, lock)

    def _try_lock(self, lock: int) -> bool | None:
        """None: this file system has no locks, so nobody is ever known to be dead."""
        try:
            return self._files.lock(lock)
        except OSError:
            return None
