"""The clients that produce during a crash test: real ones, each in a thread of its own until it is stopped.

Each sends to a partition of its own and to shared ones, as fast as answers come: never more than a window of
unanswered records. They reconnect quickly and keep trying for longer than any test; only one never sends
anything twice, so that it has records whose outcome it does not know.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import aiokafka
import confluent_kafka
import kafka

from tests.crash.checker import Outcome
from tests.crash.ledger import Ledger
from tests.crash.worker import Worker

TOPIC = "crash"
WINDOW = 64
BATCH_BYTES = 4_000
RECONNECT_MS_MAX = 100
LATE_MS = 1_200
"""By then its last batches are known from a checkpoint alone, and the gateway may have been killed again."""
PATIENCE_MS = 300_000
FINISH_S_MAX = 60.0

Told = Callable[[int | None], None]
"""Takes the offset that a record was acknowledged at, None for an error; from any thread."""


class Client(Protocol):
    """A producer: how the threads see each library."""

    def send(self, partition: int, value: bytes, told: Told) -> None:
        """Hand a record to the client; `told` is called once, later."""

    def wait(self, seconds: float) -> None:
        """Let the client work for a moment, in case it needs this thread for it."""

    def close(self) -> None:
        """Wait until everything is answered, and end."""


class Sender(Worker):
    """One producer at work until `ending`, and then until everything is answered."""

    def __init__(
        self,
        ledger: Ledger,
        connect: Callable[[str], Client],
        address: str,
        partitions: Sequence[int],
        source: random.Random,
    ) -> None:
        super().__init__(ledger.producer)
        self.ledger = ledger
        self._connect = connect
        self._address = address
        self._partitions = partitions
        self._random = source
        self._free = threading.Semaphore(WINDOW)

    def work(self) -> None:
        """Send until the end, then wait for the answers."""
        client = self._connect(self._address)
        while not self.ending.is_set():
            client.wait(0.0)
            if not self._free.acquire(blocking=False):
                client.wait(0.005)
                continue
            partition = self._random.choice(self._partitions)
            serial, value = self.ledger.record(partition)
            client.send(partition, value, self._teller(serial))
        client.close()

    def _teller(self, serial: int) -> Told:
        def told(offset: int | None) -> None:
            self.ledger.told(serial, Outcome.UNKNOWN if offset is None else offset)
            self._free.release()

        return told


class KafkaPython:
    """kafka-python: idempotent, its default, or one request at a time."""

    def __init__(self, address: str, *, idempotent: bool, compression: str | None) -> None:
        self._producer = kafka.KafkaProducer(
            bootstrap_servers=address,
            enable_idempotence=idempotent,
            acks="all",
            max_in_flight_requests_per_connection=5 if idempotent else 1,
            compression_type=compression,
            batch_size=BATCH_BYTES,
            delivery_timeout_ms=PATIENCE_MS,
            max_block_ms=PATIENCE_MS,
            bootstrap_timeout_ms=PATIENCE_MS,
            retry_backoff_ms=20,
            reconnect_backoff_ms=20,
            reconnect_backoff_max_ms=RECONNECT_MS_MAX,
            metrics_enabled=False,
        )
        self._pause = threading.Event()

    def send(self, partition: int, value: bytes, told: Told) -> None:
        """See Client."""
        future = self._producer.send(TOPIC, value=value, partition=partition)
        future.add_callback(lambda metadata: told(metadata.offset))
        future.add_errback(lambda _: told(None))

    def wait(self, seconds: float) -> None:
        """See Client."""
        if seconds:
            self._pause.wait(seconds)

    def close(self) -> None:
        """See Client."""
        self._producer.flush(FINISH_S_MAX)
        self._producer.close(FINISH_S_MAX)


class AioKafka:
    """aiokafka: idempotent or not, one batch per partition at a time; in an event loop of its own."""

    def __init__(self, address: str, *, idempotent: bool, compression: str | None) -> None:
        self._runner = asyncio.Runner()
        self._tasks: set[asyncio.Task[None]] = set()
        self._producer = self._runner.run(self._start(address, idempotent, compression))

    @staticmethod
    async def _start(address: str, idempotent: bool, compression: str | None) -> Any:
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=address,
            enable_idempotence=idempotent,
            acks="all",
            compression_type=compression,
            max_batch_size=BATCH_BYTES * 10,
            request_timeout_ms=PATIENCE_MS,
            retry_backoff_ms=20,
        )
        while True:
            try:
                await producer.start()
                return producer
            except aiokafka.errors.KafkaConnectionError:
                await asyncio.to_thread(threading.Event().wait, RECONNECT_MS_MAX / 1000)

    def send(self, partition: int, value: bytes, told: Told) -> None:
        """See Client."""
        self._runner.run(self._send(partition, value, told))

    async def _send(self, partition: int, value: bytes, told: Told) -> None:
        sent = await self._producer.send(TOPIC, value=value, partition=partition)
        task = asyncio.create_task(self._answer(sent, told))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _answer(sent: asyncio.Future[Any], told: Told) -> None:
        try:
            metadata = await sent
        except aiokafka.errors.KafkaError:
            told(None)
        else:
            told(metadata.offset)

    def wait(self, seconds: float) -> None:
        """See Client."""
        self._runner.run(self._work(seconds))

    async def _work(self, seconds: float) -> None:
        await asyncio.sleep(0)
        if seconds and self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    def close(self) -> None:
        """See Client."""
        self._runner.run(self._finish())
        self._runner.close()

    async def _finish(self) -> None:
        async with asyncio.timeout(FINISH_S_MAX):
            if self._tasks:
                await asyncio.wait(self._tasks)
            await self._producer.stop()


class Confluent:
    """confluent-kafka (librdkafka): idempotent, or one request at a time, `repeats` times at most.

    It comes back `reconnect_ms` after it lost its connection, give or take a half.
    """

    def __init__(
        self,
        address: str,
        *,
        idempotent: bool,
        compression: str = "none",
        repeats: int = 2**31 - 1,
        reconnect_ms: int = RECONNECT_MS_MAX,
    ) -> None:
        settings: dict[str, Any] = {
            "bootstrap.servers": address,
            "enable.idempotence": idempotent,
            "acks": "all",
            "max.in.flight": 5 if idempotent else 1,
            "retries": repeats,
            "compression.type": compression,
            "linger.ms": 1,
            "batch.size": BATCH_BYTES,
            "message.timeout.ms": PATIENCE_MS,
            "retry.backoff.ms": 20,
            "retry.backoff.max.ms": RECONNECT_MS_MAX,
            "reconnect.backoff.ms": reconnect_ms,
            "reconnect.backoff.max.ms": reconnect_ms,
            "log_level": 0,
            "log.connection.close": False,
        }
        self._producer = confluent_kafka.Producer(settings)

    def send(self, partition: int, value: bytes, told: Told) -> None:
        """See Client."""

        def delivered(error: object, message: Any) -> None:
            told(None if error is not None else message.offset())

        self._producer.produce(TOPIC, value, partition=partition, on_delivery=delivered)

    def wait(self, seconds: float) -> None:
        """See Client."""
        self._producer.poll(seconds)

    def close(self) -> None:
        """See Client."""
        assert self._producer.flush(FINISH_S_MAX) == 0, "records are left without an answer"


def kinds() -> dict[str, tuple[Callable[[str], Client], bool]]:
    """The producers by name: how to connect, and whether it may write a record twice."""
    return {
        "kafka-python-idempotent": (lambda at: KafkaPython(at, idempotent=True, compression=None), False),
        "kafka-python-plain": (lambda at: KafkaPython(at, idempotent=False, compression="gzip"), True),
        "aiokafka-idempotent": (lambda at: AioKafka(at, idempotent=True, compression=None), False),
        "aiokafka-plain": (lambda at: AioKafka(at, idempotent=False, compression="lz4"), True),
        "confluent-idempotent": (lambda at: Confluent(at, idempotent=True, compression="gzip"), False),
        "confluent-late": (lambda at: Confluent(at, idempotent=True, reconnect_ms=LATE_MS), False),
        "confluent-plain": (lambda at: Confluent(at, idempotent=False, compression="lz4"), True),
        "confluent-giving-up": (lambda at: Confluent(at, idempotent=False, repeats=0), False),
    }
