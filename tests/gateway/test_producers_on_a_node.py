"""Idempotent producers on a whole node: over connections, lost flushes, crashes and time."""

import asyncio
from pathlib import Path

import pytest

from gateway.errors import ErrorCode
from gateway.producers import SEQUENCE_MASK
from protocol.batches import walk
from protocol.versions import ApiKey
from tests.support import compat
from tests.support.gateway import GatewayProcess
from tests.support.held_node import held_node
from tests.support.node_client import NodeClient, client, produce_frame
from tests.support.one_node import batch_of
from tests.support.until import until
from wal.errors import Fenced

NONE = ErrorCode.none
GAP = ErrorCode.out_of_order_sequence_number
OLD = ErrorCode.invalid_producer_epoch
PRODUCER = 77


def numbered(sequence: int, count: int = 2, epoch: int = 0) -> bytearray:
    return batch_of(count, producer_id=PRODUCER, producer_epoch=epoch, base_sequence=sequence)


async def sent(one: NodeClient, batch: bytearray) -> tuple[ErrorCode, int]:
    row = await one.produce("t", 0, batch)
    return row.error_code, row.base_offset


async def bases(one: NodeClient) -> list[int]:
    """The base offset of every batch that can be read."""
    found: list[int] = []
    offset = 0
    while records := (await one.fetch("t", 0, offset)).records:
        for _, header in walk(bytes(records)):
            found.append(header.base_offset)
            offset = header.last_offset + 1
    return found


async def test_a_duplicate_from_another_connection_shares_the_outcome_of_the_flush() -> None:
    async with held_node() as node, client(node.port) as first, client(node.port) as second:
        stream = node.partition().stream
        node.hold()
        asked = asyncio.create_task(sent(first, numbered(0)))
        await until(lambda: node.held == 1)
        for sequence in (0, 2):
            await second.wire.send(produce_frame("t", [(0, numbered(sequence))]))
        await until(lambda: node.log.appended_end(stream) == 4)
        duplicate = asyncio.create_task(second.answer(ApiKey.PRODUCE, 9))
        await asyncio.sleep(0)
        assert not asked.done()
        assert not duplicate.done()
        node.release()
        assert await asked == (NONE, 0)
        rows = [(await duplicate)[1], (await second.answer(ApiKey.PRODUCE, 9))[1]]
        assert [body.responses[0].partition_responses[0].base_offset for body in rows] == [0, 2]
        assert await bases(first) == [0, 2]


@pytest.mark.parametrize("landed", [False, True])
async def test_after_a_lost_flush_the_window_is_what_is_durable(landed: bool) -> None:
    async with held_node() as node, client(node.port) as one, client(node.port) as other:
        assert await sent(one, numbered(0)) == (NONE, 0)
        node.hold(landed=landed)
        asked = asyncio.create_task(sent(one, numbered(2)))
        await until(lambda: node.held == 1)
        epoch = node.log.epoch
        node.log._writer.poison(Fenced("another owner"))
        assert await asked == (ErrorCode.not_leader_or_follower, -1)
        node.release()
        await until(lambda: any(log.epoch > epoch for log in node.gateway.context.logs))
        assert await sent(other, numbered(4)) == ((NONE, 4) if landed else (GAP, -1))
        assert await sent(one, numbered(2)) == (NONE, 2)
        assert await bases(one) == ([0, 2, 4] if landed else [0, 2])


async def test_a_producer_idle_for_too_long_is_forgotten() -> None:
    async with held_node(producer_id_expiration_ms=60_000) as node, client(node.port) as one:
        assert await sent(one, numbered(0, epoch=3)) == (NONE, 0)
        node.clock.ahead_ms += 59_000
        assert await sent(one, numbered(5, epoch=3)) == (GAP, -1)
        node.clock.ahead_ms += 2_000
        assert await sent(one, numbered(5, epoch=1)) == (NONE, 2)
        assert await sent(one, numbered(7, epoch=1)) == (NONE, 4)


async def test_acks_0_of_an_idempotent_producer_is_not_answered_and_counts() -> None:
    async with held_node() as node, client(node.port) as one:
        await one.wire.send(produce_frame("t", [(0, numbered(0))], acks=0))
        assert await sent(one, numbered(2)) == (NONE, 2)


def test_what_a_killed_node_has_acknowledged_is_known_to_the_next(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path) as process:
        compat.create_topic(process.address, "t")
        last = SEQUENCE_MASK - 3

        def ask(*batches: bytearray) -> list[tuple[ErrorCode, int]]:
            async def all_of_them() -> list[tuple[ErrorCode, int]]:
                async with client(process.port) as one:
                    return [await sent(one, batch) for batch in batches]

            return asyncio.run(all_of_them())

        # Six batches, over the largest sequence: the first of them falls out of the window of five.
        sequences = [(last + 2 * i) & SEQUENCE_MASK for i in range(6)]
        batches = [numbered(sequence) for sequence in sequences]
        offsets = [(NONE, 2 * i) for i in range(6)]
        assert sequences[2] == 0
        assert ask(*batches) == offsets
        for _ in range(2):
            process.kill()
            process.start()
            assert ask(*batches[1:], batches[0]) == [*offsets[1:], (GAP, -1)]
        assert ask(numbered(99), numbered(1, epoch=1), numbered(0, epoch=9), numbered(8)) == [
            *[(GAP, -1)] * 2,
            (NONE, 12),
            (OLD, -1),
        ]
        process.kill()
        process.start()
        assert ask(numbered(8), numbered(0, epoch=9), numbered(2, epoch=9)) == [
            (OLD, -1),
            (NONE, 12),
            (NONE, 14),
        ]
