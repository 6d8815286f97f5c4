"""The SQLite store keeps the contract, across restarts and `kill -9`, and belongs to one process."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.manual_clock import ManualClock
from tests.wal.meta.contract import MetaStoreContract, Pass, put
from wal.errors import Closed, StoreRefused, Unavailable
from wal.meta.base import Delete, KeyValue, Put, WatchGap
from wal.meta.sqlite import APPLICATION_ID, FORMAT, SqliteMetaStore


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "not" / "there" / "meta.db"


@pytest.fixture
async def store(path: Path, clock: ManualClock) -> AsyncIterator[SqliteMetaStore]:
    store = await SqliteMetaStore.open(path, clock)
    yield store
    await store.close()


@pytest.fixture
def time_passes(clock: ManualClock, store: SqliteMetaStore) -> Pass:
    async def advance(seconds: float) -> None:
        clock.advance(seconds)
        await store.get("anything")

    return advance


class TestSqliteMetaStore(MetaStoreContract):
    pass


async def test_records_and_revisions_are_there_after_a_restart(path: Path, clock: ManualClock) -> None:
    store = await SqliteMetaStore.open(path, clock)
    await put(store, "a", b"1")
    await store.txn([], [Put("b", b"\x00\xff"), Put("c", b"")])
    await store.txn([], [Delete("c")])
    await store.close()
    store = await SqliteMetaStore.open(path, clock)
    assert await store.list("") == ((KeyValue("a", b"1", 1), KeyValue("b", b"\x00\xff", 2)), 3)
    with pytest.raises(WatchGap):
        await anext(store.watch("", 2))
    assert await put(store, "a", b"2") == 4
    await store.close()


async def test_leases_and_their_keys_do_not_outlive_their_process(path: Path, clock: ManualClock) -> None:
    store = await SqliteMetaStore.open(path, clock)
    lease = await store.lease(1000)
    await store.txn([], [Put("leased", b"x", lease.id), Put("freed", b"x", lease.id)])
    await put(store, "freed", b"y")
    await store.close()
    for _ in range(2):
        store = await SqliteMetaStore.open(path, clock)
        assert [row.key for row in (await store.list(""))[0]] == ["freed"]
        # One transaction removed what was leased, durably, and no second one.
        assert (await store.list(""))[1] == 3
        await store.close()


CHILD = """
import asyncio, sys
from pathlib import Path
from wal.clock import SystemClock
from wal.meta.base import Put
from wal.meta.sqlite import SqliteMetaStore

async def main():
    store = await SqliteMetaStore.open(Path(sys.argv[1]), SystemClock())
    lease = await store.lease(1000)
    await store.txn([], [Put("session", b"x", lease.id)])
    n = 0
    while True:
        await store.txn([], [Put("counter", b"%d" % n)])
        sys.stdout.write(f"{n}\\n")
        sys.stdout.flush()
        n += 1

