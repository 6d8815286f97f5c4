"""Laws of the producer windows: they decide as a simple model does, replayed, restored or lived through."""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.producers import (
    NEW,
    OLD_EPOCH,
    OUT_OF_ORDER,
    SEQUENCE_MASK,
    ProducerTag,
    ProducerWindows,
    decode_tag,
    encode_tag,
)
from wal.errors import Corrupt
from wal.types import TAGS_KEPT, Position, StreamId

GOLDEN = Path(__file__).parent.parent / "golden"
STREAM = StreamId(1024)
EXPIRATION_MS = 1_000


def fresh(producers_max: int = 1_000) -> ProducerWindows:
    return ProducerWindows(expiration_ms=EXPIRATION_MS, producers_max=producers_max)


def put(
    windows: ProducerWindows,
    position: int,
    n: int,
    *,
    producer_id: int = 7,
    epoch: int = 0,
    first: int = 0,
    time_ms: int = 0,
    stream: StreamId = STREAM,
) -> None:
    windows.apply(stream, Position(position), n, time_ms, encode_tag(producer_id, epoch, first))


def ask(
    windows: ProducerWindows,
    n: int,
    *,
    producer_id: int = 7,
    epoch: int = 0,
    first: int = 0,
    now_ms: int = 0,
    stream: StreamId = STREAM,
) -> int:
    return windows.check(stream, producer_id, epoch, first, n, now_ms)


class Batch(NamedTuple):
    stream: StreamId
    producer_id: int
    epoch: int
    first: int
    n: int


class Model:
    """The same rules, written the long way round."""

    def __init__(self) -> None:
        self.known: dict[tuple[StreamId, int], tuple[int, int, list[tuple[list[int], int]]]] = {}

    @staticmethod
    def sequences(batch: Batch) -> list[int]:
        return [(batch.first + i) % 2**31 for i in range(batch.n)]

    def check(self, batch: Batch, now_ms: int) -> int:
        time_ms, epoch, rows = self.known.get((batch.stream, batch.producer_id), (0, -1, []))
        if not rows or now_ms - time_ms > EXPIRATION_MS:
            return NEW
        if batch.epoch < epoch:
            return OLD_EPOCH
        if batch.epoch > epoch:
            return NEW if batch.first == 0 else OUT_OF_ORDER
        if batch.first == (rows[-1][0][-1] + 1) % 2**31:
            return NEW
        return next((at for sequences, at in rows if sequences == self.sequences(batch)), OUT_OF_ORDER)

    def apply(self, batch: Batch, position: int, time_ms: int) -> None:
        used_ms, epoch, rows = self.known.get((batch.stream, batch.producer_id), (time_ms, batch.epoch, []))
        if epoch != batch.epoch or time_ms - used_ms > EXPIRATION_MS:
            rows = []
        rows = [*rows, (self.sequences(batch), position)][-5:]
        self.known[batch.stream, batch.producer_id] = (time_ms, batch.epoch, rows)


BATCHES = st.builds(
    Batch,
    stream=st.sampled_from([StreamId(1024), StreamId(1025)]),
    producer_id=st.integers(0, 2),
    epoch=st.integers(0, 2),
    first=st.sampled_from([SEQUENCE_MASK, SEQUENCE_MASK - 1, 0, 1, 2, 3, 4]),
    n=st.integers(1, 3),
)
STEPS = st.lists(
    st.tuples(BATCHES, st.booleans(), st.sampled_from([0, 0, 0, 1, 400, 1_500])), min_size=1, max_size=60
)
ALL_BATCHES = [
    Batch(StreamId(1024), producer_id, epoch, first, n)
    for producer_id in range(3)
    for epoch in range(3)
    for first in (SEQUENCE_MASK, 0, 1, 2, 3)
    for n in (1, 2)
]


def continued(model: Model, batch: Batch, follows: bool) -> Batch:
    """Half of the batches follow their producer's last one, so that windows fill."""
    if not follows or (batch.stream, batch.producer_id) not in model.known:
        return batch
    _, epoch, rows = model.known[batch.stream, batch.producer_id]
    return batch._replace(epoch=epoch, first=(rows[-1][0][-1] + 1) % 2**31)


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_windows_decide_as_the_model_does(steps: list[tuple[Batch, bool, int]]) -> None:
    windows, model, position, now_ms = fresh(), Model(), 0, 0
    for batch, follows, pause_ms in steps:
        batch = continued(model, batch, follows)
        now_ms += pause_ms
        verdict = windows.check(batch.stream, batch.producer_id, batch.epoch, batch.first, batch.n, now_ms)
        assert verdict == model.check(batch, now_ms)
        if verdict == NEW:
            tag = encode_tag(batch.producer_id, batch.epoch, batch.first)
            windows.apply(batch.stream, Position(position), batch.n, now_ms, tag)
            model.apply(batch, position, now_ms)
            position += batch.n
    assert len(windows) <= len(model.known)


