import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from tests.support.logs import LOG, FaultyObjects, data, read_all, world
from wal import keys
from wal.durability import Flush
from wal.errors import BeyondEnd, Fenced, Trimmed, Unavailable, WalError
from wal.types import Entry, Position, StreamId

A, B = StreamId(2000), StreamId(2001)
STATE = StreamId(3)


async def test_an_acknowledged_entry_is_readable_at_its_position() -> None:
    async with world() as w:
        log = await w.open()
        appended = [log.append(A, data(f"<{i}>", n=i % 3 + 1)) for i in range(50)]
        await appended[-1].flush.wait()
        assert [a.position for a in appended] == [sum(i % 3 + 1 for i in range(k)) for k in range(50)]
        assert await read_all(log, A) == b"".join(b"<%d>" % i for i in range(50))


async def test_consumers_see_only_durable_entries() -> None:
    async with world() as w:
        objects = FaultyObjects(w.objects)
        held = asyncio.Event()
        log = await w.open(objects=objects)
        objects.calls.clear()
        objects.before = _hold(held)
        flush = log.append(A, data("x")).flush
        await _until(lambda: bool(objects.calls))
        assert log.durable_end(A) == 0 and log.appended_end(A) == 1
        assert (await log.read(A, Position(0), 100)).parts == []
        with pytest.raises(BeyondEnd):
            await log.read(A, Position(1), 100)
        held.set()
        await flush.wait()
        assert log.durable_end(A) == 1


async def test_acknowledgements_come_in_block_order_even_if_later_blocks_land_first() -> None:
    async with world() as w:
        objects = FaultyObjects(w.objects)
        first_may_go = asyncio.Event()

        async def before(method: str, key: str) -> None:
            if method == "put" and key.endswith("0.block"):
                await first_may_go.wait()

        log = await w.open(objects=objects, segment_blocks=1000)
        objects.before = before
        flushes = []
        for i in range(4):
            flushes.append(log.append(A, data(str(i))).flush)
            await _until(lambda n=i: _puts(objects, "s/") > n)  # type: ignore[misc]
        await _until(lambda: len([c for c in w.objects._objects.keys if "/s/" in c]) == 3)  # type: ignore[attr-defined]
        assert not any(flush.done for flush in flushes) and log.durable_end(A) == 0
        first_may_go.set()
        for flush in flushes:
            await flush.wait()
        assert await read_all(log, A) == b"0123"


@pytest.mark.parametrize("segment_blocks", [1, 3, 1000])
async def test_a_killed_owner_loses_nothing_acknowledged(segment_blocks: int) -> None:
    async with world() as w:
        expected = {A: b"", B: b""}
        for life in range(6):
            session = await w.session(life)
            log = await w.open(life, session=session, segment_blocks=segment_blocks)
            for stream, text in expected.items():
                assert await read_all(log, stream) == text
                assert log.durable_end(stream) == len(text)
            for i in range(7):
                stream = (A, B)[i % 2]
                entry = data(str(i), tag=b"t%d.%d" % (life, i), group=1 if stream == A else 0)
                await log.append(stream, entry).flush.wait()
                expected[stream] += str(i).encode()
            assert log.epoch == life + 1
            await w.kill(log, session)


async def test_replay_gives_both_views_what_the_last_owner_had() -> None:
    async with world() as w:
        before: dict[StreamId, list[tuple[int, int, bytes, bytes]]] = {}
        for life in range(4):
            session = await w.session(life)
            log = await w.open(life, session=session)
            assert log.appended.tags == before == log.durable.tags
            for i in range(9):
                await log.append(A, data("x", tag=b"a%d" % i)).flush.wait()
                await log.append(STATE, data(f"state {life} {i}", tag=b"s")).flush.wait()
            before = log.durable.tags
            assert log.appended.tags == before
            await w.kill(log, session)
        assert before[STATE][-1] == (35, 1, b"s", b"state 3 8")


