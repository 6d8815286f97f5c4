"""Laws of the log's state: each stream's story goes to the machine that owns it, and only there."""

from typing import Any

from gateway.producers import ProducerWindows, encode_tag
from gateway.state import GatewayState
from wal.types import STATE_STREAMS, Buffer, Position, State, StreamId

SLOT = StreamId(64)
DATA = StreamId(STATE_STREAMS)


class Slots:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def apply(
        self, stream: StreamId, position: Position, n: int, epoch: int, time: int, tag: bytes, payload: Buffer
    ) -> None:
        self.told.append(("apply", stream, position, n, epoch, time, tag, bytes(payload)))

    def snapshot(self, stream: StreamId) -> bytes:
        return b"slot %d" % stream

    def restore(self, stream: StreamId, data: bytes) -> None:
        self.told.append(("restore", stream, data))

    def forget(self, stream: StreamId) -> None:
        self.told.append(("forget", stream))


def made() -> tuple[State, ProducerWindows, Slots]:
    producers, slots = ProducerWindows(expiration_ms=1_000, producers_max=10), Slots()
    return GatewayState(producers, slots), producers, slots


def test_slots_are_told_everything_about_their_streams_and_nothing_else() -> None:
    state, producers, slots = made()
    state.apply(SLOT, Position(5), 1, 2, 3, b"tag", b"payload")
    state.restore(SLOT, b"data")
    state.forget(SLOT)
    assert slots.told == [
        ("apply", SLOT, 5, 1, 2, 3, b"tag", b"payload"),
        ("restore", SLOT, b"data"),
        ("forget", SLOT),
    ]
    assert (state.snapshot(SLOT), len(producers)) == (b"slot 64", 0)


def test_data_streams_live_in_the_producer_windows() -> None:
    state, producers, slots = made()
    state.apply(DATA, Position(5), 1, 2, 3, encode_tag(9, 0, 0), b"")
    assert producers.check(DATA, 9, 0, 0, 1, 3) == 5
    other, windows, _ = made()
    other.restore(DATA, state.snapshot(DATA))
    assert windows.check(DATA, 9, 0, 0, 1, 3) == 5
    state.forget(DATA)
    assert (state.snapshot(DATA), slots.told) == (b"", [])
