"""What the laws of compat-tests/ ask of a client, in words that no client owns.

A driver makes one real client do one thing and puts what it got into these tuples. Each call opens clients of
its own and closes them again. Nothing but the standard library is needed here, so that a driver can run under
another Python, beside a client that cannot share an environment with this project.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

SECONDS_MAX = 40.0
"""Longest wait for anything that must happen; a driver raises TimeoutError after it."""

REQUEST_BYTES_MAX = 4 << 20
"""What drivers raise their client's own size limits to, so that the gateway's are the ones that are met."""

Headers = tuple[tuple[str, bytes | None], ...]


class Sent(NamedTuple):
    """One record to be sent to one partition. Without a timestamp the client takes its clock's."""

    partition: int
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    timestamp: int | None = None


class Received(NamedTuple):
    """One record as a client handed it out."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Outcome(NamedTuple):
    """What became of one record: its offset, or Kafka's error code and an offset of -1."""

    offset: int
    error: int = 0


class Refused(Exception):
    """The gateway refused what an admin client asked for; `code` is Kafka's error code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Driver(Protocol):
    """A client that produces and consumes."""

    codecs: Sequence[str]
    """Codecs that the client can write, of none, gzip, snappy, lz4 and zstd."""
    sends_timestamps: bool
    """Whether its user may choose a record's timestamp."""
    sends_null_header_values: bool
    """Whether its user may send a header that is null."""

    def produce(
        self,
        address: str,
        topic: str,
        records: Sequence[Sent],
        *,
        codec: str = "none",
        idempotent: bool = False,
    ) -> list[Outcome]:
        """Send all in order without waiting in between, and return what became of each, in the same order."""

    def consume(self, address: str, topic: str, starts: Mapping[int, int], count: int) -> list[Received]:
        """Read `count` records of these partitions, each from an offset on, in the order of arrival."""

    def consume_in_group(self, address: str, topic: str, group: str, count: int) -> list[Received]:
        """Read `count` records as the only member of a group, from the earliest on; commit, and leave."""

    def offsets_at(self, address: str, topic: str, times: Mapping[int, int]) -> dict[int, int | None]:
        """For each partition the first offset at or after a time in ms; None if there is none."""

    def ends(self, address: str, topic: str, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        """For each partition the earliest and the latest offset."""


class AdminDriver(Driver, Protocol):
    """A client that can also manage topics. Every method raises Refused with the gateway's error code."""

    def create_topic(self, address: str, topic: str, partitions: int, config: Mapping[str, str]) -> None:
        """Create a topic."""

    def delete_topic(self, address: str, topic: str) -> None:
        """Delete a topic."""

    def topics(self, address: str) -> list[str]:
        """Names of all topics."""

    def partition_count(self, address: str, topic: str) -> int:
        """Number of a topic's partitions."""

    def grow(self, address: str, topic: str, partitions: int) -> None:
        """Raise the number of a topic's partitions."""

    def config(self, address: str, topic: str) -> dict[str, str]:
        """All settings of a topic, defaults included."""

    def set_config(self, address: str, topic: str, changes: Mapping[str, str]) -> None:
        """Change settings of a topic."""