def thinned(block: list[tuple[Batch, int]]) -> list[tuple[Batch, int]]:
    """What a block keeps: the newest five tags of each (stream, producer), in order."""
    groups: dict[tuple[StreamId, int], list[int]] = defaultdict(list)
    for i, (batch, _) in enumerate(block):
        groups[batch.stream, batch.producer_id].append(i)
    kept = {i for rows in groups.values() for i in rows[-TAGS_KEPT:]}
    return [row for i, row in enumerate(block) if i in kept]


@given(
    st.lists(
        st.tuples(st.lists(st.tuples(BATCHES, st.booleans()), max_size=25), st.integers(0, 700)), max_size=6
    )
)
@settings(max_examples=150, deadline=None)
def test_windows_replayed_from_thinned_tags_or_restored_decide_as_the_live_ones(
    blocks: list[tuple[list[tuple[Batch, bool]], int]],
) -> None:
    live, replayed, model, position, now_ms = fresh(), fresh(), Model(), 0, 0
    for wanted, pause_ms in blocks:
        now_ms += pause_ms
        block: list[tuple[Batch, int]] = []
        for batch, follows in wanted:
            batch = continued(model, batch, follows)
            if live.check(batch.stream, batch.producer_id, batch.epoch, batch.first, batch.n, now_ms) != NEW:
                continue
            put(
                live,
                position,
                batch.n,
                producer_id=batch.producer_id,
                epoch=batch.epoch,
                first=batch.first,
                time_ms=now_ms,
                stream=batch.stream,
            )
            model.apply(batch, position, now_ms)
            block.append((batch, position))
            position += batch.n
        for batch, at in thinned(block):
            tag = encode_tag(batch.producer_id, batch.epoch, batch.first)
            replayed.apply(batch.stream, Position(at), batch.n, now_ms, tag)
    restored = fresh()
    for stream in (StreamId(1024), StreamId(1025)):
        restored.restore(stream, live.snapshot(stream))
        assert restored.snapshot(stream) == live.snapshot(stream)
    assert len(restored) == len(live)
    for batch in ALL_BATCHES:
        for late_ms in (0, EXPIRATION_MS, EXPIRATION_MS + 1):
            question = (batch.stream, batch.producer_id, batch.epoch, batch.first, batch.n, now_ms + late_ms)
            assert live.check(*question) == replayed.check(*question) == restored.check(*question)


def test_an_unknown_producer_begins_anywhere() -> None:
    assert ask(fresh(), 3, first=4_711) == NEW


def test_a_duplicate_is_answered_with_the_position_of_its_first_copy() -> None:
    windows = fresh()
    for i in range(5):
        put(windows, 100 + 10 * i, 2, first=2 * i)
    assert [ask(windows, 2, first=2 * i) for i in range(5)] == [100, 110, 120, 130, 140]


def test_a_copy_older_than_the_window_is_out_of_order() -> None:
    windows = fresh()
    for i in range(6):
        put(windows, i, 1, first=i)
    assert ask(windows, 1, first=0) == OUT_OF_ORDER
    assert ask(windows, 1, first=1) == 1


def test_a_batch_that_overlaps_a_known_one_is_out_of_order() -> None:
    windows = fresh()
    put(windows, 0, 3)
    assert ask(windows, 2) == OUT_OF_ORDER
    assert ask(windows, 4) == OUT_OF_ORDER


def test_a_gap_is_out_of_order() -> None:
    windows = fresh()
    put(windows, 0, 3)
    assert ask(windows, 1, first=4) == OUT_OF_ORDER


def test_sequences_wrap_to_zero() -> None:
    windows = fresh()
    put(windows, 0, 4, first=SEQUENCE_MASK - 1)
    assert ask(windows, 4, first=SEQUENCE_MASK - 1) == 0
    assert ask(windows, 1, first=2) == NEW
    put(windows, 4, 2**31 - 3, first=2)
    assert ask(windows, 1, first=SEQUENCE_MASK - 1) == OUT_OF_ORDER
    assert ask(windows, 1, first=SEQUENCE_MASK) == NEW
    put(windows, 9, 1, first=SEQUENCE_MASK)
    assert ask(windows, 1, first=0) == NEW


def test_a_higher_epoch_begins_at_zero_and_a_lower_one_is_old() -> None:
    windows = fresh()
    put(windows, 0, 1, epoch=3)
    assert ask(windows, 1, epoch=9, first=1) == OUT_OF_ORDER
    assert ask(windows, 1, epoch=9, first=0) == NEW
    assert ask(windows, 1, epoch=2, first=1) == OLD_EPOCH
    put(windows, 1, 1, epoch=9)
    assert ask(windows, 1, epoch=3, first=0) == OLD_EPOCH
    assert ask(windows, 1, epoch=9, first=0) == 1