asyncio.run(main())
"""


async def test_a_killed_process_loses_nothing_it_answered_and_its_successor_need_not_wait(
    path: Path, clock: ManualClock
) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    for _ in range(20):
        await child.stdout.readline()
    with pytest.raises(
        StoreRefused, match=f"meta.db is in use by process {child.pid}, which holds .*meta.db.lock"
    ):
        await SqliteMetaStore.open(path, clock)
    child.send_signal(signal.SIGKILL)
    answered = (await child.stdout.read()).split()
    await child.wait()
    store = await SqliteMetaStore.open(path, clock)
    found = await store.get("counter")
    assert found is not None
    assert int(found.value) >= (int(answered[-1]) if answered else 19)
    assert await store.get("session") is None
    await store.close()


async def test_one_process_cannot_open_it_twice(
    store: SqliteMetaStore, path: Path, clock: ManualClock
) -> None:
    with pytest.raises(StoreRefused, match=f"in use by process {os.getpid()}, which holds"):
        await SqliteMetaStore.open(path, clock)
    await put(store, "still", b"works")


async def test_a_closed_store_refuses_and_may_be_closed_again(store: SqliteMetaStore) -> None:
    lease = await store.lease(5)
    await store.close()
    await store.close()
    with pytest.raises(Closed):
        await store.get("a")
    with pytest.raises(Closed):
        await store.txn([], [Put("a", b"")])
    with pytest.raises(Closed):
        await lease.revoke()


async def test_a_cancelled_transaction_runs_to_its_end(store: SqliteMetaStore) -> None:
    for n in range(20):
        task = asyncio.create_task(store.txn([], [Put("a", b"%d" % n)]))
        for _ in range(n % 4):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        # Whether it began or not: memory and disk go on together.
        await put(store, "b", b"%d" % n)
    rows, revision = await store.list("")
    assert revision == rows[-1].revision


async def test_closing_waits_for_the_changes_under_way(path: Path, clock: ManualClock) -> None:
    store = await SqliteMetaStore.open(path, clock)
    writes = [asyncio.create_task(put(store, f"k/{n}", b"x")) for n in range(10)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await store.close()
    done = await asyncio.gather(*writes, return_exceptions=True)
    store = await SqliteMetaStore.open(path, clock)
    assert len((await store.list("k/"))[0]) == sum(isinstance(revision, int) for revision in done)
    await store.close()


async def test_a_full_disk_is_unavailable_and_over_when_there_is_room_again(store: SqliteMetaStore) -> None:
    await put(store, "a", b"1")
    await with_pages_max(store, 1)
    with pytest.raises(Unavailable, match="full"):
        await put(store, "a", bytes(500_000))
    assert await store.get("a") == KeyValue("a", b"1", 1)
    await with_pages_max(store, 1 << 30)
    assert await put(store, "a", bytes(500_000)) == 2


async def with_pages_max(store: SqliteMetaStore, count: int) -> None:
    """Let the disk be full, or not."""
    database = store._journal._database
    assert database is not None
    await store._journal._run(lambda: database.execute(f"PRAGMA max_page_count = {count}").fetchone())


async def test_after_a_write_of_unknown_outcome_nothing_is_written_any_more(
    store: SqliteMetaStore, path: Path
) -> None:
    await put(store, "a", b"1")
    database = store._journal._database
    assert database is not None
    await store._journal._run(lambda: database.execute("DROP TABLE store"))
    with pytest.raises(Unavailable, match="could not be written: no such table"):
        await put(store, "a", b"2")
    with pytest.raises(Unavailable, match="start the process again"):
        await put(store, "a", b"3")
    assert await store.get("a") == KeyValue("a", b"1", 1)


async def refusal(path: Path, clock: ManualClock) -> str:
    with pytest.raises(StoreRefused) as refused:
        await SqliteMetaStore.open(path, clock)
    return str(refused.value)


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def read(path: Path) -> bytes:
    return path.read_bytes()


async def test_what_is_no_database_is_refused(path: Path, clock: ManualClock) -> None:
    write(path, b"this is no database, but long enough to look at" * 100)
    assert "cannot be used as the metadata database: file is not a database" in await refusal(path, clock)


async def test_a_damaged_database_is_refused(path: Path, clock: ManualClock) -> None:
    store = await SqliteMetaStore.open(path, clock)
    for n in range(200):
        await put(store, f"k/{n}", bytes(500))
    await store.close()
    content = read(path)
    write(path, content[:8192] + b"\xa5" * (len(content) - 8192))
    assert "restore it from a copy" in await refusal(path, clock)


async def test_another_programs_database_is_refused_and_left_alone(path: Path, clock: ManualClock) -> None:
    write(path, b"")
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE theirs (a)")
    database.close()
    before = read(path)
    assert "is another program's database" in await refusal(path, clock)
    assert read(path) == before


async def test_a_newer_format_is_refused(path: Path, clock: ManualClock) -> None:
    await (await SqliteMetaStore.open(path, clock)).close()
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {FORMAT + 1}")
    database.close()
    assert f"has format {FORMAT + 1}, this Drumlog reads {FORMAT}" in await refusal(path, clock)


async def test_a_place_that_cannot_be_used_is_refused(path: Path, clock: ManualClock) -> None:
    write(path / "file", b"")
    assert "cannot be used as the metadata database" in await refusal(path, clock)
    assert "cannot hold metadata: Not a directory" in await refusal(path / "file" / "meta.db", clock)


async def test_the_database_is_marked_and_flushed_at_each_commit(store: SqliteMetaStore) -> None:
    database = store._journal._database
    assert database is not None

    def settings() -> list[object]:
        names = ["application_id", "user_version", "journal_mode", "synchronous", "locking_mode"]
        return [database.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await store._journal._run(settings) == [APPLICATION_ID, FORMAT, "wal", 2, "exclusive"]
