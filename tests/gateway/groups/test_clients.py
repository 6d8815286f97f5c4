"""Real clients in groups: they share the work, commit, and go on where they were after a crash."""

import asyncio
import gc
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.support.gateway import GatewayProcess, running

READS = r"(open|read)_text is deprecated"

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", READS, DeprecationWarning)
    from kafka import KafkaConsumer, KafkaProducer
    from kafka.structs import OffsetAndMetadata, TopicPartition

pytestmark = pytest.mark.filterwarnings(f"ignore:{READS}:DeprecationWarning")
RECORDS = 20


@pytest.fixture
def leaked_sockets_closed() -> Iterator[None]:
    """kafka-python forgets the sockets of attempts to connect that failed; nobody else opens any."""
    before = {one.fileno() for one in _sockets()}
    yield
    for one in _sockets():
        if one.fileno() not in before:
            one.close()


def _sockets() -> list[socket.socket]:
    return [one for one in gc.get_objects() if issubclass(type(one), socket.socket) and one.fileno() >= 0]


@contextmanager
def consuming(address: str, **settings: Any) -> Iterator[KafkaConsumer]:
    """A member of the group g on the topic t that commits by hand."""
    defaults: dict[str, Any] = {
        "bootstrap_servers": address,
        "group_id": "g",
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "consumer_timeout_ms": 30_000,
        "heartbeat_interval_ms": 100,
        "retry_backoff_ms": 20,
        "reconnect_backoff_ms": 20,
        "reconnect_backoff_max_ms": 100,
    }
    consumer = KafkaConsumer("t", **{**defaults, **settings})
    try:
        # A member that joins before it knows the topic joins again at once; see kafka_python's findings.
        assert consumer.partitions_for_topic("t")
        yield consumer
    finally:
        consumer.close(autocommit=False)


def produce(address: str, partitions: int = 1) -> None:
    producer = KafkaProducer(bootstrap_servers=address)
    for number in range(RECORDS):
        producer.send("t", b"%d" % number, partition=number % partitions)
    producer.flush()
    producer.close()


def take(consumer: KafkaConsumer, count: int) -> list[int]:
    """The next records' numbers."""
    return [int(next(consumer).value) for _ in range(count)]


@pytest.mark.usefixtures("leaked_sockets_closed")
def test_a_member_commits_and_resumes_though_the_node_is_killed_and_started_again(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path) as process:
        produce(process.address)
        place = TopicPartition("t", 0)
        with consuming(process.address) as consumer:
            assert take(consumer, 5) == [0, 1, 2, 3, 4]
            consumer.commit({place: OffsetAndMetadata(5, "five", -1)})
            process.kill()
            process.start()
            assert take(consumer, 5) == [5, 6, 7, 8, 9]
            consumer.commit({place: OffsetAndMetadata(10, "ten", -1)})
            assert consumer._coordinator._generation.generation_id == 1, "no rebalance was needed"
        process.kill()
        process.start()
        with consuming(process.address) as consumer:
            assert take(consumer, 3) == [10, 11, 12]
            assert consumer.committed(place, metadata=True).metadata == "ten"


class Worker:
    """A consumer that polls in a thread of its own until it is told to end."""

    def __init__(self, address: str, **settings: Any) -> None:
        self.partitions: set[int] = set()
        self.taken: list[int] = []
        self.changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._run, args=(address, settings))
        self._thread.start()

    def _run(self, address: str, settings: dict[str, Any]) -> None:
        with consuming(address, **settings) as consumer:
            while not self._ended:
                polled = consumer.poll(timeout_ms=50)
                with self.changed:
                    self.partitions = {one.partition for one in consumer.assignment()}
                    self.taken += [int(one.value) for rows in polled.values() for one in rows]
                    self.changed.notify_all()
                if polled:
                    consumer.commit()

    def until(self, condition: Callable[["Worker"], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self), 30)

    def close(self) -> None:
        self._ended = True
        self._thread.join(30)


def test_two_members_share_the_partitions_and_one_takes_over_when_the_other_leaves(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, num_partitions=4) as process:
        produce(process.address, partitions=4)
        with ExitStack() as leaving:
            first = leaving.enter_context(closing(Worker(process.address)))
            first.until(lambda one: one.partitions == {0, 1, 2, 3} and len(one.taken) == RECORDS)
            second = leaving.enter_context(closing(Worker(process.address)))
            second.until(lambda one: len(one.partitions) == 2)
            first.until(lambda one: len(one.partitions) == 2)
            assert first.partitions | second.partitions == {0, 1, 2, 3}
            assert second.taken == [], "what was committed is not read again"
            first.close()
            second.until(lambda one: one.partitions == {0, 1, 2, 3})
            produce(process.address, partitions=4)
            second.until(lambda one: len(one.taken) == RECORDS)


async def test_aiokafka_members_share_the_partitions_and_resume() -> None:
    async with running(num_partitions=2) as gateway:
        address = f"{gateway.context.node.host}:{gateway.context.node.port}"
        async with AIOKafkaProducer(bootstrap_servers=address) as producer:
            for number in range(RECORDS):
                await producer.send_and_wait("t", b"%d" % number, partition=number % 2)

        def member() -> AIOKafkaConsumer:
            return AIOKafkaConsumer(
                "t",
                bootstrap_servers=address,
                group_id="g",
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                heartbeat_interval_ms=100,
            )

        async with asyncio.timeout(60):
            async with member() as first:
                await first.getone()
                async with member() as second:
                    while not (len(first.assignment()) == len(second.assignment()) == 1):
                        await asyncio.gather(*(one.getmany(timeout_ms=50) for one in (first, second)))
                    for one in (first, second):
                        await one.commit(dict.fromkeys(one.assignment(), 7))
            async with member() as third:
                assert (await third.getone()).offset == 7
                assert {await third.committed(place) for place in third.assignment()} == {7}


def test_many_groups_at_once(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path) as process:
        produce(process.address)

        def live(number: int) -> list[int]:
            with consuming(process.address, group_id=f"g{number}") as consumer:
                taken = take(consumer, 3)
                consumer.commit({TopicPartition("t", 0): OffsetAndMetadata(3, "", -1)})
                return taken

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(live, range(16))) == [[0, 1, 2]] * 16
