"""The cluster's record and its mark: made once, kept together, and never mixed with another's."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cluster_record import (
    CLUSTER_KEY,
    MARKS_PREFIX,
    SLOTS,
    ClusterRecord,
    decode,
    encode,
    join,
    new_id,
    new_record,
)
from wal.clock import SystemClock
from wal.errors import Corrupt, StoreRefused, Unavailable
from wal.meta.base import Compare, Delete, Operation, TxnResult
from wal.meta.memory import MemoryMetaStore
from wal.objects.memory import MemoryObjectStore
from wal.types import Buffer, LogId

WHERE = ("sqlite:///m", "file:///o")


async def joined(
    meta: MemoryMetaStore, objects: MemoryObjectStore, seed: int = 1, logs: int = 3
) -> ClusterRecord:
    return await join(meta, objects, logs=logs, random=random.Random(seed), where=WHERE)


def stores() -> tuple[MemoryMetaStore, MemoryObjectStore]:
    return MemoryMetaStore(SystemClock()), MemoryObjectStore()


@given(logs=st.integers(1, 100), seed=st.integers())
def test_a_record_is_read_as_it_was_written(logs: int, seed: int) -> None:
    record = new_record(logs, random.Random(seed))
    assert decode(encode(record)) == record
    assert len(record.slots) == SLOTS
    assert set(record.slots) <= set(record.logs)


@given(data=st.binary(max_size=200))
@settings(max_examples=200)
def test_any_bytes_are_a_record_or_corrupt(data: bytes) -> None:
    with suppress(Corrupt):
        decode(data)


def test_the_stored_bytes_stay_readable() -> None:
    golden = bytes.fromhex(
        "85a6666f726d617401a26964b65a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a41"
        "a46c6f67739100a5736c6f7473dc0040" + "00" * 64 + "a66d61726b6564c3"
    )
    record = decode(golden)
    assert record == ClusterRecord("Z" * 21 + "A", (LogId(0),), (LogId(0),) * 64, marked=True)
    assert encode(record) == golden


def test_an_id_is_a_uuid_of_kafka() -> None:
    for seed in range(200):
        text = new_id(random.Random(seed))
        assert len(text) == 22
        assert not text.startswith("-")


async def test_a_cluster_is_made_once_and_found_again() -> None:
    meta, objects = stores()
    first = await joined(meta, objects, seed=1)
    assert await joined(meta, objects, seed=2, logs=7) == first
    assert [info.key async for info in objects.list("")] == [MARKS_PREFIX + first.id]


async def test_wiped_metadata_is_refused() -> None:
    meta, objects = stores()
    record = await joined(meta, objects)
    await meta.txn((), (Delete(CLUSTER_KEY),))
    with pytest.raises(StoreRefused, match=record.id):
        await joined(meta, objects)


async def test_a_wiped_object_store_is_refused() -> None:
    meta, objects = stores()
    record = await joined(meta, objects)
    with pytest.raises(StoreRefused, match=record.id):
        await joined(meta, MemoryObjectStore())


async def test_the_stores_of_two_clusters_are_not_mixed() -> None:
    (meta, objects), (other_meta, other_objects) = stores(), stores()
    first, second = await joined(meta, objects, seed=1), await joined(other_meta, other_objects, seed=2)
    with pytest.raises(StoreRefused, match=rf"{first.id}.*{second.id}"):
        await joined(meta, other_objects)


async def test_data_without_a_mark_is_nobodys_to_begin_in() -> None:
    meta, objects = stores()
    await objects.put_if_absent("logs/0/s/0/0.block", [b"data"])
    with pytest.raises(StoreRefused, match="holds data of a log"):
        await joined(meta, objects)


class Dying(Exception):
    """The process ends here."""


class DyingMeta(MemoryMetaStore):
    """Dies before or after its n-th transaction."""

    def __init__(self, n: int, after: bool) -> None:
        super().__init__(SystemClock())
        self.n, self.after = n, after

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        self.n -= 1
        if self.n == 0 and not self.after:
            raise Dying
        result = await super().txn(compares, operations)
        if self.n == 0:
            raise Dying
        return result


class DyingObjects(MemoryObjectStore):
    """Dies before or after the first put; once."""

    def __init__(self, after: bool) -> None:
        super().__init__()
        self.after: bool | None = after

    async def put_if_absent(self, key: str, parts: Sequence[Buffer]) -> None:
        after, self.after = self.after, None
        if after is False:
            raise Dying
        await super().put_if_absent(key, parts)
        if after is True:
            raise Dying


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("where", ["first transaction", "mark", "second transaction"])
async def test_a_first_start_that_dies_anywhere_is_finished_by_the_next(where: str, after: bool) -> None:
    meta: MemoryMetaStore = MemoryMetaStore(SystemClock())
    objects: MemoryObjectStore = MemoryObjectStore()
    if where == "mark":
        objects = DyingObjects(after)
    else:
        meta = DyingMeta(1 if where == "first transaction" else 2, after)
    with pytest.raises(Dying):
        await joined(meta, objects, seed=1)
    record = await joined(meta, objects, seed=2)
    assert record.marked
    assert await joined(meta, objects, seed=3) == record
    assert [info.key async for info in objects.list("")] == [MARKS_PREFIX + record.id]


async def test_two_nodes_that_begin_together_begin_one_cluster() -> None:
    meta, objects = stores()
    outcomes = await asyncio.gather(
        *(joined(meta, objects, seed=seed) for seed in range(5)), return_exceptions=True
    )
    records = [one for one in outcomes if isinstance(one, ClusterRecord)]
    assert records
    assert len({record.id for record in records}) == 1
    assert all(isinstance(one, ClusterRecord | StoreRefused | Unavailable) for one in outcomes)
