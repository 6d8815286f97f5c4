"""Frames: four bytes of size, then a request or a response of that size.

The first eight bytes of a request are enough to know its size, its API and its version, and so whether to
take in the rest at all: a Produce may be large, nothing else has a reason to be. No I/O here; the limits
are the caller's.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from protocol.errors import RemoteProtocolError
from protocol.versions import ApiKey

PREFIX_SIZE = 8
"""How many bytes `read_prefix` wants."""

SIZE_SIZE = 4
"""The bytes in front of a frame that its size does not count."""

REQUEST_SIZE_MIN = 10
"""API key, version, correlation id and the length of the client id: no accepted request is smaller."""

Buffer = bytes | bytearray | memoryview

_PREFIX = struct.Struct(">ihh")
_SIZE = struct.Struct(">i")


class Limits(NamedTuple):
    """How large a request may be, its four bytes of size not counted."""

    produce_bytes_max: int
    other_bytes_max: int


class Prefix(NamedTuple):
    """The first eight bytes of a request. `size` counts what follows the first four of them."""

    size: int
    api_key: int
    version: int


def read_prefix(prefix: Buffer, limits: Limits) -> Prefix:
    """Return what the first eight bytes of a request say; raises RemoteProtocolError if its size is out of
    bounds.

    API key and version may still be unknown: `versions.accept` tells.
    """
    size, api_key, version = _PREFIX.unpack_from(prefix)
    size_max = limits.produce_bytes_max if api_key == ApiKey.PRODUCE else limits.other_bytes_max
    if not REQUEST_SIZE_MIN <= size <= size_max:
        raise RemoteProtocolError(
            f"a request of {size} bytes for api key {api_key}; {REQUEST_SIZE_MIN} to {size_max} are allowed"
        )
    return Prefix(size, api_key, version)


def frame(parts: Sequence[Buffer]) -> list[Buffer]:
    """Return the parts of one message with their size in front, ready to be written in order, none of them
    copied."""
    return [_SIZE.pack(sum(len(part) for part in parts)), *parts]
