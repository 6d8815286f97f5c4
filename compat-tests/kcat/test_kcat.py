"""kcat against a gateway."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from itertools import groupby

from tests.support.client_driver import REQUEST_BYTES_MAX, SECONDS_MAX, Headers, Outcome, Received, Sent
from tests.support.client_laws import ClientLaws

FORMAT = r"%p %o %T %K %S\n%k%s%h\n"
KEY_END = b"\x01"
DELIVERED = re.compile(rb"Message delivered to partition \d+ \(offset (\d+)\)")
TOO_LARGE = re.compile(rb"Delivery failed for message: Broker: Message size too large")
QUERIED = re.compile(rb"\[(\d+)\] offset (-?\d+)")


class Kcat:
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    sends_timestamps = False
    sends_null_header_values = False

    def produce(
        self,
        address: str,
        topic: str,
        records: Sequence[Sent],
        *,
        codec: str = "none",
        idempotent: bool = False,
    ) -> list[Outcome]:
        command = ["-P", "-b", address, "-t", topic, "-z", codec, "-vvv", "-X", "linger.ms=20"]
        command += ["-X", f"enable.idempotence={str(idempotent).lower()}"]
        command += ["-X", f"message.max.bytes={REQUEST_BYTES_MAX}"]
        outcomes: dict[int, list[Outcome]] = {}
        order = sorted(range(len(records)), key=lambda at: (records[at].partition, at))
        for (partition, is_plain), places in groupby(
            order, lambda at: (records[at].partition, plain(records[at]))
        ):
            batch = [records[at] for at in places]
            for several in [batch] if is_plain else [[record] for record in batch]:
                said = self._send([*command, "-p", str(partition)], several)
                outcomes.setdefault(partition, []).extend(said)
        left = {partition: iter(several) for partition, several in outcomes.items()}
        return [next(left[record.partition]) for record in records]

    def consume(self, address: str, topic: str, starts: Mapping[int, int], count: int) -> list[Received]:
        command = ["-C", "-b", address, "-t", topic, "-c", str(count), "-f", FORMAT]
        if len(starts) == 1:
            ((partition, offset),) = starts.items()
            return read(run([*command, "-p", str(partition), "-o", str(offset)]))
        assert not any(starts.values()), "kcat reads all partitions from one offset on"
        return read(run([*command, "-o", "beginning"]))

    def consume_in_group(self, address: str, topic: str, group: str, count: int) -> list[Received]:
        settings = ["-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000"]
        return read(run(["-b", address, "-c", str(count), "-f", FORMAT, *settings, "-G", group, topic]))

    def offsets_at(self, address: str, topic: str, times: Mapping[int, int]) -> dict[int, int | None]:
        wanted = [part for partition, time in times.items() for part in ("-t", f"{topic}:{partition}:{time}")]
        found = QUERIED.findall(run(["-Q", "-b", address, *wanted]))
        return {int(partition): int(offset) if int(offset) >= 0 else None for partition, offset in found}

    def ends(self, address: str, topic: str, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        first = self.offsets_at(address, topic, dict.fromkeys(partitions, -2))
        last = self.offsets_at(address, topic, dict.fromkeys(partitions, -1))
        return {partition: (first[partition] or 0, last[partition] or 0) for partition in partitions}

    def _send(self, command: list[str], records: Sequence[Sent]) -> list[Outcome]:
        (record, *more) = records
        if plain(record):
            lines = [(one.key or b"") + KEY_END + (one.value or b"") + b"\n" for one in records]
            command = [*command, "-K", r"\x01"]
            data = b"".join(lines)
        else:
            assert not more
            command = [*command, "-D", r"\x02", "-Z"]
            command += ["-K", r"\x01"] if record.key is not None else []
            command += [part for name, value in record.headers for part in ("-H", f"{name}={text(value)}")]
            key = b"" if record.key is None else record.key + KEY_END
            data = key + (record.value or b"") + b"\x02"
        done = subprocess.run(
            ["kcat", *command], check=False, input=data, capture_output=True, timeout=SECONDS_MAX
        )
        if TOO_LARGE.search(done.stderr):
            return [Outcome(-1, 10)] * len(records)
        assert done.returncode == 0, done.stderr
        return [Outcome(int(offset)) for offset in DELIVERED.findall(done.stderr)]


def plain(record: Sent) -> bool:
    """Whether kcat takes the record as one line among others."""
    return bool(record.key and record.value) and not record.headers and b"\n" not in (record.value or b"")


def text(value: bytes | None) -> str:
    return (value or b"").decode()


def run(command: list[str]) -> bytes:
    done = subprocess.run(["kcat", "-q", *command], check=False, capture_output=True, timeout=SECONDS_MAX)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read(written: bytes) -> list[Received]:
    received, at = [], 0
    while at < len(written):
        end = written.index(b"\n", at)
        partition, offset, timestamp, key_size, value_size = map(int, written[at:end].split())
        key, at = taken(written, end + 1, key_size)
        value, at = taken(written, at, value_size)
        end = written.index(b"\n", at)
        received.append(Received(partition, offset, timestamp, key, value, headers(written[at:end])))
        at = end + 1
    return received


def taken(written: bytes, at: int, size: int) -> tuple[bytes | None, int]:
    return (None, at) if size < 0 else (written[at : at + size], at + size)


def headers(line: bytes) -> Headers:
    pairs = [pair.split(b"=", 1) for pair in line.split(b",")] if line else []
    return tuple((name.decode(), value) for name, value in pairs)


class TestKcat(ClientLaws):
    driver = Kcat()

    def various_records(self) -> list[Sent]:
        """What kcat can read: its own delimiters aside, and neither empty keys nor empty values."""
        several: Headers = (("trace", b"1"), ("trace", b"2"), ("ключ", "große".encode()))
        return [
            Sent(0, b"a value"),
            Sent(0, b"a value", b"a key"),
            Sent(0, None, b"a tombstone"),
            Sent(0, "große\nTrommel".encode(), "ключ".encode()),
            Sent(0, bytes(range(3, 256)), b"any bytes"),
            Sent(0, b"with headers", b"a key", several),
            Sent(0, None, b"a tombstone with headers", several),
        ]
