"""A file system in memory behind `wal.objects.syscalls.FilePort` that can lose power between any two calls.

After `crash`, of what no flush covered each part survives or not as the seed says: of a file's bytes any
prefix, or the right number of zeros; of a directory's changes any subset, in any combination. That is what
POSIX allows, and worse than most file systems do. `killed` is the milder end: the process is gone, the page
cache lives.
"""

import errno
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from wal.objects.syscalls import PARTS_PER_WRITE, DirectoryRow, FileStat


class Killed(BaseException):
    """The process died at this call; nothing it does afterwards has any effect."""


class Flush(NamedTuple):
    """One fsync or fdatasync that was asked for, and of what."""

    kind: str
    path: str


@dataclass(eq=False, slots=True)
class _File:
    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    links: int = 1


@dataclass(eq=False, slots=True)
class _Directory:
    path: str
    names: "dict[str, _File | _Directory]" = field(default_factory=dict)
    durable: "dict[str, _File | _Directory]" = field(default_factory=dict)
    changes: "list[tuple[str, _File | _Directory | None]]" = field(default_factory=list)
    removed: bool = False

    def set(self, name: str, node: "_File | _Directory | None") -> None:
        if node is None:
            del self.names[name]
        else:
            self.names[name] = node
        self.changes.append((name, node))

    def flush(self) -> None:
        self.durable = dict(self.names)
        self.changes.clear()


_Node = _File | _Directory


