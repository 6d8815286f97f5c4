"""The system calls of the file system store, as a port: the real one is `os`; tests record them and crash
between them.

Every name is relative to an open directory, so that a directory that was removed and made again is never
mistaken for its predecessor. All calls block, raise OSError, and may come from several threads.
"""

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from wal.types import Buffer

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC
CREATE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
PARTS_PER_WRITE = 1024
"""Buffers that one writev takes (IOV_MAX on Linux)."""


class FileStat(NamedTuple):
    """Size in bytes and number of names of an open file."""

    size: int
    links: int


class DirectoryRow(NamedTuple):
    """One name in a directory."""

    name: str
    is_directory: bool


class FilePort(Protocol):
    """What the file system store asks of the operating system. Paths without `directory` are absolute."""

    def token(self) -> str:
        """A name that nobody has had before."""

    def open(self, path: str, flags: int, directory: int | None = None) -> int:
        """Open or create; the descriptor is not inherited by children."""

    def close(self, fd: int) -> None:
        """Give the descriptor back."""

    def writev(self, fd: int, parts: Sequence[memoryview]) -> int:
        """Write at most PARTS_PER_WRITE buffers; returns how many bytes went out, maybe fewer than given."""

    def pread(self, fd: int, length: int, start: int) -> bytes:
        """Read at most `length` bytes from `start`; empty at the end."""

    def stat(self, fd: int) -> FileStat:
        """Size and links of an open file."""

    def size(self, path: str, directory: int) -> int:
        """Size of a file by name."""

    def fdatasync(self, fd: int) -> None:
        """Make a file's content and size durable."""

    def fsync(self, fd: int) -> None:
        """Make a directory's names durable."""

    def link(self, source: str, source_directory: int, target: str, target_directory: int) -> None:
        """Give a file a second name, if that name is free."""

    def unlink(self, path: str, directory: int) -> None:
        """Remove a file's name."""

    def mkdir(self, path: str, directory: int | None = None) -> None:
        """Make a directory."""

    def rmdir(self, path: str, directory: int) -> None:
        """Remove a directory that is empty."""

    def rows(self, fd: int) -> list[DirectoryRow]:
        """All names in an open directory, in no order, without `.` and `..`."""

    def lock(self, fd: int) -> bool:
        """Lock the file for as long as it stays open. False: somebody else has."""


class OsFiles:
    """The operating system's own calls."""

    def token(self) -> str:
        """128 random bits."""
        return secrets.token_hex(16)

    def open(self, path: str, flags: int, directory: int | None = None) -> int:
        """openat, mode 0640."""
        return os.open(path, flags, 0o640, dir_fd=directory)

    def close(self, fd: int) -> None:
        """close."""
        os.close(fd)

    def writev(self, fd: int, parts: Sequence[memoryview]) -> int:
        """writev."""
        return os.writev(fd, parts)

    def pread(self, fd: int, length: int, start: int) -> bytes:
        """pread."""
        return os.pread(fd, length, start)

    def stat(self, fd: int) -> FileStat:
        """fstat."""
        status = os.fstat(fd)
        return FileStat(status.st_size, status.st_nlink)

    def size(self, path: str, directory: int) -> int:
        """fstatat."""
        return os.stat(path, dir_fd=directory).st_size

    def fdatasync(self, fd: int) -> None:
        """fdatasync, or fsync where there is none."""
        getattr(os, "fdatasync", os.fsync)(fd)

    def fsync(self, fd: int) -> None:
        """fsync."""
        os.fsync(fd)

    def link(self, source: str, source_directory: int, target: str, target_directory: int) -> None:
        """linkat."""
        os.link(source, target, src_dir_fd=source_directory, dst_dir_fd=target_directory)

    def unlink(self, path: str, directory: int) -> None:
        """unlinkat."""
        os.unlink(path, dir_fd=directory)

    def mkdir(self, path: str, directory: int | None = None) -> None:
        """mkdirat, mode 0750."""
        os.mkdir(path, 0o750, dir_fd=directory)

    def rmdir(self, path: str, directory: int) -> None:
        """unlinkat with AT_REMOVEDIR."""
        os.rmdir(path, dir_fd=directory)

    def rows(self, fd: int) -> list[DirectoryRow]:
        """getdents; the kind of a name comes with it on most file systems."""
        with os.scandir(fd) as rows:
            return [DirectoryRow(row.name, row.is_dir(follow_symlinks=False)) for row in rows]

    def lock(self, fd: int) -> bool:
        """flock: it ends with the process, however that ends."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def make_directories(files: FilePort, path: Path) -> None:
    """Make the absolute `path` and what is missing above it; on return all of it survives a crash.

    A directory that is there already may be the work of a process that was killed before its fsync, so the
    names of those are made durable as well, as far as this process may: one it cannot open it cannot have
    made.
    """
    for directory in [*reversed(path.parents), path][1:]:
        made = True
        try:
            files.mkdir(str(directory))
        except FileExistsError:
            made = False
        try:
            sync_directory(files, directory.parent)
        except OSError as failure:
            if made or failure.errno not in (errno.EACCES, errno.EPERM, errno.EINVAL, errno.EROFS):
                raise


def sync_directory(files: FilePort, path: Path) -> None:
    """Make the names in the directory at `path` durable."""
    fd = files.open(str(path), DIRECTORY_FLAGS)
    try:
        files.fsync(fd)
    finally:
        files.close(fd)


def write_all(files: FilePort, fd: int, parts: Sequence[Buffer]) -> None:
    """Write the parts one after another without joining them, however few bytes each call takes."""
    left = [view for view in (memoryview(part).cast("B") for part in parts) if view.nbytes]
    at = 0
    while at < len(left):
        written = files.writev(fd, left[at : at + PARTS_PER_WRITE])
        if not written:
            raise OSError(errno.EIO, "the file takes no more bytes")
        while written:
            size = left[at].nbytes
            if written < size:
                left[at] = left[at][written:]
                break
            written -= size
            at += 1


def read_all(files: FilePort, fd: int, start: int, length: int) -> bytes:
    """Read `length` bytes from `start`, fewer only where the file ends before."""
    body = files.pread(fd, length, start)
    if len(body) in (0, length):
        return body
    pieces = [body]
    got = len(body)
    while got < length:
        piece = files.pread(fd, length - got, start + got)
        if not piece:
            break
        pieces.append(piece)
        got += len(piece)
    return b"".join(pieces)


def try_close(files: FilePort, fd: int) -> None:
    """Close a descriptor whose content no longer matters, or was made durable before."""
    with contextlib.suppress(OSError):
        files.close(fd)
