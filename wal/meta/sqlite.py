"""The embedded metadata store on disk: one SQLite database, owned by one process for as long as that lives.

    <file>         table `records` (key, value, revision, lease), table `store` (revision); WAL journal,
    synchronous=FULL <file>.lock    locked while a process owns the database; holds its id

The records live in memory (`wal.meta.memory`); the database is their journal, written and flushed before a
change is seen. Because the lock dies with its process, every lease found at opening belongs to a dead one:
such records are removed at once, so that a restart after `kill -9` does not wait for itself. Leases
themselves are not stored.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from wal.clock import Clock
from wal.errors import Closed, StoreRefused, Unavailable
from wal.meta.base import Change, Compare, KeyValue, Lease, Operation, TxnResult
from wal.meta.memory import MemoryMetaStore
from wal.meta.records import Plan, Record, Records
from wal.objects.syscalls import OsFiles, make_directories, sync_directory

APPLICATION_ID = 0x44724C67
"""Marks a database as Drumlog's: "DrLg"."""

FORMAT = 1
"""The version of the tables, kept as SQLite's user_version."""

SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE records (
    key TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL,
    revision INTEGER NOT NULL,
    lease INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE store (revision INTEGER NOT NULL);
INSERT INTO store VALUES (0);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
COMMIT;
"""

ROLLED_BACK = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM)
"""Errors after which the database is surely as it was before the transaction."""

P = ParamSpec("P")
T = TypeVar("T")


class SqliteMetaStore:
    """A MetaStore in a SQLite database, for one process. `open` makes one; see there."""

    def __init__(self, store: MemoryMetaStore, journal: "_Journal") -> None:
        """`open` is the way in."""
        self._store = store
        self._journal = journal

    @classmethod
    async def open(cls, path: Path, clock: Clock) -> "SqliteMetaStore":
        """The store in the database at `path` (absolute); it and the directories above are made where
        missing.

        Raises StoreRefused with a sentence if another process has it, if it is damaged, another program's or
        of a newer format, or if the place cannot be used.
        """
        journal = _Journal(path)
        try:
            records = await journal.open()
        except BaseException:
            await journal.close()
            raise
        return cls(MemoryMetaStore(clock, journal, records), journal)

    async def get(self, key: str) -> KeyValue | None:
        """The newest value of the key; None where there is none."""
        return await self._store.get(key)

    async def list(self, prefix: str) -> tuple[Sequence[KeyValue], int]:
        """All records whose key begins with `prefix`, in key order, and the store's revision."""
        return await self._store.list(prefix)

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        """Do all operations if all compares hold and all leases are alive, durably; otherwise none."""
        return await self._store.txn(compares, operations)

    def watch(self, prefix: str, after: int) -> AsyncIterator[Change]:
        """Every change above `after`; only those of this process's life are kept, else WatchGap."""
        return self._store.watch(prefix, after)

    async def lease(self, ttl_s: float) -> Lease:
        """Grant a lease. It ends with the process, too."""
        return await self._store.lease(ttl_s)

    async def close(self) -> None:
        """Finish changes under way, close the database and let another process have it."""
        await self._store.close()
        await self._journal.close()


class _Journal:
    """The database, in its one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metadata")
        self._lock: int | None = None
        self._database: sqlite3.Connection | None = None
        self._broken: str | None = None
        self._closed = False

    async def open(self) -> Records:
        """Own the database and read it."""
        try:
            return await self._run(self._open)
        except OSError as failure:
            raise StoreRefused(f"{self._path} cannot hold metadata: {failure.strerror}") from failure
        except sqlite3.Error as failure:
            raise StoreRefused(
                f"{self._path} cannot be used as the metadata database: {failure};"
                " restore it from a copy, or name another file"
            ) from failure

    async def write(self, plan: Plan) -> None:
        """Make a plan durable. Raises Unavailable where that failed, and ever after where it is unknown."""
        if self._closed:
            raise Closed("the metadata store was closed")
        await self._run(self._write, plan)

    async def close(self) -> None:
        """Close the database, then give it up."""
        if not self._closed:
            self._closed = True
            await self._run(self._close)
            self._thread.shutdown()

    async def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: call(*args, **kwargs))

    def _open(self) -> Records:
        make_directories(OsFiles(), self._path.parent)
        self._own()
        self._database = sqlite3.connect(self._path, isolation_level=None, timeout=0)
        # EXCLUSIVE: no other program writes behind our back, and no shared memory file, which NFS could not
        # give.
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._check_format(self._database)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        if self._database.execute("PRAGMA application_id").fetchone()[0] == 0:
            self._database.executescript(SCHEMA)
        records = self._read(self._database)
        sync_directory(OsFiles(), self._path.parent)
        return records

    def _own(self) -> None:
        lock = self._path.with_name(self._path.name + ".lock")
        self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip()
            raise StoreRefused(
                f"{self._path} is in use by process {owner or 'unknown'}, which holds {lock};"
                " stop that process first, or give this one a metadata file of its own"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def _check_format(self, database: sqlite3.Connection) -> None:
        """Refuse what is not ours before anything is changed."""
        application = database.execute("PRAGMA application_id").fetchone()[0]
        version = database.execute("PRAGMA user_version").fetchone()[0]
        tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application != APPLICATION_ID and (application or version or tables):
            raise StoreRefused(f"{self._path} is another program's database; name another metadata file")
        if application == APPLICATION_ID and version != FORMAT:
            raise StoreRefused(
                f"{self._path} has format {version}, this Drumlog reads {FORMAT};"
                " start the version that wrote it"
            )
        damage = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise StoreRefused(f"{self._path} is damaged ({damage}); restore it from a copy")

    def _read(self, database: sqlite3.Connection) -> Records:
        revision = database.execute("SELECT revision FROM store").fetchone()[0]
        leased = database.execute("SELECT key FROM records WHERE lease != 0").fetchall()
        if leased:
            revision += 1
            self._write(Plan(revision, tuple((key, None) for (key,) in leased)))
        rows = database.execute("SELECT key, value, revision FROM records")
        return Records(revision, ((key, Record(value, changed, 0)) for key, value, changed in rows))

    def _write(self, plan: Plan) -> None:
        assert self._database is not None
        if self._broken is not None:
            raise Unavailable(
                f"{self._path} could not be written before ({self._broken}), so its state is unknown;"
                " see to the disk and start the process again"
            )
        execute = self._database.execute
        try:
            execute("BEGIN IMMEDIATE")
            for key, record in plan.changes:
                if record is None:
                    execute("DELETE FROM records WHERE key = ?", (key,))
                else:
                    execute("REPLACE INTO records VALUES (?, ?, ?, ?)", (key, *record))
            execute("UPDATE store SET revision = ?", (plan.revision,))
            execute("COMMIT")
        except sqlite3.Error as failure:
            self._roll_back(failure, plan.revision - 1)
            raise Unavailable(f"{self._path} could not be written: {failure}") from failure

    def _roll_back(self, failure: sqlite3.Error, revision: int) -> None:
        """Go on if the database is surely as before; else never write again: memory and disk may differ."""
        assert self._database is not None
        known = getattr(failure, "sqlite_errorcode", None) in ROLLED_BACK
        try:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            known = known and self._database.execute("SELECT revision FROM store").fetchone()[0] == revision
        except sqlite3.Error:
            known = False
        if not known:
            self._broken = str(failure)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
        if self._lock is not None:
            os.close(self._lock)
