"""Messages: headers, requests by kio, responses that equal kio's, ApiVersions from the table."""

import struct
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.index import load_response_schema
from kio.serial import entity_reader

from protocol import messages
from protocol.errors import RemoteProtocolError, UnsupportedVersion
from protocol.messages import (
    RequestHeader,
    api_versions_refusal,
    api_versions_response,
    decode_header,
    decode_request,
    encode_response,
    with_correlation_id,
)
from protocol.versions import ACCEPTED, ADVERTISED, ApiKey
from tests.support.requests import (
    EPOCH,
    REQUESTS,
    Message,
    request_bytes,
    requests,
    response_bytes,
    responses,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "protocol"

CLIENT_IDS = st.none() | st.text(max_size=10) | st.just("é" * 100)


def golden(name: str) -> bytes:
    return bytes.fromhex((GOLDEN / name).read_text())


@settings(max_examples=200, deadline=None)
@given(requests(), st.integers(-(2**31), 2**31 - 1), CLIENT_IDS)
def test_headers_and_bodies_decode(message: Message, correlation_id: int, client_id: str | None) -> None:
    api_key, version, tree = message
    frame = request_bytes(*message, correlation_id=correlation_id, client_id=client_id)
    header, body = decode_header(memoryview(frame))
    assert header == RequestHeader(api_key, version, correlation_id, client_id)
    decoded = decode_request(api_key, version, body)
    assert {name for name in tree if hasattr(decoded, name)} == set(tree)


@given(st.binary(max_size=40))
def test_any_bytes_have_a_header_or_are_a_protocol_error(data: bytes) -> None:
    try:
        header, body = decode_header(memoryview(data))
    except RemoteProtocolError:
        return
    assert len(body) < len(data)
    assert ACCEPTED[ApiKey(header.api_key)].lowest <= header.version


def test_a_header_that_is_not_accepted_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedVersion) as refused:
        decode_header(memoryview(struct.pack(">hhih", 18, 5, 1, -1)))
    assert (refused.value.api_key, refused.value.version) == (18, 5)


def test_a_client_id_that_is_not_text_is_a_protocol_error() -> None:
    with pytest.raises(RemoteProtocolError):
        decode_header(memoryview(struct.pack(">hhihs", 3, 0, 1, 1, b"\xff")))


@pytest.mark.parametrize("body", [b"\0\0\0\1\0\1\xff\0", b"\0\0\0\0\2", b"\0\0\0\0", b"\0\0\0\0\1x"])
def test_what_kio_refuses_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_request(ApiKey.METADATA, 4, memoryview(body))