async def test_an_orderly_close_leaves_nothing_to_recover() -> None:
    async with world() as w:
        session = await w.session()
        log = await w.open(session=session)
        for i in range(6):
            log.append(A, data(str(i), tag=b"x"))
            await log.append(STATE, data("s", tag=b"y")).flush.wait()
        await log.close()
        objects = FaultyObjects(w.objects)
        again = await w.open(objects=objects)  # another session while the first lives: the log has no owner
        assert not any(method == "list" or "/s/" in key for method, key in objects.calls)
        assert again.durable.tags == log.durable.tags
        assert await read_all(again, A) == b"012345"
        again.append(A, data("6"))
        await again.close()


async def test_segments_without_blocks_leave_no_records() -> None:
    async with world() as w:
        for node in range(5):
            log = await w.open(node)
            await log.close()
        rows, _ = await w.meta.list(keys.segments_prefix(LOG))
        assert not rows


async def test_a_living_owner_is_not_robbed() -> None:
    async with world() as w:
        log = await w.open(0)
        with pytest.raises(Fenced, match="living session"):
            await w.open(1)
        await log.append(A, data("x")).flush.wait()


@pytest.mark.parametrize("blocks_before", [0, 1, 4, 5])
async def test_an_old_writer_meets_a_fence_with_its_next_block(blocks_before: int) -> None:
    async with world() as w:
        session = await w.session(0)
        old = await w.open(0, session=session)
        for i in range(blocks_before):
            await old.append(A, data(str(i))).flush.wait()
        await session.close()  # expired; its process does not know
        new = await w.open(1)
        await new.append(A, data("new")).flush.wait()
        with pytest.raises(Fenced):
            await old.append(A, data("lost")).flush.wait()
        assert old.lost.done()
        with pytest.raises(Fenced):
            old.append(A, data("lost"))
        expected = b"".join(b"%d" % i for i in range(blocks_before)) + b"new"
        assert await read_all(new, A) == expected


async def test_the_same_session_may_acquire_its_lost_log_again() -> None:
    async with world() as w:
        session = await w.session()
        log = await w.open(session=session)
        await log.append(A, data("0")).flush.wait()
        log._writer.poison(Unavailable("test"))
        again = await w.open(session=session)
        assert again.epoch == log.epoch + 1
        await again.append(A, data("1")).flush.wait()
        assert await read_all(again, A) == b"01"


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_put_without_answer_is_repeated_and_stored_once(when: str) -> None:
    async with world() as w:
        objects = FaultyObjects(w.objects)
        log = await w.open(objects=objects)
        failures = 3

        async def fail(method: str, key: str) -> None:
            nonlocal failures
            if method == "put" and "/s/" in key and failures:
                failures -= 1
                raise Unavailable("no answer")

        setattr(objects, when, fail)
        for i in range(3):
            await log.append(A, data(str(i))).flush.wait()
        assert not failures
        assert await read_all(log, A) == b"012"


async def test_one_failed_flush_fails_everybody_who_waits() -> None:
    async with world() as w:
        session = await w.session(0)
        old = await w.open(0, session=session)
        await session.close()
        await w.open(1)
        first, second = old.append(A, data("1")), old.append(B, data("2"))
        third = old.append(A, data("3"))
        outcomes = await asyncio.gather(
            *(a.flush.wait() for a in (first, second, third, first)), return_exceptions=True
        )
        assert all(isinstance(outcome, Fenced) for outcome in outcomes)


async def test_trimmed_positions_cannot_be_read_and_dead_segments_go() -> None:
    async with world() as w:
        session = await w.session()
        log = await w.open(session=session)
        for i in range(22):
            await log.append(A, data(f"{i:02}")).flush.wait()
        await log.append(B, data("b")).flush.wait()
        await _until(lambda: len(log._sealer) == 0)
        await log.trim(A, Position(13)).wait()
        assert log.start(A) == 13
        with pytest.raises(Trimmed):
            await log.read(A, Position(12), 100)
        while await log.truncator.step():
            pass
        w.clock.advance(3600)
        assert await log.truncator.sweep() >= 12
        assert await log.truncator.sweep() == 0
        assert await read_all(log, A, 13) == b"".join(b"%02d" % i for i in range(13, 22))
        w.clock.advance(8 * 24 * 3600)
        await log.truncator.sweep()
        assert (await w.meta.list(keys.garbage_prefix(LOG)))[0] == () or []
        await w.kill(log, session)
        again = await w.open(1)
        assert again.start(A) == 13
        assert await read_all(again, A, 13) == b"".join(b"%02d" % i for i in range(13, 22))
        assert await read_all(again, B) == b"b"


