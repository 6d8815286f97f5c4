"""The consumers of a crash test: one that reads along through every kill, and one look at the end."""

from collections.abc import Mapping, Sequence
from typing import Any

import kafka

from tests.crash.checker import Read
from tests.crash.ledger import record_of
from tests.crash.senders import PATIENCE_MS, RECONNECT_MS_MAX, TOPIC
from tests.crash.worker import Worker


def consumer(address: str, **settings: Any) -> Any:
    """A kafka-python consumer that reconnects quickly and never chooses an offset of its own."""
    return kafka.KafkaConsumer(
        bootstrap_servers=address,
        auto_offset_reset="none",
        enable_auto_commit=False,
        bootstrap_timeout_ms=PATIENCE_MS,
        fetch_max_wait_ms=100,
        retry_backoff_ms=20,
        reconnect_backoff_ms=20,
        reconnect_backoff_max_ms=RECONNECT_MS_MAX,
        metrics_enabled=False,
        **settings,
    )


def reads_of(polled: Mapping[Any, Sequence[Any]]) -> list[Read]:
    """What one poll gave."""
    return [
        Read(partition.partition, message.offset, record_of(message.value))
        for partition, messages in polled.items()
        for message in messages
    ]


class Follower(Worker):
    """Reads all partitions from offset 0 on until it was told where they end and got there."""

    def __init__(self, address: str, partitions: int) -> None:
        super().__init__("follower")
        self.polls: list[Read] = []
        self._address = address
        self._partitions = partitions
        self._ends: Mapping[int, int] = {}

    def finish(self, ends: Mapping[int, int]) -> None:
        """Stop at these offsets."""
        self._ends = ends
        self.ending.set()

    def work(self) -> None:
        """Poll until finished."""
        client = consumer(self._address)
        places = [kafka.TopicPartition(TOPIC, index) for index in range(self._partitions)]
        client.assign(places)
        at = dict.fromkeys(range(self._partitions), 0)
        for place in places:
            client.seek(place, 0)
        while not self.ending.is_set() or any(at[index] < end for index, end in self._ends.items()):
            for read in reads_of(client.poll(timeout_ms=100)):
                self.polls.append(read)
                at[read.partition] = read.offset + 1
        client.close()


def read_all(address: str, partitions: int) -> tuple[dict[int, list[Read]], dict[int, int]]:
    """Everything there is, by partition, and the partitions' ends. Raises TimeoutError if it stands still."""
    client = consumer(address)
    places = [kafka.TopicPartition(TOPIC, index) for index in range(partitions)]
    client.assign(places)
    ends = {place.partition: end for place, end in client.end_offsets(places).items()}
    log: dict[int, list[Read]] = {index: [] for index in range(partitions)}
    for place in places:
        client.seek(place, 0)
    left = sum(ends.values())
    while left > 0:
        reads = reads_of(client.poll(timeout_ms=10_000))
        if not reads:
            raise TimeoutError(f"{left} records before the ends {ends} do not come")
        for read in reads:
            if read.offset < ends[read.partition]:
                log[read.partition].append(read)
                left -= 1
    client.close()
    return log, ends
