"""The log's laws at its edges: closing while appends come, reads that race with truncation, late answers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from tests.support.logs import LOG, FaultyObjects, TagList, data, read_all, world
from wal import keys
from wal.errors import Closed, Trimmed, Unavailable
from wal.log import Log
from wal.meta.base import Compare, MetaStore, Operation, Put, TxnResult
from wal.types import Entry, Position, StreamId

A, B = StreamId(2000), StreamId(2001)
STATE = StreamId(3)


class FaultyMeta:
    """The metadata store of a world, whose transactions may be held or left without an answer."""

    def __init__(self, meta: MetaStore) -> None:
        self._meta = meta
        self._txn = meta.txn
        self.before: Callable[[Sequence[Operation]], Awaitable[None]] | None = None
        self.after: Callable[[Sequence[Operation]], Awaitable[None]] | None = None
        meta.txn = self.txn  # type: ignore[method-assign]

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        if self.before is not None:
            await self.before(operations)
        result = await self._txn(compares, operations)
        if self.after is not None:
            await self.after(operations)
        return result


async def test_an_append_while_the_log_closes_is_refused_or_kept() -> None:
    async with world() as w:
        objects, held = FaultyObjects(w.objects), asyncio.Event()

        async def before(method: str, key: str) -> None:
            if method == "put" and "/c/" in key:
                await held.wait()

        objects.before = before
        log = await w.open(objects=objects)
        await log.append(A, data("0")).flush.wait()
        closing = asyncio.ensure_future(log.close())
        await _until(lambda: any("/c/" in key for _, key in objects.calls))
        with pytest.raises(Closed):
            log.append(A, data("1"))
        with pytest.raises(Closed):
            await log.prove()
        held.set()
        await closing
        again = await w.open(1)
        assert await read_all(again, A) == b"0"


async def test_what_is_pending_when_the_log_closes_is_flushed_and_nothing_is_added() -> None:
    async with world() as w:
        objects, held = FaultyObjects(w.objects), asyncio.Event()

        async def before(method: str, key: str) -> None:
            if method == "put" and "/s/" in key:
                await held.wait()

        log = await w.open(objects=objects)
        objects.before = before
        flush = log.append(A, data("0")).flush
        closing = asyncio.ensure_future(log.close())
        await _until(lambda: any("/s/" in key for _, key in objects.calls))
        with pytest.raises(Closed):
            log.append(A, data("1"))
        held.set()
        await flush.wait()
        await closing
        again = await w.open(1)
        assert await read_all(again, A) == b"0"


async def test_closing_while_a_full_segment_waits_for_the_next_ones_record_seals_it_once() -> None:
    async with world() as w:
        meta, held = FaultyMeta(w.meta), asyncio.Event()
        objects = FaultyObjects(w.objects)
        log = await w.open(objects=objects, segment_blocks=2)
        second = keys.segment_key(LOG, 1)

        async def before(operations: Sequence[Operation]) -> None:
            if any(isinstance(one, Put) and one.key == second for one in operations):
                await held.wait()

        async def let_go(method: str, key: str) -> None:
            if method == "put" and "-dir-" in key:
                held.set()
                await _turns(50)

        meta.before = before
        objects.before = let_go
        for i in range(3):
            await log.append(A, data(str(i))).flush.wait()
        await log.close()
        rows, _ = await w.meta.list(keys.segments_prefix(LOG))
        assert [row.key for row in rows] == [keys.segment_key(LOG, 0)]
        again = await w.open(1)
        assert await read_all(again, A) == b"012"


async def test_two_who_close_the_log_at_once_hand_it_over_once() -> None:
    async with world() as w:
        log = await w.open()
        for i in range(3):
            log.append(A, data(str(i)))
        await asyncio.gather(log.close(), log.close())
        again = await w.open(1)
        assert await read_all(again, A) == b"012"


async def test_a_truncation_without_an_answer_neither_stops_truncation_nor_reads() -> None:
    async with world() as w:
        log = await w.open()
        for i in range(13):
            await log.append(A, data(f"{i:02}")).flush.wait()
        await _sealed(log)
        await log.trim(A, Position(4)).wait()
        meta = FaultyMeta(w.meta)

        async def after(operations: Sequence[Operation]) -> None:
            raise Unavailable("no answer")

        meta.after = after
        with pytest.raises(Unavailable):
            await log.truncator.step()
        meta.after = None
        w.clock.advance(3600)
        await log.truncator.sweep()
        await log._parts.cold.close()
        assert await log.truncator.step()
        assert not await log.truncator.step()
        w.clock.advance(3600)
        assert await log.truncator.sweep()
        assert await read_all(log, A, 4) == b"".join(b"%02d" % i for i in range(4, 13))


async def test_a_read_that_loses_its_segment_to_truncation_says_trimmed() -> None:
    async with world() as w:
        objects, held = FaultyObjects(w.objects), asyncio.Event()
        log = await w.open(objects=objects, cache_bytes_max=0)

        async def before(method: str, key: str) -> None:
            if method == "get" and key == keys.block_key(LOG, 0, 0):
                await held.wait()

        for i in range(9):
            await log.append(A, data(str(i))).flush.wait()
        await _sealed(log)
        objects.before = before
        reading = asyncio.ensure_future(log.read(A, Position(0), 1))
        await _until(lambda: ("get", keys.block_key(LOG, 0, 0)) in objects.calls)
        await log.trim(A, Position(6)).wait()
        while await log.truncator.step():
            pass
        w.clock.advance(3600)
        await log.truncator.sweep()
        held.set()
        with pytest.raises(Trimmed):
            await reading


async def test_the_size_of_a_stream_counts_what_truncation_left() -> None:
    async with world() as w:
        log = await w.open()
        for i in range(17):
            await log.append(A, data(f"{i:04}")).flush.wait()
            if i == 1:
                await log.append(B, data("b")).flush.wait()
        await _sealed(log)
        segment_ends = [max(end for _, end in [e for e in s if e[0] == A]) for s in await _ends(log)]
        await log.trim(A, Position(segment_ends[2])).wait()
        kept = 4 * (17 - segment_ends[2])
        assert await log.size(A) == kept
        while await log.truncator.step():
            pass
        assert await log.size(A) == kept
        assert len(log._history.records) < len(segment_ends)  # the first one stays for B's sake


async def test_a_trim_is_bounded_by_the_end_at_its_call() -> None:
    async with world() as w:
        session = await w.session()
        log = await w.open(session=session)
        log.append(A, data("0"))
        log.trim(A, Position(1000))
        await log.append(A, data("1")).flush.wait()
        assert (log.start(A), log.durable_end(A)) == (1, 2)
        await w.kill(log, session)
        assert (await w.open(1)).start(A) == 1


async def test_a_drop_and_a_trim_may_come_twice_in_any_order() -> None:
    async with world() as w:
        session = await w.session()
        log = await w.open(session=session)
        log.append(A, data("0", tag=b"t"))
        log.drop(A)
        log.trim(A, Position(1))
        await log.drop(A).wait()
        await log.trim(A, Position(1)).wait()
        await log.trim(B, Position(1)).wait()
        await log.append(STATE, data("s", tag=b"s")).flush.wait()
        assert list(log._view.streams) == [STATE]
        await w.kill(log, session)
        again = await w.open(1)
        assert list(again._view.streams) == [STATE]
        assert again.durable.tags == log.durable.tags == again.appended.tags


async def test_an_entry_without_positions_does_not_break_reading_over_it() -> None:
    async with world() as w:
        log = await w.open()
        await log.append(A, data("0")).flush.wait()
        await log.append(A, Entry(b"!", 0, tag=b"c")).flush.wait()
        await log.append(A, data("1")).flush.wait()
        for cold in (False, True):
            if cold:
                log._reader._hot.bytes_max = 0
                await log.append(A, data("2")).flush.wait()
            piece = await log.read(A, Position(0), 1000)
            assert (piece.first, piece.end) == (0, 2 + cold)


async def test_a_state_machine_that_fails_ends_the_log_and_lets_nobody_wait() -> None:
    async with world() as w:
        log = await w.open()

        def broken(*arguments: object) -> None:
            raise RuntimeError("a bug")

        log.durable.apply = broken  # type: ignore[method-assign,assignment]
        flushes = [log.append(A, data("0", tag=b"t")).flush, log.append(B, data("1")).flush]
        async with asyncio.timeout(5):
            for flush in flushes:
                with pytest.raises(Unavailable):
                    await flush.wait()
            await log.lost
        assert log._parts.budget.used == 0


async def test_the_largest_time_after_a_trim_is_of_an_entry_that_is_left() -> None:
    async with world() as w:
        log = await w.open()
        log.append(A, Entry(bytes(70_000), 1, 100))
        log.append(A, Entry(bytes(70_000), 1, 50))
        await log.append(A, Entry(bytes(70_000), 1, 40)).flush.wait()
        await log.trim(A, Position(1)).wait()
        assert await log.time_max(A) == (50, 1)


async def test_sealing_gets_done_although_every_few_puts_have_no_answer() -> None:
    async with world() as w:
        objects, puts, listed = FaultyObjects(w.objects), 0, asyncio.Event()

        async def sometimes(method: str, key: str) -> None:
            nonlocal puts
            if method == "put" and "/c/" in key:
                puts += 1
                if puts % 5 == 0:
                    raise Unavailable("no answer")
                if "-dir-" in key:
                    listed.set()

        log = await w.open(objects=objects, segment_blocks=1)
        objects.after = sometimes
        for bucket in range(10):
            log.append(StreamId(2000 + 1000 * bucket), data("x"))
        await log.append(A, data("x")).flush.wait()
        async with asyncio.timeout(5):
            await listed.wait()


async def _sealed(log: Log[TagList]) -> None:
    await _until(lambda: len(log._sealer) == 0)


async def _ends(log: Log[TagList]) -> list[list[tuple[StreamId, int]]]:
    return [list((await log._history.directory(record)).ends()) for record in log._history.records]


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _until(condition: Callable[[], bool], turns: int = 100_000) -> None:
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition never came true")