async def test_a_dropped_stream_holds_back_no_segment_and_stays_dropped() -> None:
    async with world() as w:
        session = await w.session()
        log = await w.open(session=session)
        for i in range(12):
            await log.append(A, data(str(i), tag=b"t")).flush.wait()
        await log.drop(A).wait()
        await log.append(B, data("b")).flush.wait()
        assert log.durable_end(A) == 0 and A not in log.durable.tags and A not in log.appended.tags
        await _until(lambda: len(log._sealer) == 0)
        while await log.truncator.step():
            pass
        assert len(log._history.records) <= 1
        await w.kill(log, session)
        again = await w.open(1)
        assert again.durable_end(A) == 0 and A not in again.appended.tags
        assert await read_all(again, B) == b"b"


async def test_checkpoints_write_only_what_changed() -> None:
    async with world() as w:
        objects = FaultyObjects(w.objects)
        log = await w.open(objects=objects, segment_blocks=2)
        far = [StreamId(10_000 * k) for k in range(1, 11)]
        for stream in far:
            log.append(stream, data("x"))
        await log.append(A, data("x")).flush.wait()
        await log.append(A, data("x")).flush.wait()
        await log.append(A, data("x")).flush.wait()
        await _until(lambda: len(log._sealer) == 0)
        objects.calls.clear()
        for _ in range(2):
            await log.append(A, data("x")).flush.wait()
        await _until(lambda: len(log._sealer) == 0 and _puts(objects, "-list-") == 1)
        assert _puts(objects, "-chunk-") == 1


async def test_old_data_is_found_by_time_and_position_across_segments() -> None:
    async with world() as w:
        session = await w.session()
        log = await w.open(session=session, segment_blocks=3)
        for i in range(30):
            await log.append(A, data(f"{i:02}", time=1000 + 10 * i)).flush.wait()
            if i % 7 == 0:
                await log.append(B, data("b", time=5)).flush.wait()
        await w.kill(log, session)
        log = await w.open(1, segment_blocks=3)
        await log.append(A, data("30", time=1300)).flush.wait()
        for i in range(31):
            assert await log.time_position(A, 1000 + 10 * i) == i
            assert await log.time_position(A, 1000 + 10 * i - 5) == i
            piece = await log.read(A, Position(i), 1)
            assert (piece.first, bytes(piece.parts[0])) == (i, b"%02d" % i)
        assert await log.time_position(A, 1301) is None
        assert await log.time_max(A) == (1300, 30)
        assert log.epochs(A) == [(1, 0), (2, 30)]
        keep = await log.retention_position(A, 1100, -1)
        assert 0 < keep <= 10
        assert 0 < await log.retention_position(A, -1, 20) <= 30


