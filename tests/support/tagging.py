"""An encoder of requests that puts tagged fields nobody knows wherever the protocol has room for them.

It is written against the protocol, not against `protocol.encoder` or kio: the three must agree.
"""

import struct
from collections.abc import Mapping
from random import Random
from typing import Any
from uuid import UUID

from protocol.schema import Field, Struct, request_header_flexible, request_schema

_FORMATS = {
    "bool": ">?",
    "int8": ">b",
    "int16": ">h",
    "int32": ">i",
    "int64": ">q",
    "uint16": ">H",
    "timedelta_i32": ">i",
    "timedelta_i64": ">q",
}


class TaggingEncoder:
    """Encodes trees; each flexible struct gets unknown tagged fields by the random numbers.

    tags_max: how many one struct gets at most; with 0 the bytes are the ordinary ones.
    """

    def __init__(self, random: Random, tags_max: int) -> None:
        self.inserted = 0
        self._random = random
        self._tags_max = tags_max

    def request(self, api_key: int, version: int, tree: Mapping[str, Any]) -> bytes:
        """A whole request frame without its size."""
        header = struct.pack(">hhih", api_key, version, 7, 4) + b"test"
        if request_header_flexible(api_key, version):
            header += self._tags({})
        return header + self.struct(request_schema(api_key, version), tree)

    def struct(self, shape: Struct, tree: Mapping[str, Any]) -> bytes:
        """One struct, its tagged fields last."""
        out = b"".join(self._field(field, shape.flexible, tree[field.name]) for field in shape.fields)
        if not shape.flexible:
            return out
        known = {}
        for field in shape.tagged:
            value = tree[field.name]
            if value is not None and not self._is_default(field, value):
                assert field.tag is not None
                known[field.tag] = self._field(field, True, value)
        return out + self._tags(known, {field.tag for field in shape.tagged})

    def _is_default(self, field: Field, value: Any) -> bool:
        if isinstance(value, Mapping):
            return all(getattr(field.default, name) == inner for name, inner in value.items())
        return bool(value == field.default)

    def _tags(self, known: Mapping[int, bytes], taken: Any = frozenset()) -> bytes:
        random = self._random
        tags = dict(known)
        for _ in range(random.randint(0, self._tags_max)):
            tag = random.choice(
                [random.randint(0, 5), random.randint(100, 200), random.randint(2**14, 2**31 - 1)]
            )
            if tag not in taken and tag not in tags:
                tags[tag] = random.randbytes(random.choice([0, 1, 5, 127, 128, 300]))
                self.inserted += 1
        out = varint(len(tags))
        for tag, data in sorted(tags.items()):
            out += varint(tag) + varint(len(data)) + data
        return out

    def _field(self, field: Field, flexible: bool, value: Any) -> bytes:
        if field.array:
            count = -1 if value is None else len(value)
            head = varint(count + 1) if flexible else struct.pack(">i", count)
            return head + b"".join(self._value(field, flexible, False, one) for one in value or ())
        return self._value(field, flexible, field.nullable and field.tag is None, value)

    def _value(self, field: Field, flexible: bool, nullable: bool, value: Any) -> bytes:
        if isinstance(field.kind, Struct):
            if value is None:
                return b"\xff"
            return (b"\x01" if nullable else b"") + self.struct(field.kind, value)
        if field.kind == "uuid":
            return value.bytes if isinstance(value, UUID) else bytes(16)
        if field.kind in _FORMATS:
            return struct.pack(_FORMATS[field.kind], value)
        data = value.encode() if isinstance(value, str) else value
        size = -1 if data is None else len(data)
        if flexible:
            return varint(size + 1) + (data or b"")
        return struct.pack(">h" if field.kind == "string" else ">i", size) + (data or b"")


def varint(value: int) -> bytes:
    """An unsigned varint."""
    out = []
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
