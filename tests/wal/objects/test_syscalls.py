"""The port to the system: the simulated one behaves as the real one does, as long as nothing crashes."""

import errno
import os
from pathlib import Path
from random import Random

import pytest

from tests.support.crashing_files import CrashingFiles
from wal.objects.syscalls import (
    CREATE_FLAGS,
    DIRECTORY_FLAGS,
    READ_FLAGS,
    DirectoryRow,
    FilePort,
    OsFiles,
    make_directories,
    read_all,
    write_all,
)

PATHS = ["a", "b", "a/a", "a/b", "b/a", "b/b/a"]


def step(files: FilePort, root: int, random: Random) -> object:
    """One random call, and what came of it."""
    call = random.choice(["create", "read", "mkdir", "rmdir", "link", "unlink", "rows", "size"])
    path, other = random.choice(PATHS), random.choice(PATHS)
    try:
        match call:
            case "create":
                fd = files.open(path, CREATE_FLAGS, root)
                write_all(files, fd, [b"some", b"", path.encode()])
                files.fdatasync(fd)
                files.close(fd)
            case "read":
                fd = files.open(path, READ_FLAGS, root)
                try:
                    return call, read_all(files, fd, 2, 100), files.stat(fd)
                finally:
                    files.close(fd)
            case "mkdir":
                files.mkdir(path, root)
            case "rmdir":
                files.rmdir(path, root)
            case "link":
                return call, linked(files, root, path, other)
            case "unlink":
                files.unlink(path, root)
            case "rows":
                return call, listed(files, root, path)
            case "size":
                fd = files.open(path, READ_FLAGS, root)
                files.close(fd)
                return call, files.size(path, root) % 4096
    except OSError as failure:
        return call, failure.errno
    return call


def linked(files: FilePort, root: int, source: str, target: str) -> str | None:
    fd = files.open(source, READ_FLAGS, root)
    try:
        read_all(files, fd, 0, 1)
        files.link(source, root, target, root)
    finally:
        files.close(fd)
    return None


def listed(files: FilePort, root: int, path: str) -> list[DirectoryRow]:
    fd = files.open(path, DIRECTORY_FLAGS, root)
    try:
        files.fsync(fd)
        return sorted(files.rows(fd))
    finally:
        files.close(fd)


@pytest.mark.parametrize("seed", range(8))
def test_the_simulated_system_answers_as_the_real_one(tmp_path: Path, seed: int) -> None:
    traces = []
    for files in (OsFiles(), CrashingFiles()):
        make_directories(files, tmp_path / "root")
        root = files.open(str(tmp_path / "root"), DIRECTORY_FLAGS)
        random = Random(seed)
        traces.append([step(files, root, random) for _ in range(300)])
        files.close(root)
    assert list(enumerate(traces[0])) == list(enumerate(traces[1]))


@pytest.mark.parametrize("files", [OsFiles(), CrashingFiles()], ids=lambda files: type(files).__name__)
def test_an_open_directory_that_was_removed_takes_no_names(tmp_path: Path, files: FilePort) -> None:
    make_directories(files, tmp_path / "root" / "a")
    root = files.open(str(tmp_path / "root"), DIRECTORY_FLAGS)
    fd = files.open("a", DIRECTORY_FLAGS, root)
    files.rmdir("a", root)
    files.mkdir("a", root)
    again = files.open(".", DIRECTORY_FLAGS, fd)
    file = files.open("f", CREATE_FLAGS, root)
    for removed in (fd, again):
        with pytest.raises(FileNotFoundError):
            files.link("f", root, "x", removed)
        with pytest.raises(FileNotFoundError):
            files.mkdir("x", removed)
        files.close(removed)
    files.close(file)
    files.close(root)


@pytest.mark.parametrize("files", [OsFiles(), CrashingFiles()], ids=lambda files: type(files).__name__)
def test_a_lock_is_held_until_its_file_is_closed(tmp_path: Path, files: FilePort) -> None:
    make_directories(files, tmp_path)
    root = files.open(str(tmp_path), DIRECTORY_FLAGS)
    one = files.open("lock", CREATE_FLAGS, root)
    two = files.open("lock", os.O_RDWR, root)
    assert files.lock(one)
    assert not files.lock(two)
    files.close(one)
    assert files.lock(two)
    files.close(two)
    files.close(root)


def test_a_file_that_takes_no_bytes_is_an_error() -> None:
    class Stuck(CrashingFiles):
        def writev(self, fd: int, parts: object) -> int:
            return 0

    with pytest.raises(OSError, match="no more bytes"):
        write_all(Stuck(), 3, [b"x"])


def test_a_file_cut_short_ends_a_read() -> None:
    class Hesitant(CrashingFiles):
        def pread(self, fd: int, length: int, start: int) -> bytes:
            return b"abcdef"[start : start + min(length, 2)]

    assert read_all(Hesitant(), 3, 1, 4) == b"bcde"
    assert read_all(Hesitant(), 3, 1, 100) == b"bcdef"


def test_directories_above_that_may_not_be_opened_are_left_alone(tmp_path: Path) -> None:
    class Strict(OsFiles):
        def open(self, path: str, flags: int, directory: int | None = None) -> int:
            if path == "/":
                raise OSError(errno.EACCES, "no")
            return super().open(path, flags, directory)

    make_directories(Strict(), tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()

    class Failing(OsFiles):
        def fsync(self, fd: int) -> None:
            raise OSError(errno.EIO, "no")

    with pytest.raises(OSError, match="no"):
        make_directories(Failing(), tmp_path / "c")
