"""Record the batches of this directory from the clients that are installed. Run by hand."""

import socket
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from struct import Struct

import aiokafka.record.default_records as aiokafka_records
import confluent_kafka
import kafka.record.default_records as kafka_python_records
from kio.schema.fetch.v4.response import FetchResponse
from kio.serial import entity_reader

HERE = Path(__file__).parent
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
TIME = 1_700_000_000_000
COUNT = 12
INT32 = Struct(">i")


def key(i: int) -> bytes | None:
    return None if i == 1 else f"key-{i}".encode()


def value(i: int) -> bytes | None:
    return None if i == 2 else f"value-{i} ".encode() * 20


def from_builders() -> Iterator[tuple[str, bytes]]:
    """kafka-python and aiokafka, with the codecs whose libraries are there."""
    for name, module in (("kafka-python", kafka_python_records), ("aiokafka", aiokafka_records)):
        for codec, codec_name in enumerate(CODECS):
            builder = module.DefaultRecordBatchBuilder(
                magic=2,
                compression_type=codec,
                is_transactional=0,
                producer_id=-1,
                producer_epoch=-1,
                base_sequence=-1,
                batch_size=1 << 20,
            )
            for i in range(COUNT):
                headers = [("h", b"x"), ("empty", b"")] if i == 3 else []
                builder.append(i, TIME + 10 * (i % 5), key(i), value(i), headers)
            try:
                yield f"{name}-{version(name)}-{codec_name}", bytes(builder.build())
            except Exception as error:
                print(f"{name} {codec_name}: {error}", file=sys.stderr)  # noqa: T201


def from_librdkafka() -> Iterator[tuple[str, bytes]]:
    """librdkafka, by way of its mock cluster."""
    for codec_name in CODECS:
        producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": "mock",
                "test.mock.num.brokers": 1,
                "compression.type": codec_name,
                "linger.ms": 500,
                "enable.idempotence": True,
                "log_level": 0,
            }
        )
        brokers = producer.list_topics(timeout=10).brokers
        for i in range(COUNT):
            headers: list[tuple[str, str | bytes | None]] = [("h", b"x"), ("empty", b""), ("null", None)]
            time = TIME + 10 * (i % 5)
            producer.produce(
                "t", value(i), key(i), 0, timestamp=time, headers=headers if i == 3 else headers[:0]
            )
        assert producer.flush(10) == 0
        name = f"librdkafka-{confluent_kafka.libversion()[0]}-{codec_name}"
        yield name, fetch(brokers[1].host, brokers[1].port)


def fetch(host: str, port: int) -> bytes:
    """The records of partition 0 of topic `t`, by Fetch v4."""
    request = Struct(">hhihiiiibih1siiqi").pack(
        *(1, 4, 7, -1), *(-1, 1000, 1, 1 << 20, 0), *(1, 1, b"t", 1, 0, 0, 1 << 20)
    )
    with socket.create_connection((host, port)) as connection, connection.makefile("rb") as stream:
        connection.sendall(INT32.pack(len(request)) + request)
        (size,) = INT32.unpack(stream.read(4))
        response, _ = entity_reader(FetchResponse)(stream.read(size), 4)
    records = response.responses[0].partitions[0].records
    assert records is not None
    return bytes(records)


if __name__ == "__main__":
    for recorders in (from_builders(), from_librdkafka()):
        for file_name, batch in recorders:
            path = HERE / f"{file_name}.hex"
            if not path.exists():
                path.write_text(batch.hex("\n", 40) + "\n")
