"""kio as the oracle: its entities from plain values, its bytes, and strategies for shared values."""

import datetime
import io
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from kio.serial import entity_reader, entity_writer
from kio.static.primitive import Records, i32Timedelta

int8s = st.integers(-(2**7), 2**7 - 1)
int16s = st.integers(-(2**15), 2**15 - 1)
int32s = st.integers(-(2**31), 2**31 - 1)
int64s = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(codec="utf-8"), max_size=150)
nullable_texts = st.none() | texts
nullable_blobs = st.none() | st.binary(max_size=300)
topic_ids = st.uuids()
milliseconds = st.integers(0, 2**31 - 1)

Draw = Callable[[st.SearchStrategy[Any]], Any]


def duration(value_ms: int) -> i32Timedelta:
    return i32Timedelta.parse(datetime.timedelta(milliseconds=value_ms))


def records(data: bytes | None) -> Records | None:
    return None if data is None else Records(data)


def written(entity: Any) -> bytes:
    """The bytes of an entity, as kio writes them."""
    buffer = io.BytesIO()
    entity_writer(type(entity))(buffer, entity)
    return buffer.getvalue()


def read(schema: type[Any], data: bytes) -> Any:
    """The one entity that fills `data`."""
    entity, size = entity_reader(schema)(data, 0)
    assert size == len(data)
    return entity


def response_header(entity: Any, correlation_id: int) -> bytes:
    """The header that goes before a response, as kio writes it."""
    return written(type(entity).__header_schema__(correlation_id=correlation_id))


def schema_class(entity_class: type[Any], name: str) -> Any:
    """A nested class of the same API and version."""
    return getattr(__import__(entity_class.__module__, fromlist=[name]), name)


def fitting(nested: Any, **fields: Any) -> Any:
    """An entity with those of the fields that its version has."""
    return nested(**{key: value for key, value in fields.items() if key in nested.__dataclass_fields__})
