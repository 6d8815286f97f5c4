"""Requests and responses of every version by way of kio alone: an oracle for handlers and codecs."""

import dataclasses
import io
import types
import typing
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from kio.index import load_request_schema, load_response_schema
from kio.serial import entity_reader, entity_writer


def request(api_key: int, version: int, **fields: object) -> Any:
    """A request as the gateway decodes it; fields that the version does not have are left out."""
    schema = load_request_schema(api_key, version)
    written = io.BytesIO()
    entity_writer(schema)(written, _build(schema, fields))
    entity, size = entity_reader(schema)(written.getvalue(), 0)
    assert size == len(written.getvalue())
    return entity


def response(api_key: int, version: int, data: bytes) -> tuple[int, Any]:
    """The correlation id and the body of an encoded response, which must be whole."""
    schema = load_response_schema(api_key, version)
    header, at = entity_reader(schema.__header_schema__)(data, 0)
    entity, size = entity_reader(schema)(data, at)
    assert at + size == len(data)
    return header.correlation_id, entity


def plain(entity: Any) -> Any:
    """A decoded entity as mappings and lists."""
    if dataclasses.is_dataclass(entity):
        return {field.name: plain(getattr(entity, field.name)) for field in dataclasses.fields(entity)}
    return [plain(one) for one in entity] if isinstance(entity, tuple) else entity


def _build(schema: Any, fields: Mapping[str, object]) -> Any:
    hints = typing.get_type_hints(schema)
    values = {}
    for field in dataclasses.fields(schema):
        if field.name in fields:
            values[field.name] = _value(hints[field.name], fields[field.name])
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            values[field.name] = _empty(hints[field.name], field.metadata.get("kafka_type"))
    return schema(**values)


def _value(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    nested = next((one for one in _parts(hint) if dataclasses.is_dataclass(one)), None)
    if isinstance(value, list | tuple):
        return tuple(_build(nested, one) if nested else one for one in value)
    return _build(nested, value) if nested and isinstance(value, Mapping) else value


def _empty(hint: Any, kind: object) -> Any:
    if str(kind).startswith("timedelta"):
        return timedelta(0)
    if type(None) in typing.get_args(hint):
        return None
    if typing.get_origin(hint) is tuple:
        return ()
    return {"bool": False, "string": ""}.get(str(kind), 0)


def _parts(hint: Any) -> list[Any]:
    """The classes that a type is made of."""
    arguments = typing.get_args(hint)
    if not arguments or (isinstance(hint, type) and not isinstance(hint, types.GenericAlias)):
        return [hint]
    return [part for argument in arguments for part in _parts(argument)]
