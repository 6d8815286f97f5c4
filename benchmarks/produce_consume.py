"""How fast the gateway takes records and gives them back, and what that costs, beside what the disk can do.

    python -m benchmarks.produce_consume [--megabytes 96] [--batch-bytes 524288] [--directory DIR]

Records of 1 KB, to one partition and to sixteen, produced with acks=all by a producer that is idempotent or
is not; consumed from memory right after, and again, from the disk, of a restarted gateway. The disk's own
figure is `write` and `fdatasync` of the same bytes, a batch at a time, into one file; beside it, into a new
file each, as the gateway's blocks are. The CPU seconds are those of the gateway process alone, user and
system, all threads. MB are 10^6 bytes. Nothing is judged here: two busy cores can make any figure bad. Linux
only, for /proc.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from kafka.admin import KafkaAdminClient, NewTopic

from benchmarks.load import batch_of
from tests.support.gateway import ROOT, GatewayProcess

MB = 1_000_000
CONSUMED_TIMES = 3
"""From memory, to make a short run longer."""
CACHE_TO_RUN = 1.25
"""What the gateway keeps in memory holds one run, and was filled before the first: a process that still grows
pays for new memory, on a virtual machine several CPU seconds per GB.
"""


class Line(NamedTuple):
    """One measurement."""

    what: str
    size: int
    seconds: float
    cpu_s: float


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(*arguments: object) -> float:
    """Run the load generator; the seconds that it measured."""
    command = [sys.executable, "-m", "benchmarks.load", *map(str, arguments)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    if ran.returncode:
        raise SystemExit(f"the load generator failed:\n{ran.stderr}")
    return float(ran.stdout)


def raw(directory: Path, batch: bytes, batches: int, *, files: int) -> Line:
    """The disk's own: write and fdatasync, one batch after the other, into new files in turn."""
    paths = [directory / f"raw-{number}" for number in range(files)]
    cpu_began, began = time.process_time(), time.perf_counter()
    opened = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600) for path in paths]
    for number in range(batches):
        os.write(opened[number % files], batch)
        os.fdatasync(opened[number % files])
    for file in opened:
        os.close(file)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    for path in paths:
        path.unlink()
    what = "raw write + fdatasync" + (", a file each" if files > 1 else "")
    return Line(what, len(batch) * batches, seconds, cpu_s)


class Bench:
    """A gateway and what is asked of it."""

    def __init__(self, gateway: GatewayProcess, batch_bytes: int, batches: int) -> None:
        self._gateway = gateway
        self._batch_bytes = batch_bytes
        self._batches = batches
        self._size = len(batch_of(batch_bytes)) * batches

    def produce(self, topic: str, partitions: int, producer_id: int) -> Line:
        """All batches into a topic."""
        kind = "idempotent" if producer_id >= 0 else "plain"
        what = f"produce, {kind}, {_partitions(partitions)}"
        return self._measured(
            what, self._size, "produce", topic, partitions, self._batches, self._batch_bytes, producer_id
        )

    def consume(self, topic: str, partitions: int, times: int, where: str) -> Line:
        """All of a topic, some times over."""
        what = f"consume, {where}, {_partitions(partitions)}"
        lines = [
            self._measured(what, self._size, "consume", topic, partitions, self._size) for _ in range(times)
        ]
        return Line(
            what,
            self._size * times,
            sum(line.seconds for line in lines),
            sum(line.cpu_s for line in lines),
        )

    def _measured(self, what: str, size: int, job: str, *arguments: object) -> Line:
        before = cpu_seconds(self._gateway.pid)
        seconds = load(job, self._gateway.port, *arguments)
        return Line(what, size, seconds, cpu_seconds(self._gateway.pid) - before)


def _partitions(count: int) -> str:
    return "1 partition" if count == 1 else f"{count} partitions"


def create_topics(address: str, partitions: dict[str, int]) -> None:
    """Through a client that is no part of what is measured."""
    client = KafkaAdminClient(bootstrap_servers=address)
    client.create_topics([NewTopic(topic, count, 1) for topic, count in partitions.items()])
    client.close()


def lines(directory: Path, megabytes: int, batch_bytes: int) -> Iterator[Line]:
    """All measurements, each as soon as it is done."""
    batch = bytes(batch_of(batch_bytes))
    batches = max(1, megabytes * MB // len(batch))
    yield raw(directory, batch, batches, files=1)
    yield raw(directory, batch, batches, files=batches)
    cache = int(len(batch) * batches * CACHE_TO_RUN)
    gateway = GatewayProcess(
        directory, log_level="warning", message_bytes_max=2 * batch_bytes, cache_bytes_max=cache
    )
    bench = Bench(gateway, batch_bytes, batches)
    kinds = [
        (f"{name}-{count}", count, producer)
        for producer, name in ((-1, "plain"), (7, "idempotent"))
        for count in (1, 16)
    ]
    with gateway:
        create_topics(gateway.address, {"warm-up": 1, **{topic: count for topic, count, _ in kinds}})
        load("produce", gateway.port, "warm-up", 1, 1 + cache // len(batch), batch_bytes, -1)
        for topic, count, producer in kinds:
            yield bench.produce(topic, count, producer)
            if producer < 0:
                yield bench.consume(topic, count, CONSUMED_TIMES, "from memory")
        gateway.stop()
        gateway.start()
        for topic, count, producer in kinds:
            if producer < 0:
                yield bench.consume(topic, count, 1, "from disk")
    yield raw(directory, batch, batches, files=1)


@contextmanager
def place(directory: Path | None) -> Iterator[Path]:
    """Where the data goes; removed at the end."""
    with tempfile.TemporaryDirectory(prefix="drumlog-benchmark-", dir=directory) as made:
        yield Path(made)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.produce_consume", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=96, help="in each run")
    parser.add_argument("--batch-bytes", type=int, default=512 * 1024)
    parser.add_argument("--directory", type=Path, help="on the disk to be measured")
    given = parser.parse_args()
    print(f"{'':44}{'MB/s':>8}{'of raw':>8}{'CPU s/GB':>10}")
    disk = 0.0
    with place(given.directory) as directory:
        for line in lines(directory, given.megabytes, given.batch_bytes):
            speed = line.size / MB / line.seconds
            disk = disk or speed
            cost = line.cpu_s / (line.size / 1e9)
            print(f"{line.what:44}{speed:8.0f}{speed / disk:8.2f}{cost:10.2f}", flush=True)


if __name__ == "__main__":
    main()
