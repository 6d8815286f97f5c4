"""Retention on a whole node: what a topic does not keep is gone for readers, then from the store."""

import os
import random
from pathlib import Path

import pytest

from gateway.errors import ErrorCode
from gateway.logs import Stores
from gateway.runtime import Parts
from tests.support.gateway import running
from tests.support.held_node import LaterClock
from tests.support.node_client import client
from tests.support.one_node import batch_of
from tests.support.until import until
from wal.meta.memory import MemoryMetaStore
from wal.objects.filesystem import FileSystemObjectStore
from wal.objects.syscalls import OsFiles

EARLIEST = -2
BATCHES = 20
BATCH_BYTES = 10_000
MINUTE_MS = 60_000


def blocks(directory: Path) -> set[Path]:
    """All blocks in the store; directories may go while we look, which `walk` passes over."""
    return {
        Path(folder, name)
        for folder, _, names in os.walk(directory)
        for name in names
        if name.endswith(".block")
    }


@pytest.mark.parametrize(
    ("kept", "ahead_ms", "batches_left"),
    [
        ({"retention.bytes": str(4 * BATCH_BYTES), "retention.ms": "-1"}, 0, range(4, 9)),
        ({"retention.ms": "600000"}, 60 * MINUTE_MS, [0]),
    ],
)
async def test_what_is_not_kept_cannot_be_read_and_then_leaves_the_store(
    tmp_path: Path, kept: dict[str, str], ahead_ms: int, batches_left: range | list[int]
) -> None:
    clock = LaterClock()
    objects = await FileSystemObjectStore.open(tmp_path, OsFiles())
    parts = Parts(Stores(objects, MemoryMetaStore(clock)), clock, random.Random(1))
    async with (
        running(parts=parts, segment_blocks=2, retention_check_interval_ms=100) as gateway,
        client(gateway.server.port) as one,
    ):
        for name, config in (("given-up", kept), ("kept", {"retention.ms": "-1"})):
            await gateway.context.catalog.create(name, 1, config)
        log = next(iter(gateway.context.logs))
        partition = gateway.context.catalog.partition("given-up", 0)
        assert partition is not None
        for _ in range(BATCHES):
            batch = batch_of(1, value=bytes(BATCH_BYTES), times=[clock.now_ms()])
            assert (await one.produce("given-up", 0, batch)).error_code == ErrorCode.none
        before = blocks(tmp_path)
        clock.ahead_ms = ahead_ms
        # Old segments go once a newer one is sealed; a quiet partition needs others to write, or time.
        for _ in range(4):
            await one.produce("kept", 0, batch_of(1, times=[clock.now_ms()]))
        await until(lambda: BATCHES - log.start(partition.stream) in batches_left)
        start = log.start(partition.stream)
        assert (await one.list_offset("given-up", 0, EARLIEST)).offset == start
        assert (await one.fetch("given-up", 0, start - 1)).error_code == ErrorCode.offset_out_of_range

        def are_gone() -> bool:
            clock.ahead_ms += MINUTE_MS
            return len(before - blocks(tmp_path)) >= start - 2

        await until(are_gone)
        # Retention may have moved on since; what it keeps in the end can be read.
        while (await one.fetch("given-up", 0, start)).error_code != ErrorCode.none:
            assert log.start(partition.stream) > start
            start = log.start(partition.stream)
        assert (await one.fetch("kept", 0, 0)).records
    await objects.close()
