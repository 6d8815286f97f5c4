"""The state machine that rides on each log: producer windows of data streams, slot states of the others.

Streams below STATE_STREAMS are slots (stream id = slot + 1): their entries are group offsets and, later,
transactions. All other streams are partitions: their tags are producers' marks. Two of these live beside
every log, the appended view and the durable one; they share nothing.
"""

from typing import Protocol

from gateway.producers import ProducerWindows
from wal.types import STATE_STREAMS, Buffer, Position, State, StreamId


class SlotStates(State, Protocol):
    """The states of a log's slots, each a state machine of its own, addressed by the slot's stream.

    The same four calls as the log's State, for streams below STATE_STREAMS only; `apply` gets the entry's
    payload.
    """


class GatewayState:
    """Routes what the log tells to the state machine that owns the stream; implements wal.types.State."""

    def __init__(self, producers: ProducerWindows, slots: SlotStates) -> None:
        self.producers = producers
        self.slots = slots

    def apply(
        self, stream: StreamId, position: Position, n: int, epoch: int, time: int, tag: bytes, payload: Buffer
    ) -> None:
        """Take in one tagged entry, unconditionally. Raises Corrupt where the tag is not one of ours."""
        if stream >= STATE_STREAMS:
            self.producers.apply(stream, position, n, time, tag)
        else:
            self.slots.apply(stream, position, n, epoch, time, tag, payload)

    def snapshot(self, stream: StreamId) -> bytes:
        """The state of one stream as bytes, empty for none."""
        return self.producers.snapshot(stream) if stream >= STATE_STREAMS else self.slots.snapshot(stream)

    def restore(self, stream: StreamId, data: bytes) -> None:
        """Replace the state of one stream with what `snapshot` once returned. Raises Corrupt."""
        if stream >= STATE_STREAMS:
            self.producers.restore(stream, data)
        else:
            self.slots.restore(stream, data)

    def forget(self, stream: StreamId) -> None:
        """The stream is gone for good."""
        if stream >= STATE_STREAMS:
            self.producers.forget(stream)
        else:
            self.slots.forget(stream)
