"""The file system store on a real disk: the contract, restarts, and errors as the log knows them."""

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.crashing_files import CrashingFiles
from tests.wal.objects.contract import ObjectStoreContract
from wal.errors import Closed, StoreRefused, Unavailable
from wal.objects.base import ObjectMissing
from wal.objects.filesystem import FileSystemObjectStore
from wal.objects.syscalls import OsFiles


class TestFileSystemObjectStore(ObjectStoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[FileSystemObjectStore]:
        store = await FileSystemObjectStore.open(tmp_path / "not" / "there", OsFiles())
        yield store
        await store.close()
        assert list((tmp_path / "not" / "there" / "tmp").iterdir()) == []


async def test_objects_are_there_after_a_restart_without_a_close(tmp_path: Path) -> None:
    first = await FileSystemObjectStore.open(tmp_path, OsFiles())
    await first.put_if_absent("a/b/c", [b"kept"])
    second = await FileSystemObjectStore.open(tmp_path, OsFiles())
    assert await second.get("a/b/c") == b"kept"
    assert [row.key async for row in second.list("")] == ["a/b/c"]
    await first.close()
    await second.close()


async def test_two_stores_on_one_directory_race_as_one(tmp_path: Path) -> None:
    stores = [await FileSystemObjectStore.open(tmp_path, OsFiles()) for _ in range(2)]
    outcomes = await asyncio.gather(
        *(stores[n % 2].put_if_absent("a/raced", [bytes([n])]) for n in range(32)), return_exceptions=True
    )
    assert outcomes.count(None) == 1
    for store in stores:
        assert await store.get("a/raced") == bytes([outcomes.index(None)])
        await store.close()


async def test_a_closed_store_refuses_and_may_be_closed_again(tmp_path: Path) -> None:
    store = await FileSystemObjectStore.open(tmp_path, OsFiles())
    await store.close()
    await store.close()
    with pytest.raises(Closed):
        await store.get("a")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EMFILE])
async def test_a_disk_error_is_unavailable_with_a_sentence(code: int) -> None:
    files = CrashingFiles()
    store = await FileSystemObjectStore.open(Path("/data"), files, threads=1)
    number = len(files.calls)
    files.fail = dict.fromkeys(range(number, number + 100), code)
    with pytest.raises(Unavailable, match="writing a/b failed in /data: "):
        await store.put_if_absent("a/b", [b"x"])
    with pytest.raises(Unavailable, match="reading a/b failed in /data: "):
        await store.get("a/b")
    with pytest.raises(Unavailable, match="listing a/ failed in /data: "):
        async for _ in store.list("a/"):
            pass
    with pytest.raises(Unavailable, match="deleting a/b failed in /data: "):
        await store.delete(["a/b"])
    files.fail = {}
    with pytest.raises(ObjectMissing):
        await store.get("a/b")
    await store.close()


async def test_a_directory_that_cannot_be_used_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreRefused, match="file/x cannot hold objects: Not a directory"):
        await FileSystemObjectStore.open(tmp_path / "file" / "x", OsFiles())


async def test_a_cancelled_put_runs_on_to_its_end(tmp_path: Path) -> None:
    store = await FileSystemObjectStore.open(tmp_path, OsFiles(), threads=1)
    put = asyncio.create_task(store.put_if_absent("a/b", [b"x" * 100]))
    await asyncio.sleep(0)
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    # One thread: by the time it answers again it is done with, or never began, the first one.
    rows = [row async for row in store.list("")]
    assert rows in ([], [("a/b", 100)])
    await store.close()
