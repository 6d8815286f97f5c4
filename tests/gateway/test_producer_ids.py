"""Producer ids are never given out twice, whoever asks and whoever dies."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.number_ranges import NUMBER_MAX
from gateway.producer_ids import COUNTER, ProducerIds
from wal.clock import SystemClock
from wal.errors import Corrupt
from wal.meta.base import Put
from wal.meta.memory import MemoryMetaStore

GOLDEN = Path(__file__).parent.parent / "golden" / "metadata"


def test_the_stored_bytes_stay_readable() -> None:
    golden = bytes.fromhex((GOLDEN / "producer-counter-1.hex").read_text())
    assert COUNTER.encode(3_000) == golden
    assert COUNTER.decode(golden) == 3_000


@given(st.integers(0, NUMBER_MAX))
def test_the_counter_is_read_as_it_was_written(following: int) -> None:
    assert COUNTER.decode(COUNTER.encode(following)) == following


@given(st.binary(max_size=60))
def test_any_bytes_are_a_counter_or_corrupt(data: bytes) -> None:
    with suppress(Corrupt):
        assert 0 <= COUNTER.decode(data) <= NUMBER_MAX


async def test_ids_differ_across_nodes_restarts_and_ranges() -> None:
    meta = MemoryMetaStore(SystemClock())
    taken: list[int] = []
    for _ in range(3):
        nodes = [ProducerIds(meta, range_size=10) for _ in range(3)]
        taken += await asyncio.gather(*(node.take() for node in nodes for _ in range(15)))
    assert len(set(taken)) == len(taken) == 3 * 3 * 15
    assert min(taken) >= 0


async def test_a_range_costs_one_change_of_the_metadata() -> None:
    meta = MemoryMetaStore(SystemClock())
    ids = ProducerIds(meta)
    assert [await ids.take() for _ in range(1000)] == list(range(1000))
    found = await meta.get(COUNTER.key)
    assert found is not None and found.revision == 1
    assert await ids.take() == 1000


async def test_used_up_numbers_are_an_error_and_not_used_again() -> None:
    meta = MemoryMetaStore(SystemClock())
    await meta.txn((), (Put(COUNTER.key, COUNTER.encode(NUMBER_MAX - 5)),))
    with pytest.raises(Corrupt, match="no producer ids left"):
        await ProducerIds(meta).take()
