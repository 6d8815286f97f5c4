"""Laws of waiting: told once and as soon as it is so, never later than asked, and nothing is left behind."""

import asyncio

import pytest

from gateway.waiters import FlushWait, GrowthWait
from tests.support.one_node import OneNode, batch_of
from wal.durability import Flush
from wal.errors import Fenced
from wal.types import Position, StreamId

STREAM = StreamId(1024)


async def test_flushes_are_answered_when_the_last_of_them_is_done() -> None:
    flushes = [Flush(), Flush()]
    wait = FlushWait(flushes, 60_000, lambda: [flush.done for flush in flushes])
    flushes[1].succeed()
    assert not wait.future.done()
    flushes[0].fail(Fenced("x"))
    assert await wait.future == [True, True]


async def test_flushes_that_are_done_already_are_answered_at_once() -> None:
    flush = Flush()
    flush.succeed()
    assert FlushWait([flush], 60_000, lambda: "now").future.done()


async def test_a_time_out_answers_with_what_is_known_then() -> None:
    flushes = [Flush(), Flush()]
    flushes[0].succeed()
    wait = FlushWait(flushes, 0, lambda: [flush.done for flush in flushes])
    assert await wait.future == [True, False]
    flushes[1].succeed()


async def test_an_answer_that_cannot_be_made_is_the_futures_failure() -> None:
    def answer() -> None:
        raise ZeroDivisionError

    flush = Flush()
    wait = FlushWait([flush], 60_000, answer)
    flush.succeed()
    with pytest.raises(ZeroDivisionError):
        await wait.future


async def test_a_cancelled_future_is_left_alone() -> None:
    flush = Flush()
    wait = FlushWait([flush], 60_000, lambda: None)
    wait.future.cancel()
    flush.succeed()
    assert wait.future.cancelled()


@pytest.fixture
async def node() -> OneNode:
    made = OneNode()
    made.add_topic("t", 2)
    return made


def is_awake(wait: GrowthWait) -> bool:
    return wait._future.done()


async def test_growth_counts_over_all_streams_up_to_what_each_may_give(node: OneNode) -> None:
    size = len(batch_of(1))
    wait = GrowthWait(3 * size)
    for stream in (1024, 1025):
        wait.watch(node.log, StreamId(stream), Position(0), 2 * size)  # type: ignore[arg-type]
    for _ in range(4):
        node.put(1024, batch_of(1))
    assert not is_awake(wait)
    node.put(1025, batch_of(1))
    assert is_awake(wait)
    await wait.until(60)
    wait.close()
    assert node.log.watched == 0


async def test_growth_between_the_look_and_the_watch_is_not_missed(node: OneNode) -> None:
    node.put(1024, batch_of(1))
    wait = GrowthWait(1)
    wait.watch(node.log, STREAM, Position(0), 1_000)  # type: ignore[arg-type]
    assert is_awake(wait)
    wait.close()


async def test_growth_that_memory_does_not_hold_wakes(node: OneNode) -> None:
    wait = GrowthWait(1_000_000)
    wait.watch(node.log, STREAM, Position(0), 1 << 30)  # type: ignore[arg-type]
    node.log.cold_below[STREAM] = 10
    node.put(1024, batch_of(1))
    assert is_awake(wait)
    wait.close()


async def test_a_lost_log_wakes(node: OneNode) -> None:
    wait = GrowthWait(1_000_000)
    wait.watch(node.log, STREAM, Position(0), 1 << 30)  # type: ignore[arg-type]
    node.log.lose(Fenced("x"))
    assert is_awake(wait)
    wait.close()


async def test_time_wakes(node: OneNode) -> None:
    wait = GrowthWait(1)
    wait.watch(node.log, STREAM, Position(0), 1)  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        await wait.until(0)
    wait.close()