class CrashingFiles:
    """A FilePort for one process on one simulated disk. Not for several threads.

    stop_at: the number of the call at which the process is killed. skip: ordinals of flushes that are
    answered but not done. fail: the error of a call, by its number. lie: numbers of calls that are done and
    then answered with EEXIST.
    """

    def __init__(
        self,
        *,
        stop_at: int | None = None,
        skip: Collection[int] = (),
        fail: Mapping[int, int] | None = None,
        lie: Collection[int] = (),
        short_writes: Random | None = None,
    ) -> None:
        self.calls: list[str] = []
        self.flushes: list[Flush] = []
        self._stop_at = stop_at
        self._skip = skip
        self.fail = fail or {}
        self._lie = lie
        self._short_writes = short_writes
        self._root = _Directory("/")
        self._open: dict[int, _Node] = {}
        self._locks: dict[int, _File] = {}
        self._processes: list[CrashingFiles] = [self]
        self._next_fd = 3
        self._dead = False

    def killed(self, *, stop_at: int | None = None, skip: Collection[int] = ()) -> "CrashingFiles":
        """This process is dead; the next one sees all it did, durable or not."""
        self._dead = True
        self._locks.clear()
        return self.beside(stop_at=stop_at, skip=skip)

    def beside(self, *, stop_at: int | None = None, skip: Collection[int] = ()) -> "CrashingFiles":
        """Another process on the same disk."""
        other = CrashingFiles(stop_at=stop_at, skip=skip)
        other._root = self._root
        other._processes = self._processes
        self._processes.append(other)
        return other

    def crash(self, seed: int) -> "CrashingFiles":
        """The disk after a loss of power. This one stays as it is, for another seed."""
        random = Random(seed)
        survivor = CrashingFiles()
        survivor._root = _restored(self._root, random, {})
        return survivor

    @property
    def open_count(self) -> int:
        """Descriptors not given back."""
        return len(self._open)

    def paths(self) -> list[str]:
        """All files there are, as absolute paths."""
        return sorted(_paths(self._root, ""))

    def token(self) -> str:
        return f"t{len(self._processes)}x{len(self.calls)}"

    def open(self, path: str, flags: int, directory: int | None = None) -> int:
        self._call("open", path)
        above, name = self._place(path, directory)
        node: _Node | None = above if name == "." else above.names.get(name)
        if node is None:
            if not flags & os.O_CREAT or above.removed:
                raise OSError(errno.ENOENT, "no such file")
            node = _File()
            above.set(name, node)
        elif flags & os.O_EXCL:
            raise OSError(errno.EEXIST, "exists")
        if flags & os.O_DIRECTORY and isinstance(node, _File):
            raise OSError(errno.ENOTDIR, "not a directory")
        self._next_fd += 1
        self._open[self._next_fd] = node
        return self._next_fd

    def close(self, fd: int) -> None:
        self._call("close", "")
        del self._open[fd]
        self._locks.pop(fd, None)

    def writev(self, fd: int, parts: Sequence[memoryview]) -> int:
        self._call("writev", "")
        assert 0 < len(parts) <= PARTS_PER_WRITE
        given = b"".join(parts)
        if self._short_writes is not None:
            given = given[: self._short_writes.randint(1, len(given))]
        self._file(fd).data += given
        return len(given)

    def pread(self, fd: int, length: int, start: int) -> bytes:
        self._call("pread", "")
        return bytes(self._file(fd).data[start : start + length])

    def stat(self, fd: int) -> FileStat:
        self._call("stat", "")
        node = self._open[fd]
        return FileStat(len(node.data), node.links) if isinstance(node, _File) else FileStat(4096, 2)

    def size(self, path: str, directory: int) -> int:
        self._call("size", path)
        above, name = self._place(path, directory)
        node = above.names.get(name)
        if node is None:
            raise OSError(errno.ENOENT, "no such file")
        return len(node.data) if isinstance(node, _File) else 4096

    def fdatasync(self, fd: int) -> None:
        self._call("fdatasync", "")
        if self._flushes("fdatasync", "a temporary file"):
            file = self._file(fd)
            file.durable = bytes(file.data)

    def fsync(self, fd: int) -> None:
        self._call("fsync", "")
        node = self._open[fd]
        assert isinstance(node, _Directory)
        if self._flushes("fsync", node.path):
            node.flush()

    def link(self, source: str, source_directory: int, target: str, target_directory: int) -> None:
        number = self._call("link", target)
        source_above, source_name = self._place(source, source_directory)
        above, name = self._place(target, target_directory)
        file = source_above.names.get(source_name)
        if file is None or above.removed:
            raise OSError(errno.ENOENT, "no such file")
        if name in above.names:
            raise OSError(errno.EEXIST, "exists")
        assert isinstance(file, _File)
        file.links += 1
        above.set(name, file)
        if number in self._lie:
            raise OSError(errno.EEXIST, "exists")

    def unlink(self, path: str, directory: int) -> None:
        self._call("unlink", path)
        above, name = self._place(path, directory)
        file = above.names.get(name)
        if file is None:
            raise OSError(errno.ENOENT, "no such file")
        if isinstance(file, _Directory):
            raise OSError(errno.EISDIR, "is a directory")
        file.links -= 1
        above.set(name, None)

    def mkdir(self, path: str, directory: int | None = None) -> None:
        self._call("mkdir", path)
        above, name = self._place(path, directory)
        if name in above.names:
            raise OSError(errno.EEXIST, "exists")
        if above.removed:
            raise OSError(errno.ENOENT, "no such directory")
        above.set(name, _Directory(f"{above.path.rstrip('/')}/{name}"))

    def rmdir(self, path: str, directory: int) -> None:
        self._call("rmdir", path)
        above, name = self._place(path, directory)
        doomed = above.names.get(name)
        if doomed is None:
            raise OSError(errno.ENOENT, "no such directory")
        if isinstance(doomed, _File):
            raise OSError(errno.ENOTDIR, "not a directory")
        if doomed.names:
            raise OSError(errno.ENOTEMPTY, "not empty")
        doomed.removed = True
        above.set(name, None)

    def rows(self, fd: int) -> list[DirectoryRow]:
        self._call("rows", "")
        node = self._open[fd]
        assert isinstance(node, _Directory)
        return [DirectoryRow(name, isinstance(row, _Directory)) for name, row in node.names.items()]

    def lock(self, fd: int) -> bool:
        self._call("lock", "")
        file = self._file(fd)
        if any(file in process._locks.values() for process in self._processes):
            return False
        self._locks[fd] = file
        return True

    def _call(self, kind: str, path: str) -> int:
        number = len(self.calls)
        if self._dead or number == self._stop_at:
            self._dead = True
            raise Killed
        self.calls.append(f"{kind} {path}".rstrip())
        if number in self.fail:
            raise OSError(self.fail[number], os.strerror(self.fail[number]))
        return number

    def _flushes(self, kind: str, path: str) -> bool:
        self.flushes.append(Flush(kind, path))
        return len(self.flushes) - 1 not in self._skip

    def _file(self, fd: int) -> _File:
        node = self._open[fd]
        if isinstance(node, _Directory):
            raise OSError(errno.EISDIR, "is a directory")
        return node

    def _place(self, path: str, directory: int | None) -> tuple[_Directory, str]:
        """The directory that holds the last part of the path, and that part; "." for the directory itself."""
        node: _Node | None = self._root if directory is None else self._open[directory]
        assert path.startswith("/") == (directory is None)
        *above, name = path.strip("/").split("/")
        for part in above:
            if not isinstance(node, _Directory):
                raise OSError(errno.ENOTDIR, "not a directory")
            node = node.names.get(part)
            if node is None:
                raise OSError(errno.ENOENT, "no such directory")
        if not isinstance(node, _Directory):
            raise OSError(errno.ENOTDIR, "not a directory")
        return node, name or "."


def _restored(node: _Directory, random: Random, files: dict[_File, _File]) -> _Directory:
    names = dict(node.durable)
    for name, changed in node.changes:
        if random.random() < 0.5:
            continue
        if changed is None:
            names.pop(name, None)
        else:
            names[name] = changed
    directory = _Directory(node.path)
    for name, child in names.items():
        if isinstance(child, _Directory):
            directory.names[name] = _restored(child, random, files)
        else:
            if child not in files:
                body = _left_of(child, random)
                files[child] = _File(bytearray(body), body, 0)
            files[child].links += 1
            directory.names[name] = files[child]
    directory.durable = dict(directory.names)
    return directory


def _left_of(file: _File, random: Random) -> bytes:
    lost = len(file.data) - len(file.durable)
    kept = random.choice([0, lost, random.randint(0, lost)])
    zeros = random.choice([0, lost - kept])
    return bytes(file.data[: len(file.durable) + kept]) + bytes(zeros)


def _paths(node: _Directory, above: str) -> list[str]:
    found = []
    for name, child in node.names.items():
        path = f"{above}/{name}"
        found += _paths(child, path) if isinstance(child, _Directory) else [path]
    return found
