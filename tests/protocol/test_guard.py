"""The guard: valid requests pass unchanged, unknown tagged fields go, and nothing else gets through."""

import struct
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol.errors import RemoteProtocolError, UnsupportedVersion
from protocol.guard import COPY_BYTES_MAX, check
from protocol.messages import decode_header, decode_request
from protocol.versions import ACCEPTED, ApiKey
from protocol.walker import ELEMENTS_MAX, read_varint, write_varint
from tests.support.requests import Message, request_bytes, requests
from tests.support.tagging import TaggingEncoder

GOLDEN = Path(__file__).parents[1] / "golden" / "protocol"


def golden(name: str) -> memoryview:
    """A frame behind its four bytes of size, which must be right."""
    data = bytes.fromhex((GOLDEN / name).read_text())
    assert struct.unpack_from(">i", data) == (len(data) - 4,)
    return memoryview(data)[4:]


def guarded(frame: bytes) -> memoryview:
    api_key, version = struct.unpack_from(">hh", frame)
    return check(api_key, version, memoryview(frame))


def decoded(frame: memoryview) -> tuple[object, object]:
    header, body = decode_header(frame)
    return header, decode_request(header.api_key, header.version, body)


def refused(frame: bytes) -> bool:
    """Whether the guard or the decoder refuses the frame; anything but a RemoteProtocolError is a failure."""
    try:
        decoded(guarded(frame))
    except RemoteProtocolError:
        return True
    return False


def head(api_key: ApiKey, version: int, *, flexible: bool) -> bytes:
    return struct.pack(">hhih", api_key, version, 7, -1) + (b"\0" if flexible else b"")


@pytest.mark.parametrize("api_key", ApiKey)
def test_valid_requests_pass_as_they_are(api_key: ApiKey) -> None:
    @settings(max_examples=30, deadline=None)
    @given(requests(api_key))
    def law(message: Message) -> None:
        frame = memoryview(request_bytes(*message))
        assert check(message.api_key, message.version, frame) is frame
        decoded(frame)

    law()


@pytest.mark.parametrize("api_key", ApiKey)
def test_unknown_tagged_fields_change_nothing_wherever_they_are(api_key: ApiKey) -> None:
    @settings(max_examples=30, deadline=None)
    @given(requests(api_key), st.integers(0, 2**32), st.integers(1, 3))
    def law(message: Message, seed: int, tags_max: int) -> None:
        plain = TaggingEncoder(Random(0), 0).request(*message)
        assert plain == request_bytes(*message)
        encoder = TaggingEncoder(Random(seed), tags_max)
        tagged = encoder.request(*message)
        assert (tagged == plain) == (encoder.inserted == 0)
        assert guarded(tagged) == plain
        assert decoded(guarded(tagged)) == decoded(memoryview(plain))

    law()


@settings(max_examples=200, deadline=None)
@given(requests(), st.integers(0, 2**32), st.integers(1, 4), st.booleans())
def test_mutated_requests_are_refused_or_decode(
    message: Message, seed: int, changes: int, tagged: bool
) -> None:
    random = Random(seed)
    frame = bytearray(TaggingEncoder(random, 2 if tagged else 0).request(*message))
    for _ in range(changes):
        at = random.randrange(4, len(frame) + 1)
        match random.randrange(4):
            case 0 if at < len(frame):
                frame[at] = random.choice([0, 1, 2, 0x7F, 0x80, 0xFF, random.randrange(256)])
            case 1:
                frame[at:at] = random.randbytes(random.randint(1, 5))
            case 2:
                del frame[at : at + random.randint(1, 5)]
            case _:
                frame[at : at + 5] = b"\xff\xff\xff\xff\x7f"
    refused(bytes(frame))


@settings(max_examples=200, deadline=None)
@given(requests(), st.data())
def test_requests_that_are_cut_short_are_refused(message: Message, data: st.DataObject) -> None:
    frame = request_bytes(*message)
    assert refused(frame[: data.draw(st.integers(4, len(frame) - 1))])


@settings(max_examples=100, deadline=None)
@given(requests(), st.binary(min_size=1, max_size=9))
def test_bytes_behind_a_request_are_cut_off(message: Message, rest: bytes) -> None:
    frame = request_bytes(*message)
    assert guarded(frame + rest) == frame


def test_librdkafkas_request_for_all_topics_decodes() -> None:
    _, body = decoded(guarded(bytes(golden("metadata-13-librdkafka-all-topics.hex"))))
    assert (body.topics, body.allow_auto_topic_creation) == (None, False)  # type: ignore[attr-defined]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(list(ACCEPTED)), st.data())
@example(ApiKey.METADATA, None)
def test_random_bytes_are_refused_or_decode(api_key: ApiKey, data: st.DataObject | None) -> None:
    lowest, highest = ACCEPTED[api_key]
    version = data.draw(st.integers(lowest, highest)) if data else highest
    refused(struct.pack(">hh", api_key, version) + (data.draw(st.binary(max_size=200)) if data else b""))


