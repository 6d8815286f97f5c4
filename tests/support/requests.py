"""Messages of every API and version: trees drawn from the schemas, and their bytes by way of kio alone.

A *tree* is what `protocol.encoder` takes: a mapping for a struct, with every field there; times are int
milliseconds, ids uuid.UUID or None. `request_bytes` makes a whole request frame of one, without its four
bytes of size.
"""

import dataclasses
import io
import struct
import types
import typing
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from hypothesis import strategies as st
from kio.index import load_request_schema, load_response_schema
from kio.schema.errors import ErrorCode
from kio.serial import entity_writer

from protocol.schema import Field, Struct, request_schema, response_schema
from protocol.versions import ACCEPTED, ApiKey

Tree = dict[str, Any]

REQUESTS = [(key, version) for key, (low, high) in ACCEPTED.items() for version in range(low, high + 1)]
"""Every request that is accepted."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_INTEGERS = {
    "int8": st.integers(-(2**7), 2**7 - 1),
    "int16": st.integers(-(2**15), 2**15 - 1),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint16": st.integers(0, 2**16 - 1),
    "timedelta_i32": st.integers(-(2**31), 2**31 - 1),
    "timedelta_i64": st.integers(-(10**12), 10**12),
    "datetime_i64": st.integers(0, 253_402_300_799_000),
}

_VALUES: dict[str, st.SearchStrategy[Any]] = {
    **_INTEGERS,
    "bool": st.booleans(),
    "uuid": st.none() | st.uuids(),
    "error_code": st.sampled_from([int(code) for code in ErrorCode]),
    "string": st.text(max_size=4) | st.sampled_from(["x" * 126, "x" * 127, "x" * 128, "é" * 150]),
    "bytes": st.binary(max_size=4) | st.binary(min_size=126, max_size=130),
    "records": st.binary(max_size=4) | st.binary(min_size=126, max_size=130),
}


class Message(NamedTuple):
    """One drawn message."""

    api_key: ApiKey
    version: int
    tree: Tree


@cache
def trees(shape: Struct) -> st.SearchStrategy[Tree]:
    """All trees of this shape, arrays kept short."""
    return st.fixed_dictionaries({field.name: _field(field) for field in shape.fields + shape.tagged})


@st.composite
def requests(draw: st.DrawFn, api_key: ApiKey | None = None) -> Message:
    """Requests of any accepted version."""
    key, version = draw(st.sampled_from([row for row in REQUESTS if api_key in (None, row[0])]))
    return Message(key, version, draw(trees(request_schema(key, version))))


@st.composite
def responses(draw: st.DrawFn, api_key: ApiKey | None = None) -> Message:
    """Responses of any accepted version."""
    key, version = draw(st.sampled_from([row for row in REQUESTS if api_key in (None, row[0])]))
    return Message(key, version, draw(trees(response_schema(key, version))))


def entity(schema: Any, tree: Mapping[str, Any]) -> Any:
    """kio's entity of a tree; what the tree leaves out must have a default in kio."""
    hints = typing.get_type_hints(schema)
    values = {
        field.name: _converted(hints[field.name], field.metadata.get("kafka_type"), tree[field.name])
        for field in dataclasses.fields(schema)
        if field.name in tree
    }
    return schema(**values)


def written(schema: Any, tree: Mapping[str, Any]) -> bytes:
    """A tree as kio writes it."""
    out = io.BytesIO()
    entity_writer(schema)(out, entity(schema, tree))
    return out.getvalue()


def request_bytes(
    api_key: int,
    version: int,
    fields: Mapping[str, Any],
    *,
    correlation_id: int = 7,
    client_id: str | None = "test",
) -> bytes:
    """A request, header first, as kio writes it."""
    schema = load_request_schema(api_key, version)
    header = {
        "request_api_key": api_key,
        "request_api_version": version,
        "correlation_id": correlation_id,
        "client_id": client_id,
    }
    return written(schema.__header_schema__, header) + written(schema, fields)


def response_bytes(
    api_key: int, version: int, fields: Mapping[str, Any], *, correlation_id: int = 7
) -> bytes:
    """A response, header first, as kio writes it."""
    schema = load_response_schema(api_key, version)
    header = written(schema.__header_schema__, {"correlation_id": correlation_id})
    return header + written(schema, fields)


def framed(message: bytes) -> bytes:
    """A message with its size in front."""
    return struct.pack(">i", len(message)) + message


def _field(field: Field) -> st.SearchStrategy[Any]:
    one = trees(field.kind) if isinstance(field.kind, Struct) else _VALUES[field.kind]
    if field.array:
        if field.kind == "uuid":
            one = st.uuids()
        one = st.lists(one, max_size=3).map(tuple)
        if not isinstance(field.kind, Struct) or not any(inner.array for inner in field.kind.fields):
            one = one | st.tuples(one, st.integers(20, 130)).map(lambda drawn: drawn[0] * drawn[1])
    return st.none() | one if _may_be_none(field) else one


def _may_be_none(field: Field) -> bool:
    # kio cannot write the null of a tagged field: it takes null for absence, unless another default is
    # declared.
    return field.nullable and (field.tag is None or field.default is None)


def _converted(hint: Any, kafka_type: str | None, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, tuple):
        (hint,) = [part for part in _parts(hint) if typing.get_origin(part) is tuple]
        return tuple(_converted(typing.get_args(hint)[0], kafka_type, one) for one in value)
    if isinstance(value, Mapping):
        (nested,) = [part for part in _parts(hint) if dataclasses.is_dataclass(part)]
        return entity(nested, value)
    if kafka_type == "error_code":
        return ErrorCode(value)
    if kafka_type in ("timedelta_i32", "timedelta_i64"):
        return timedelta(milliseconds=value)
    return EPOCH + timedelta(milliseconds=value) if kafka_type == "datetime_i64" else value


def _parts(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
