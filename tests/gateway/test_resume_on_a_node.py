"""Resuming on a whole node: who read under an old leader epoch finds its records where they were."""

from pathlib import Path
from typing import NamedTuple

from gateway.errors import ErrorCode
from gateway.runtime import Gateway
from protocol.batches import read_header
from tests.support.gateway import running
from tests.support.node_client import NodeClient, client
from tests.support.one_node import batch_of
from wal.types import Position

LATEST = -1
EARLIEST = -2


class Era(NamedTuple):
    """What a consumer remembers of the node's life in which it read: the epoch of the last batch, its end."""

    epoch: int
    end: int


def leader_epoch(gateway: Gateway) -> int:
    partition = gateway.context.catalog.partition("t", 0)
    assert partition is not None
    return gateway.context.logs.partition_epoch(partition)


async def read(one: NodeClient, offset: int, epoch: int) -> Era:
    """As a consumer that knows the current leader epoch reads up to the end."""
    row = await one.fetch("t", 0, offset, leader_epoch=epoch)
    assert row.error_code == ErrorCode.none
    return Era(read_header(row.records).leader_epoch, row.high_watermark)


async def resumes(one: NodeClient, era: Era, current: int) -> None:
    """As Java's consumer validates its position: the end of its epoch must not lie below where it stands."""
    row = await one.epoch_end("t", 0, era.epoch, leader_epoch=current)
    assert (row.error_code, row.leader_epoch, row.end_offset) == (ErrorCode.none, era.epoch, era.end)


async def test_a_consumer_of_every_era_resumes_over_three_restarts(tmp_path: Path) -> None:
    eras: list[Era] = []
    epochs: list[int] = []
    for restart in range(4):
        async with running(tmp_path) as gateway, client(gateway.server.port) as one:
            if not restart:
                await gateway.context.catalog.create("t", 1, {})
            current = leader_epoch(gateway)
            assert current > max(epochs, default=-1)
            epochs.append(current)
            for era in eras:
                await resumes(one, era, current)
            if restart == 2:
                continue  # nothing is written under this epoch
            produced = [await one.produce("t", 0, batch_of(3)) for _ in range(2)]
            eras.append(await read(one, produced[-1].base_offset, current))
            assert eras[-1] == Era(current, produced[-1].base_offset + 3)
            latest = await one.list_offset("t", 0, LATEST, leader_epoch=current)
            assert (latest.offset, latest.leader_epoch) == (eras[-1].end, current)
            await resumes(one, Era(latest.leader_epoch, latest.offset), current)
            if restart == 3:
                silent = await one.epoch_end("t", 0, epochs[2])
                assert (silent.leader_epoch, silent.end_offset) == eras[1]


async def test_after_a_trim_epochs_end_at_the_start_or_where_they_did(tmp_path: Path) -> None:
    epochs: list[int] = []
    for restart in range(3):
        async with running(tmp_path) as gateway, client(gateway.server.port) as one:
            if not restart:
                await gateway.context.catalog.create("t", 1, {})
            epochs.append(leader_epoch(gateway))
            await one.produce("t", 0, batch_of(10))
            if restart == 1:
                partition = gateway.context.catalog.partition("t", 0)
                assert partition is not None
                log = gateway.context.logs.get(partition.log_id)
                await log.trim(partition.stream, Position(15)).wait()
    async with running(tmp_path) as gateway, client(gateway.server.port) as one:
        first, second, third = epochs
        asked = [first - 1, first, second, third, leader_epoch(gateway), leader_epoch(gateway) + 1]
        rows = [await one.epoch_end("t", 0, epoch) for epoch in asked]
        assert [(row.leader_epoch, row.end_offset) for row in rows] == [
            (first - 1, 15) if first else (-1, -1),
            (first, 15),
            (second, 20),
            (third, 30),
            (leader_epoch(gateway), 30),
            (-1, -1),
        ]
        earliest = await one.list_offset("t", 0, EARLIEST)
        assert (earliest.offset, earliest.leader_epoch) == (15, second)


async def test_requests_of_another_leader_epoch_are_refused_everywhere(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        await gateway.context.catalog.create("t", 1, {})
    async with running(tmp_path) as gateway, client(gateway.server.port) as one:
        current = leader_epoch(gateway)
        for believed, code in (
            (current - 1, ErrorCode.fenced_leader_epoch),
            (current, ErrorCode.none),
            (current + 1, ErrorCode.unknown_leader_epoch),
        ):
            rows = [
                await one.fetch("t", 0, 0, leader_epoch=believed),
                await one.list_offset("t", 0, LATEST, leader_epoch=believed),
                await one.epoch_end("t", 0, current, leader_epoch=believed),
            ]
            assert [row.error_code for row in rows] == [code] * 3