async def test_appends_wait_for_room_and_no_longer() -> None:
    async with world() as w:
        objects = FaultyObjects(w.objects)
        held = asyncio.Event()
        log = await w.open(objects=objects, buffer_bytes_max=1000)

        objects.before = _hold(held)
        await log.room()
        log.append(A, Entry(bytes(2000), 1))
        waiting = asyncio.ensure_future(log.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        held.set()
        await waiting


async def test_appends_slow_down_while_sealing_is_behind_and_not_while_metadata_is_away() -> None:
    async with world() as w:
        objects = FaultyObjects(w.objects)
        held = asyncio.Event()

        async def before(method: str, key: str) -> None:
            if "/c/" in key:
                await held.wait()

        objects.before = before
        log = await w.open(objects=objects, segment_blocks=1, segments_unsealed_max=2)
        while not log.crowded:
            await log.append(A, data("x")).flush.wait()
        waiting = asyncio.ensure_future(log.caught_up())
        await asyncio.sleep(0)
        assert not waiting.done()
        log._meta_answers = False
        assert not log.crowded
        log._meta_answers = True
        held.set()
        await waiting
        assert not log.crowded


async def test_proof_without_a_lease_needs_a_block_sent_after_the_question() -> None:
    async with world() as w:
        session = await w.session()
        log = await w.open(session=session)
        await log.prove()
        assert (await w.meta.list(keys.segments_prefix(LOG)))[0]
        session._valid_until = 0.0
        await asyncio.gather(*(log.prove() for _ in range(10)))
        assert log._writer.segment.next_n == 1
        await session.close()
        await w.open(1)
        with pytest.raises(Fenced):
            await log.prove()


async def test_an_idle_log_sends_nothing() -> None:
    async with world() as w:
        objects = FaultyObjects(w.objects)
        log = await w.open(objects=objects, segment_ms=1)
        await log.append(A, data("x")).flush.wait()
        await _until(lambda: len(log._history.records) == 1)
        count = len(objects.calls)
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(objects.calls) == count


@pytest.mark.parametrize("seed", range(12))
async def test_any_history_of_faults_and_owners_keeps_what_was_acknowledged(seed: int) -> None:
    """The law of the product: acknowledged, then durable, once, in order, at the position returned."""
    rng = random.Random(seed)
    async with world(seed=seed) as w:
        acked: dict[StreamId, dict[int, bytes]] = {A: {}, B: {}}
        sent = {A: set[bytes](), B: set[bytes]()}
        serial = 0
        for life in range(6):
            objects = FaultyObjects(w.objects)
            session = await w.session(life)
            objects.before = objects.after = _faults(rng)
            blocks, flushes = rng.choice([1, 2, 5, 100]), rng.choice([1, 3, 8])
            log = await w.open(
                life, session=session, objects=objects, segment_blocks=blocks, flushes_in_flight_max=flushes
            )
            pending = []
            for _ in range(rng.randrange(60)):
                stream = rng.choice([A, B])
                serial += 1
                text = b"%06d" % serial
                sent[stream].add(text)
                position, flush = log.append(stream, Entry(text, 1, tag=text, tag_group=rng.choice([0, 1])))
                pending.append(asyncio.ensure_future(_acknowledged(flush, acked[stream], position, text)))
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
            if rng.random() < 0.3:
                with suppress(Fenced, Unavailable):
                    await log.close()
            await w.kill(log, session)
            await asyncio.gather(*pending)
        log = await w.open(99)
        for stream in (A, B):
            text = await read_all(log, stream)
            found = [text[i : i + 6] for i in range(0, len(text), 6)]
            assert len(found) == log.durable_end(stream)
            assert len(set(found)) == len(found) and set(found) <= sent[stream] and found == sorted(found)
            assert all(found[position] == text for position, text in acked[stream].items())


async def _acknowledged(flush: Flush, acked: dict[int, bytes], position: int, text: bytes) -> None:
    try:
        await flush.wait()
    except WalError:
        return
    assert position not in acked
    acked[position] = text


def _faults(rng: random.Random) -> Callable[[str, str], Awaitable[None]]:
    async def fault(method: str, key: str) -> None:
        for _ in range(rng.randrange(5)):
            await asyncio.sleep(0)
        if rng.random() < 0.1:
            raise Unavailable("fault")

    return fault


def _puts(objects: FaultyObjects, part: str) -> int:
    return sum(method == "put" and part in key for method, key in objects.calls)


def _hold(until: asyncio.Event) -> Callable[[str, str], Awaitable[None]]:
    async def wait(method: str, key: str) -> None:
        if method == "put":
            await until.wait()

    return wait


async def _until(condition: Callable[[], bool], turns: int = 100_000) -> None:
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition never came true")
