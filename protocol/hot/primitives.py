"""What the hand-written codecs share: varints, strings, tagged fields, node endpoints.

Readers take the frame and a byte index and give back a value and the next index. Running off the end shows as
IndexError or struct.error wherever a fixed number of bytes is read; a slice would come back short in silence,
so every length is compared with what is left before it is used. `MALFORMED` lists what a decoder turns into
RemoteProtocolError.
"""

import struct
from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple
from uuid import UUID

from protocol.errors import RemoteProtocolError

ELEMENTS_MAX = 20_000
"""Array elements and tagged fields that one frame may hold."""

MALFORMED = (struct.error, IndexError, UnicodeDecodeError)
"""What running off the end of a frame, or a string that is no UTF-8, raises in a decoder."""

I16 = Struct(">h")
I32 = Struct(">i")

_UUID_SIZE = 16
_ZERO_UUID = bytes(_UUID_SIZE)


class NodeEndpoint(NamedTuple):
    """Where a node listens, told together with the partitions that it leads."""

    node_id: int
    host: str
    port: int
    rack: str | None = None


def read_uvarint(view: memoryview, at: int) -> tuple[int, int]:
    """Read an unsigned integer of at most 32 bits."""
    byte: int = view[at]
    at += 1
    if byte < 0x80:
        return byte, at
    value = byte & 0x7F
    for shift in (7, 14, 21, 28):
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 32:
                break
            return value, at
    raise RemoteProtocolError("an integer of more than 32 bits")


def read_text(view: memoryview, at: int, length: int) -> tuple[str, int]:
    """Read `length` bytes of UTF-8."""
    end = at + length
    if length < 0 or end > len(view):
        raise RemoteProtocolError(f"a string of {length} bytes where {len(view) - at} are left")
    return str(view[at:end], "utf-8"), end


def read_string(view: memoryview, at: int) -> tuple[str, int]:
    """Read a string behind its int16 length."""
    (length,) = I16.unpack_from(view, at)
    return read_text(view, at + 2, length)


def read_nullable_string(view: memoryview, at: int) -> tuple[str | None, int]:
    """Read a string behind its int16 length, -1 for null."""
    (length,) = I16.unpack_from(view, at)
    return (None, at + 2) if length == -1 else read_text(view, at + 2, length)


def read_compact_string(view: memoryview, at: int) -> tuple[str, int]:
    """Read a string behind its length + 1 as a varint."""
    length, at = read_uvarint(view, at)
    return read_text(view, at, length - 1)


def read_compact_nullable_string(view: memoryview, at: int) -> tuple[str | None, int]:
    """Read a string behind its length + 1 as a varint, 0 for null."""
    length, at = read_uvarint(view, at)
    return (None, at) if length == 0 else read_text(view, at, length - 1)


def read_uuid(view: memoryview, at: int) -> tuple[UUID, int]:
    """Read the 16 bytes of an id."""
    end = at + _UUID_SIZE
    if end > len(view):
        raise RemoteProtocolError("an id is cut short")
    return UUID(bytes=bytes(view[at:end])), end


def read_count(view: memoryview, at: int, elements: int) -> tuple[int, int, int]:
    """Read an array's int32 length: the length, `elements` with it added, the next index."""
    (count,) = I32.unpack_from(view, at)
    return count, _bounded(count, elements), at + 4


def read_compact_count(view: memoryview, at: int, elements: int) -> tuple[int, int, int]:
    """As `read_count`, for a length + 1 as a varint."""
    count, at = read_uvarint(view, at)
    return count - 1, _bounded(count - 1, elements), at


def _bounded(count: int, elements: int) -> int:
    if count < 0:
        raise RemoteProtocolError(f"an array of {count} elements")
    if elements + count > ELEMENTS_MAX:
        raise RemoteProtocolError(f"more than {ELEMENTS_MAX} elements")
    return elements + count


def skip_tags(view: memoryview, at: int, elements: int) -> tuple[int, int]:
    """Skip a section of tagged fields: `elements` with them added, the next index."""
    count, at = read_uvarint(view, at)
    if not count:
        return elements, at
    elements = _bounded(count, elements)
    for _ in range(count):
        _tag, at = read_uvarint(view, at)
        size, at = read_uvarint(view, at)
        at += size
        if at > len(view):
            raise RemoteProtocolError(f"a tagged field of {size} bytes ends behind the frame")
    return elements, at


def uvarint(value: int) -> bytes:
    """An unsigned integer, seven bits a byte."""
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def string(value: str) -> bytes:
    """A string behind its int16 length."""
    encoded = value.encode()
    return I16.pack(len(encoded)) + encoded


def nullable_string(value: str | None) -> bytes:
    """A string behind its int16 length, -1 for null."""
    return b"\xff\xff" if value is None else string(value)


def compact_string(value: str) -> bytes:
    """A string behind its length + 1 as a varint."""
    encoded = value.encode()
    return uvarint(len(encoded) + 1) + encoded


def compact_nullable_string(value: str | None) -> bytes:
    """A string behind its length + 1 as a varint, 0 for null."""
    return b"\x00" if value is None else compact_string(value)


def topic_id_bytes(topic_id: UUID | None) -> bytes:
    """The 16 bytes of an id, zeros for none."""
    return _ZERO_UUID if topic_id is None else topic_id.bytes


def tags(fields: Sequence[tuple[int, bytes]]) -> bytes:
    """A section of tagged fields, each (tag, content), in ascending order of tags."""
    if not fields:
        return b"\x00"
    section = bytearray(uvarint(len(fields)))
    for tag, content in fields:
        section += uvarint(tag)
        section += uvarint(len(content))
        section += content
    return bytes(section)


def endpoints_tags(endpoints: Sequence[NodeEndpoint]) -> bytes:
    """The tagged fields at the end of a response: tag 0 with the node endpoints, or none."""
    if not endpoints:
        return b"\x00"
    content = bytearray(uvarint(len(endpoints) + 1))
    for endpoint in endpoints:
        content += I32.pack(endpoint.node_id)
        content += compact_string(endpoint.host)
        content += I32.pack(endpoint.port)
        content += compact_nullable_string(endpoint.rack)
        content += b"\x00"
    return tags([(0, bytes(content))])