@pytest.mark.parametrize(
    "name",
    [
        "metadata-9-array-of-2-to-the-35.hex",
        "metadata-0-array-of-2-to-the-31.hex",
        "fetch-4-array-in-array.hex",
        "create-topics-7-array-in-array.hex",
        "offset-commit-2-null-array.hex",
        "metadata-4-negative-array.hex",
        "describe-topic-partitions-0-marker.hex",
        "fetch-12-tag-longer-than-its-value.hex",
        "fetch-12-endless-tags.hex",
        "heartbeat-4-header-tag-past-the-end.hex",
    ],
)
def test_frames_that_kill_or_deceive_a_decoder_are_refused(name: str) -> None:
    frame = golden(name)
    with pytest.raises(RemoteProtocolError):
        guarded(bytes(frame))


def test_five_million_empty_names_are_refused() -> None:
    count = 5_000_000
    names = head(ApiKey.METADATA, 0, flexible=False) + struct.pack(">i", count) + bytes(2 * count)
    assert refused(names)


@pytest.mark.parametrize(("count", "passes"), [(ELEMENTS_MAX, True), (ELEMENTS_MAX + 1, False)])
def test_a_frame_holds_a_hundred_thousand_elements_at_most(count: int, passes: bool) -> None:
    start = struct.pack(">hhihs", ApiKey.DELETE_TOPICS, 1, 7, 1, b"t")
    names = struct.pack(">i", count) + bytes(2 * count)
    assert refused(start + names + bytes(4)) != passes


def test_elements_add_up_over_the_whole_frame() -> None:
    one = struct.pack(">hsi", 1, b"t", 60_000) + bytes(4 * 60_000)
    start = head(ApiKey.FETCH, 7, flexible=False) + struct.pack(">iiiibiii", -1, 0, 0, 0, 0, 0, -1, 0)
    assert not refused(start + struct.pack(">i", 1) + one)
    assert refused(start + struct.pack(">i", 2) + one + one)


@pytest.mark.parametrize("version", [4, 12, 18])
def test_a_fetch_of_twenty_thousand_topics_passes(version: int) -> None:
    partition = {"partition": 1, "fetch_offset": 2, "partition_max_bytes": 3}
    topic = {"topic": "t" * 20, "topic_id": None, "partitions": (partition,)}
    topic.pop("topic" if version > 12 else "topic_id")
    fields = {"max_wait": 1, "min_bytes": 1, "topics": (topic,) * 20_000}
    more = {"forgotten_topics_data": ()} if version > 6 else {}
    old = {"replica_id": -1} if version < 15 else {}
    frame = memoryview(request_bytes(ApiKey.FETCH, version, fields | more | old))
    assert check(ApiKey.FETCH, version, frame) is frame


def test_a_large_frame_is_walked_where_it_lies() -> None:
    partition = {"index": 0, "records": bytes(COPY_BYTES_MAX)}
    topics = ({"name": "t", "partition_data": (partition, partition)},)
    fields = {"transactional_id": None, "acks": -1, "timeout": 1, "topic_data": topics}
    frame = memoryview(bytearray(request_bytes(ApiKey.PRODUCE, 9, fields)))
    assert check(ApiKey.PRODUCE, 9, frame) is frame
    assert not frame.readonly


def test_a_frame_made_anew_is_as_writable_as_it_was_received() -> None:
    fields = {"transactional_id": None, "acks": -1, "timeout": 1, "topic_data": ()}
    plain = request_bytes(ApiKey.PRODUCE, 9, fields)
    tagged = memoryview(bytearray(plain[:-1] + b"\x01\x7f\x02ab"))
    made = check(ApiKey.PRODUCE, 9, tagged)
    assert bytes(made) == plain
    assert not made.readonly


def test_a_null_in_a_tagged_field_is_as_good_as_its_absence() -> None:
    fields = {"replica_id": -1, "max_wait": 1, "min_bytes": 1, "topics": (), "forgotten_topics_data": ()}
    plain = request_bytes(ApiKey.FETCH, 12, fields)
    assert guarded(plain[:-1] + b"\x01\x00\x01\x00") == plain
    present = plain[:-1] + b"\x01\x00\x02\x02a"
    assert guarded(present) == present


def test_varints_longer_than_need_be_are_read_as_kafka_reads_them() -> None:
    frame = head(ApiKey.METADATA, 9, flexible=True) + b"\x82\x00" + b"\x84\x80\x00abc\x80\x00" + b"\0\0\0\0"
    _, request = decoded(guarded(frame))
    assert [topic.name for topic in request.topics] == ["abc"]  # type: ignore[attr-defined]


@given(st.integers(0, 2**35 - 1))
def test_varints_round_trip(value: int) -> None:
    data = write_varint(value)
    assert read_varint(b"x" + data, 1) == (value, 1 + len(data))


def test_a_varint_of_six_bytes_is_a_protocol_error() -> None:
    with pytest.raises(RemoteProtocolError):
        read_varint(b"\xff\xff\xff\xff\xff\x01", 0)


def test_requests_that_are_not_accepted_are_not_walked() -> None:
    with pytest.raises(UnsupportedVersion):
        check(ApiKey.METADATA, 14, memoryview(b""))
    with pytest.raises(UnsupportedVersion):
        check(24, 0, memoryview(b""))
