"""The log on a file system that loses power: what was acknowledged survives, entry by entry."""

from pathlib import Path

import pytest

from tests.support.crashing_files import CrashingFiles
from tests.support.logs import World, data, read_all, world
from wal.errors import WalError
from wal.objects.filesystem import FileSystemObjectStore
from wal.types import StreamId

ROOT = Path("/store")
STREAMS = (StreamId(2000), StreamId(2001))


async def _acknowledged_on(files: CrashingFiles, w: World) -> dict[StreamId, bytes]:
    """Write through segments and checkpoints on these files, then lose the power; what was acknowledged."""
    store = await FileSystemObjectStore.open(ROOT, files, threads=1)
    session = await w.session()
    log = await w.open(session=session, objects=store, segment_blocks=3)
    acknowledged = dict.fromkeys(STREAMS, b"")
    for i in range(10):
        appended = [log.append(stream, data(f"{i}{stream % 10};")) for stream in STREAMS]
        await appended[-1].flush.wait()
        for stream in STREAMS:
            acknowledged[stream] += f"{i}{stream % 10};".encode()
    await w.kill(log, session)
    await store.close()
    return acknowledged


async def _found_on(files: CrashingFiles, w: World) -> dict[StreamId, bytes]:
    store = await FileSystemObjectStore.open(ROOT, files, threads=1)
    session = await w.session(1)
    log = await w.open(1, session=session, objects=store)
    found = {stream: await read_all(log, stream) for stream in STREAMS}
    await w.kill(log, session)
    await store.close()
    return found


@pytest.mark.parametrize("seed", range(8))
async def test_every_acknowledged_entry_survives_a_loss_of_power(seed: int) -> None:
    async with world() as w:
        files = CrashingFiles()
        acknowledged = await _acknowledged_on(files, w)
        assert await _found_on(files.crash(seed), w) == acknowledged


async def test_without_its_flushes_the_disk_loses_acknowledged_entries() -> None:
    """The test of the test: were no flush done, some seed must lose or tear something."""
    losses = 0
    for seed in range(8):
        async with world() as w:
            files = CrashingFiles(skip=range(10_000))
            acknowledged = await _acknowledged_on(files, w)
            try:
                losses += await _found_on(files.crash(seed), w) != acknowledged
            except WalError:
                losses += 1
    assert losses


async def test_consumers_at_the_tail_never_touch_the_store() -> None:
    async with world() as w:
        files = CrashingFiles()
        store = await FileSystemObjectStore.open(ROOT, files, threads=1)
        session = await w.session()
        log = await w.open(session=session, objects=store, segment_blocks=100)
        position = log.durable_end(STREAMS[0])
        for i in range(20):
            await log.append(STREAMS[0], data(str(i))).flush.wait()
            calls = len(files.calls)
            piece = log.read_cached(STREAMS[0], position, 100)
            assert piece is not None and bytes(piece.parts[0]) == str(i).encode()
            assert len(files.calls) == calls
            position = piece.end
        await w.kill(log, session)
        await store.close()