def test_a_producer_idle_for_longer_than_the_expiration_is_forgotten() -> None:
    windows = fresh()
    put(windows, 0, 1, time_ms=5_000)
    assert ask(windows, 1, first=9, now_ms=5_000 + EXPIRATION_MS) == OUT_OF_ORDER
    assert ask(windows, 1, first=9, now_ms=5_001 + EXPIRATION_MS) == NEW


def test_windows_of_expired_producers_are_freed_by_what_others_write() -> None:
    windows = fresh()
    for i in range(50):
        put(windows, i, 1, producer_id=i, stream=StreamId(1024 + i % 7), time_ms=i)
    assert len(windows) == 50
    for i in range(60):
        put(windows, 50 + i, 1, producer_id=99, first=i, stream=StreamId(2000), time_ms=9_000)
    assert len(windows) == 1


def test_beyond_the_most_producers_the_longest_idle_goes_first() -> None:
    windows = fresh(producers_max=3)
    for i, producer_id in enumerate((1, 2, 3)):
        put(windows, i, 1, producer_id=producer_id, stream=StreamId(1024 + producer_id), time_ms=i)
    put(windows, 1, 1, producer_id=1, first=1, stream=StreamId(1025), time_ms=10)
    put(windows, 0, 1, producer_id=4, stream=StreamId(1028), time_ms=11)
    assert len(windows) == 3
    known = [
        producer_id
        for producer_id in (1, 2, 3, 4)
        if ask(windows, 1, producer_id=producer_id, first=77, stream=StreamId(1024 + producer_id)) != NEW
    ]
    assert known == [1, 3, 4]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8), st.integers(0, 300)), max_size=120))
@settings(max_examples=100, deadline=None)
def test_there_are_never_more_windows_than_the_most(uses: list[tuple[int, int, int]]) -> None:
    windows, now_ms = fresh(producers_max=5), 0
    for position, (producer_id, stream, pause_ms) in enumerate(uses):
        now_ms += pause_ms
        put(windows, position, 1, producer_id=producer_id, stream=StreamId(1024 + stream), time_ms=now_ms)
        assert 1 <= len(windows) <= 5
        assert (
            ask(windows, 1, producer_id=producer_id, stream=StreamId(1024 + stream), now_ms=now_ms)
            == position
        )


def test_restoring_more_than_the_most_keeps_the_newest() -> None:
    many, few = fresh(), fresh(producers_max=2)
    for i in range(6):
        put(many, i, 1, producer_id=i, time_ms=i)
    few.restore(STREAM, many.snapshot(STREAM))
    assert [ask(few, 1, producer_id=i) for i in range(6)] == [NEW, NEW, NEW, NEW, 4, 5]


def test_a_forgotten_stream_has_no_windows() -> None:
    windows = fresh()
    put(windows, 0, 1)
    windows.forget(STREAM)
    windows.forget(STREAM)
    assert (len(windows), windows.snapshot(STREAM)) == (0, b"")


def test_the_stored_bytes_are_the_golden_ones() -> None:
    tag = bytes.fromhex((GOLDEN / "producer-tag-1.hex").read_text())
    assert encode_tag(producer_id=1_234_567_890_123, producer_epoch=42, first_sequence=SEQUENCE_MASK) == tag
    assert decode_tag(tag) == ProducerTag(1_234_567_890_123, 42, SEQUENCE_MASK)
    windows = fresh()
    put(windows, 2**40, 3, producer_id=9, epoch=2, first=SEQUENCE_MASK - 1, time_ms=1_800_000_000_000)
    put(windows, 2**40 + 3, 1, producer_id=1_234_567_890_123, time_ms=1_800_000_000_001)
    put(windows, 2**40 + 4, 5, producer_id=9, epoch=2, first=1, time_ms=1_800_000_000_002)
    snapshot = bytes.fromhex((GOLDEN / "producer-windows-1.hex").read_text())
    assert windows.snapshot(STREAM) == snapshot
    restored = fresh()
    restored.restore(STREAM, snapshot)
    assert restored.snapshot(STREAM) == snapshot


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda data: b"\x01" + data)))
@settings(max_examples=200, deadline=None)
def test_any_bytes_restore_or_are_corrupt_and_then_change_nothing(data: bytes) -> None:
    windows = fresh()
    put(windows, 5, 1)
    try:
        windows.restore(STREAM, data)
    except Corrupt:
        assert (len(windows), ask(windows, 1)) == (1, 5)
    else:
        assert windows.snapshot(STREAM) == (data if len(data) > 1 else b"")


@given(st.binary(max_size=20))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_a_tag_or_corrupt(data: bytes) -> None:
    if len(data) == 16 and data[0] == 1:
        tag = decode_tag(data)
        assert encode_tag(*tag) == data
    else:
        with pytest.raises(Corrupt):
            decode_tag(data)
