"""Frames: the first eight bytes decide whether the rest is taken in."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import RemoteProtocolError
from protocol.frames import PREFIX_SIZE, REQUEST_SIZE_MIN, Limits, Prefix, frame, read_prefix

LIMITS = Limits(produce_bytes_max=100_000, other_bytes_max=1_000)


def prefix(size: int, api_key: int, version: int = 0) -> bytes:
    return struct.pack(">ihh", size, api_key, version)


@given(st.binary(min_size=PREFIX_SIZE, max_size=PREFIX_SIZE))
def test_any_eight_bytes_are_a_prefix_or_a_protocol_error(data: bytes) -> None:
    try:
        read = read_prefix(data, LIMITS)
    except RemoteProtocolError:
        return
    assert prefix(*read) == data
    assert REQUEST_SIZE_MIN <= read.size <= LIMITS.produce_bytes_max


@pytest.mark.parametrize(
    ("api_key", "size_max"), [(0, 100_000), (1, 1_000), (3, 1_000), (18, 1_000), (999, 1_000)]
)
def test_each_api_has_its_limit(api_key: int, size_max: int) -> None:
    assert read_prefix(prefix(size_max, api_key, 3), LIMITS) == Prefix(size_max, api_key, 3)
    with pytest.raises(RemoteProtocolError):
        read_prefix(prefix(size_max + 1, api_key), LIMITS)


@pytest.mark.parametrize("size", [-(2**31), -1, 0, 1, REQUEST_SIZE_MIN - 1, 2**31 - 1])
def test_impossible_sizes_are_protocol_errors(size: int) -> None:
    with pytest.raises(RemoteProtocolError):
        read_prefix(prefix(size, 0), LIMITS)


def test_http_is_not_taken_for_a_request() -> None:
    with pytest.raises(RemoteProtocolError):
        read_prefix(b"GET / HT", LIMITS)


def test_a_frame_has_the_size_of_all_its_parts_in_front_and_copies_none() -> None:
    parts: list[bytes | bytearray | memoryview] = [b"abc", memoryview(b"defg"), bytearray(b"")]
    framed = frame(parts)
    assert b"".join(framed) == b"\0\0\0\x07abcdefg"
    assert all(one is other for one, other in zip(framed[1:], parts, strict=True))
    assert b"".join(frame([])) == bytes(4)