def test_a_panic_in_native_code_is_a_protocol_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        pass

    def reader(failure: BaseException) -> object:
        def read(_buffer: object, _offset: int) -> object:
            raise failure

        return lambda _api_key, _version: read

    monkeypatch.setattr(messages, "_reader", reader(PanicException("index out of bounds")))
    with pytest.raises(RemoteProtocolError):
        decode_request(ApiKey.METADATA, 4, memoryview(b""))
    monkeypatch.setattr(messages, "_reader", reader(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        decode_request(ApiKey.METADATA, 4, memoryview(b""))


@pytest.mark.parametrize("api_key", ApiKey)
def test_responses_are_what_kio_writes(api_key: ApiKey) -> None:
    @settings(max_examples=30, deadline=None)
    @given(responses(api_key), st.integers(-(2**31), 2**31 - 1))
    def law(message: Message, correlation_id: int) -> None:
        expected = response_bytes(*message, correlation_id=correlation_id)
        assert encode_response(message.api_key, message.version, correlation_id, message.tree) == expected

    law()


@pytest.mark.parametrize(("api_key", "version"), REQUESTS)
def test_what_a_tree_leaves_out_gets_its_default(api_key: ApiKey, version: int) -> None:
    schema = load_response_schema(api_key, version)
    out = encode_response(api_key, version, 5, {})
    header, at = entity_reader(schema.__header_schema__)(out, 0)
    decoded, size = entity_reader(schema)(out, at)
    assert (header.correlation_id, at + size) == (5, len(out))
    assert getattr(decoded, "error_code", 0) == 0


def test_one_tree_serves_all_versions() -> None:
    partition = {
        "error_code": 3,
        "partition_index": 1,
        "leader_id": 2,
        "leader_epoch": 4,
        "replica_nodes": (2,),
    }
    tree = {
        "throttle_time": 0,
        "brokers": [{"node_id": 2, "host": "h", "port": 9092, "rack": "r"}],
        "cluster_id": "c",
        "controller_id": 2,
        "topics": [{"name": "t", "topic_id": UUID(int=5), "partitions": [partition]}],
    }
    lowest, highest = ACCEPTED[ApiKey.METADATA]
    for version in range(lowest, highest + 1):
        schema = load_response_schema(ApiKey.METADATA, version)
        out = encode_response(ApiKey.METADATA, version, 1, tree)
        decoded: Any = entity_reader(schema)(out, 5 if version >= 9 else 4)[0]
        (topic,) = decoded.topics
        assert topic.name == "t"
        assert getattr(topic, "topic_id", UUID(int=5)) == UUID(int=5)
        assert getattr(topic, "topic_authorized_operations", -(2**31)) == -(2**31)
        assert topic.partitions[0].error_code == 3
        assert getattr(topic.partitions[0], "leader_epoch", 4) == 4


@given(st.integers(0, 253_402_300_799_999), st.integers(-(2**31), 2**31 - 1))
def test_milliseconds_are_exact_as_numbers_and_as_times(time: int, wait: int) -> None:
    def encoded(time: object, wait: object) -> tuple[bytes, bytes]:
        partition = {"log_append_time": time}
        tree = {"responses": [{"name": "t", "partition_responses": [partition]}], "throttle_time": wait}
        out = encode_response(ApiKey.PRODUCE, 3, 0, tree)
        return out[-12:-4], out[-4:]

    assert encoded(time, wait) == (struct.pack(">q", time), struct.pack(">i", wait))
    as_times = encoded(EPOCH + timedelta(milliseconds=time), timedelta(milliseconds=wait))
    assert as_times == encoded(time, wait)
    assert encoded(None, 0)[0] == encoded(-1, 0)[0] == b"\xff" * 8


def test_a_name_that_no_version_has_fails_at_every_level() -> None:
    for tree in (
        {"throttle_time_ms": 1},
        {"topics": [{"topic": "t"}]},
        {"topics": [{"name": "t", "partitions": [{"index": 1}]}]},
    ):
        with pytest.raises(AssertionError):
            encode_response(ApiKey.METADATA, 1, 1, tree)


def test_a_null_where_none_may_be_is_an_error() -> None:
    with pytest.raises(TypeError):
        encode_response(ApiKey.METADATA, 1, 1, {"topics": [{"name": None}]})


def test_text_too_long_for_its_version_is_an_error() -> None:
    tree = {"topics": [{"name": "x" * 32768}]}
    with pytest.raises(ValueError, match="name has 32768 bytes"):
        encode_response(ApiKey.METADATA, 8, 1, tree)
    assert len(encode_response(ApiKey.METADATA, 9, 1, tree)) > 32768


def test_tagged_fields_are_written_when_they_are_not_the_default() -> None:
    def partition(**fields: object) -> bytes:
        tree = {"responses": [{"name": "t", "partition_responses": [fields]}]}
        return encode_response(ApiKey.PRODUCE, 10, 1, tree)

    plain = partition()
    assert partition(current_leader={"leader_id": -1, "leader_epoch": -1}) == plain
    assert partition(current_leader=None) == plain
    assert len(partition(current_leader={"leader_id": 3})) == len(plain) + 2 + 9


def test_a_kept_response_answers_another_request() -> None:
    tree = {"error_code": 5, "node_id": 1, "host": "h", "port": 9}
    kept = encode_response(ApiKey.FIND_COORDINATOR, 3, 1, tree)
    assert with_correlation_id(kept, -7) == encode_response(ApiKey.FIND_COORDINATOR, 3, -7, tree)


@pytest.mark.parametrize("version", range(5))
def test_api_versions_lists_the_table_without_tagged_fields(version: int) -> None:
    out = api_versions_response(version, 99)
    decoded: Any
    decoded, size = entity_reader(load_response_schema(18, version))(out, 4)
    assert out[:4] == struct.pack(">i", 99)
    assert size + 4 == len(out)
    listed = {key.api_key: (key.min_version, key.max_version) for key in decoded.api_keys}
    assert listed == {int(key): tuple(versions) for key, versions in ADVERTISED.items()}
    assert decoded.error_code == 0
    if version >= 3:
        assert out[-1] == 0
        assert len(out) == 4 + 2 + 1 + 7 * len(ADVERTISED) + 4 + 1


def test_an_unknown_version_of_api_versions_is_told_the_range() -> None:
    asked = golden("api-versions-5-request.hex")[4:]
    assert api_versions_refusal(memoryview(asked)) == golden("api-versions-refusal.hex")


def test_a_refusal_needs_a_correlation_id() -> None:
    with pytest.raises(RemoteProtocolError):
        api_versions_refusal(memoryview(struct.pack(">hh", 18, 5) + b"abc"))
