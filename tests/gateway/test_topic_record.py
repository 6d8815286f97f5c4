"""Laws of the stored records: they come back as they were, and any bytes are a record or Corrupt."""

from pathlib import Path
from uuid import UUID

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.places import Exceptional, Place, Places, Run
from gateway.topic_record import (
    PARTITIONS_MAX,
    DropRecord,
    TopicRecord,
    decode_drop,
    decode_name,
    decode_topic,
    encode_drop,
    encode_name,
    encode_topic,
    name_key,
)
from wal.errors import Corrupt
from wal.types import LogId, StreamId

GOLDEN = Path(__file__).parent.parent / "golden" / "metadata"

PLACES = Places(
    (
        Run(0, 3, (LogId(0), LogId(1)), StreamId(1024)),
        Run(3, 2, (LogId(1),), StreamId(70_000)),
    ),
    (Exceptional(2, (Place(LogId(0), StreamId(1026)), Place(LogId(1), StreamId(90_000), 5000, 7))),),
)
TOPIC = TopicRecord(
    UUID("0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f1"),
    {"retention.ms": "1000", "max.message.bytes": "2000"},
    3,
    PLACES,
)
DROP = DropRecord("orders", PLACES, frozenset({LogId(1)}))


@st.composite
def places(draw: st.DrawFn) -> Places:
    made = Places()
    for _ in range(draw(st.integers(1, 5))):
        logs = [LogId(log) for log in draw(st.lists(st.integers(0, 99), min_size=1, max_size=4))]
        made = made.grown(draw(st.integers(1, 100)), logs, StreamId(draw(st.integers(1024, 2**63))))
    return made


@settings(max_examples=100, deadline=None)
@given(
    st.uuids(),
    st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3),
    st.integers(0, 2**40),
    places(),
)
def test_a_topic_comes_back_as_it_was(
    topic_id: UUID, config: dict[str, str], version: int, where: Places
) -> None:
    record = TopicRecord(topic_id, config, version, where)
    assert decode_topic("topics/a", encode_topic(record)) == record


def test_promises_and_names_come_back_as_they_were() -> None:
    assert decode_drop("drops/a", encode_drop(DROP)) == DROP
    assert decode_name("topic-names/a_b", encode_name("a.b")) == "a.b"


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("topic-1.hex", encode_topic(TOPIC)),
        ("drop-1.hex", encode_drop(DROP)),
        ("topic-name-1.hex", encode_name("a.b")),
    ],
)
def test_stored_bytes_are_what_they_have_always_been(file: str, data: bytes) -> None:
    assert data.hex() == (GOLDEN / file).read_text().strip()


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.integers(0, 200).map(lambda cut: encode_topic(TOPIC)[:cut])))
def test_any_bytes_are_a_record_or_corrupt(data: bytes) -> None:
    for decode in (decode_topic, decode_drop, decode_name):
        try:
            decode("topics/a", data)
        except Corrupt as error:
            assert "topics/a" in str(error)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_record_is_a_record_or_corrupt(data: st.DataObject) -> None:
    damaged = bytearray(encode_topic(TOPIC))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        record = decode_topic("topics/a", bytes(damaged))
    except Corrupt:
        return
    assert 1 <= record.places.count <= PARTITIONS_MAX
    assert len(list(record.places.each())) == record.places.count


def fields(**changes: object) -> bytes:
    whole = msgpack.unpackb(encode_topic(TOPIC))
    return bytes(msgpack.packb({**whole, **changes}))


@pytest.mark.parametrize(
    "data",
    [
        fields(format=2),
        fields(id=b"short"),
        fields(config={"a": 1}),
        fields(config_version=-1),
        fields(places=[]),
        fields(places=[[1, 1, [0], 1024]]),
        fields(places=[[0, 0, [0], 1024]]),
        fields(places=[[0, 1, [], 1024]]),
        fields(places=[[0, 1, [0], 1023]]),
        fields(places=[[0, PARTITIONS_MAX + 1, [0], 1024]]),
        fields(places=[[0, 1, [0]]]),
        fields(places=[[0, True, [0], 1024]]),
        fields(exceptions=[[5, [[0, 1024, 0, 0]]]]),
        fields(exceptions=[[0, []]]),
        fields(exceptions=[[0, [[0, 1024, 0]]]]),
    ],
)
def test_a_record_that_breaks_a_rule_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt, match="topics/a"):
        decode_topic("topics/a", data)


def test_only_names_with_a_dot_or_an_underscore_can_collide() -> None:
    assert name_key("a.b") == name_key("a_b") == "topic-names/a_b"
    assert name_key("a-b") is None
