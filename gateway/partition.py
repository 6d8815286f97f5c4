"""A partition as the hot path sees it: its place, resolved, and its topic's settings.

One object per partition, made at its first look-up and the same one until its topic changes; a change
(settings, growth, a move) makes new ones. So a request may keep what it looked up for as long as nothing
awaits.
"""

from dataclasses import dataclass
from uuid import UUID

from gateway.topic_config import TopicConfig
from wal.types import LogId, StreamId


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Where one partition takes appends. Equal only to itself, so that it is cheap as a key.

    topic, topic_id, index: which partition this is.
    log_id, stream: the log and the stream in it that hold the partition from `first_offset` on.
    epoch_base: leader epoch = epoch_base + epoch of the log.
    """

    topic: str
    topic_id: UUID
    index: int
    log_id: LogId
    stream: StreamId
    first_offset: int
    epoch_base: int
    config: TopicConfig

    def __repr__(self) -> str:
        return f"<Partition {self.topic}-{self.index} log {self.log_id} stream {self.stream}>"
