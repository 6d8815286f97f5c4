"""Laws of stream numbers: in rows without gaps, and never twice, whoever else takes them or dies."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.number_ranges import RANGE_SIZE
from gateway.stream_ids import COUNTER, StreamIds
from tests.support.manual_clock import ManualClock
from wal.errors import Corrupt, Unavailable
from wal.meta.base import Compare, Operation, Put, TxnResult
from wal.meta.memory import MemoryMetaStore
from wal.types import STATE_STREAMS

GOLDEN = Path(__file__).parent.parent / "golden" / "metadata"


def new_meta() -> MemoryMetaStore:
    return MemoryMetaStore(ManualClock())


async def test_the_first_stream_is_the_first_data_stream_and_the_next_follows_without_a_gap() -> None:
    ids = StreamIds(new_meta())
    assert [await ids.take(1), await ids.take(5), await ids.take(2500), await ids.take(1)] == [
        STATE_STREAMS,
        STATE_STREAMS + 1,
        STATE_STREAMS + 6,
        STATE_STREAMS + 2506,
    ]


async def test_many_nodes_at_once_never_get_the_same_number() -> None:
    meta = new_meta()
    choose = random.Random(5)
    taken: set[int] = set()

    async def node() -> None:
        ids = StreamIds(meta, range_size=10)
        for _ in range(20):
            count = choose.randrange(1, 30)
            first = await ids.take(count)
            row = set(range(first, first + count))
            assert not row & taken
            taken.update(row)

    async with asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(node())


async def test_a_node_that_starts_again_takes_up_behind_everything_that_was_reserved() -> None:
    meta = new_meta()
    await StreamIds(meta).take(1)
    assert await StreamIds(meta).take(1) == STATE_STREAMS + RANGE_SIZE


class Unsure(MemoryMetaStore):
    """Does every transaction and says of the first that it does not know."""

    told = False

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        result = await super().txn(compares, operations)
        if not self.told:
            self.told = True
            raise Unavailable("no answer")
        return result


async def test_a_range_that_may_have_been_taken_is_not_taken_again() -> None:
    ids = StreamIds(Unsure(ManualClock()))
    with pytest.raises(Unavailable):
        await ids.take(1)
    assert await ids.take(1) == STATE_STREAMS + RANGE_SIZE


def test_the_counter_is_stored_as_it_has_always_been() -> None:
    assert COUNTER.encode(2024).hex() == (GOLDEN / "stream-counter-1.hex").read_text().strip()
    assert COUNTER.decode(COUNTER.encode(2024)) == 2024


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x01", COUNTER.encode(5), COUNTER.encode(2**63)])
async def test_a_counter_that_cannot_be_read_gives_no_numbers(data: bytes) -> None:
    meta = new_meta()
    await meta.txn([], [Put(COUNTER.key, data)])
    with pytest.raises(Corrupt, match=COUNTER.key):
        await StreamIds(meta).take(1)
