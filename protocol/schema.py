"""The messages' shapes as plain trees, drawn from kio's dataclasses: the one source of the guard and of the
encoder.

kio keeps one dataclass per message, version and nesting level; a field's metadata names its Kafka type and
its tag, its annotation says whether it is an array and whether it may be null. Everything that is compiled
from the schemas reads them here, so that only this module knows how kio writes them down.
"""

from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from kio.index import load_request_schema, load_response_schema

FIXED_SIZES = {
    "bool": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "float64": 8,
    "uuid": 16,
    "error_code": 2,
    "timedelta_i32": 4,
    "timedelta_i64": 8,
    "datetime_i64": 8,
}
"""The Kafka types whose values always have the same size, in bytes."""

SIZED_KINDS = frozenset({"string", "bytes", "records"})
"""The Kafka types whose values have their size in front."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    kind: a Kafka type of FIXED_SIZES or SIZED_KINDS, or the struct that lies here.
    array: the field is an array of `kind`.
    nullable: the field, that is the array where it is one, may be null on the wire.
    tag: its number when it is a tagged field, otherwise None.
    default: what it is when nobody says, as kio has it; dataclasses.MISSING when the schema is silent.
    """

    name: str
    kind: "str | Struct"
    array: bool
    nullable: bool
    tag: int | None
    default: object


@dataclass(frozen=True, slots=True)
class Struct:
    """One level of a message: its fields in the order of the wire, then its tagged fields by tag."""

    name: str
    flexible: bool
    fields: tuple[Field, ...]
    tagged: tuple[Field, ...]


@cache
def request_schema(api_key: int, version: int) -> Struct:
    """Return the shape of a request's body; raises kio's UnknownEntity or UnknownAPIKey if there is none."""
    return _struct(load_request_schema(api_key, version))


@cache
def response_schema(api_key: int, version: int) -> Struct:
    """Return the shape of a response's body; raises kio's UnknownEntity or UnknownAPIKey if there is none."""
    return _struct(load_response_schema(api_key, version))


@cache
def request_header_flexible(api_key: int, version: int) -> bool:
    """Whether a request comes with header v2, which ends in tagged fields, rather than v1."""
    return load_request_schema(api_key, version).__header_schema__.__flexible__


@cache
def response_header_flexible(api_key: int, version: int) -> bool:
    """Whether a response goes out with header v1, which ends in tagged fields, rather than v0."""
    return load_response_schema(api_key, version).__header_schema__.__flexible__


def size_min(kind: str | Struct, *, flexible: bool) -> int:
    """Return how many bytes a value takes at least, empty tagged fields included, where null is not allowed.

    flexible: whether the struct around it is of the flexible kind.
    """
    if isinstance(kind, Struct):
        return sum(_field_size_min(field, kind.flexible) for field in kind.fields) + kind.flexible
    if kind in FIXED_SIZES:
        return FIXED_SIZES[kind]
    if flexible:
        return 1
    return 2 if kind == "string" else 4


def _field_size_min(field: Field, flexible: bool) -> int:
    if field.array:
        return 1 if flexible else 4
    if isinstance(field.kind, Struct) and field.nullable:
        return 1
    return size_min(field.kind, flexible=flexible)


def _struct(entity: type[Any]) -> Struct:
    shapes = [
        _field(
            field.name, field.type, field.metadata.get("kafka_type"), field.metadata.get("tag"), field.default
        )
        for field in fields(entity)
    ]
    tagged = [shape for shape in shapes if shape.tag is not None]
    return Struct(
        name=entity.__name__,
        flexible=entity.__flexible__,
        fields=tuple(shape for shape in shapes if shape.tag is None),
        tagged=tuple(sorted(tagged, key=lambda shape: shape.tag or 0)),
    )


def _field(name: str, annotation: Any, kafka_type: str | None, tag: int | None, default: object) -> Field:
    annotation, nullable = _without_none(annotation)
    array = get_origin(annotation) is tuple
    if array:
        annotation, _ = _without_none(get_args(annotation)[0])
    kind = _struct(annotation) if isinstance(annotation, type) and is_dataclass(annotation) else kafka_type
    if not isinstance(kind, Struct) and kind not in FIXED_SIZES and kind not in SIZED_KINDS:
        raise NotImplementedError(f"field {name} has the unknown type {kafka_type}")
    return Field(name, kind, array, nullable, tag, default)


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) not in (Union, UnionType):
        return annotation, False
    (inner,) = [choice for choice in get_args(annotation) if choice is not NoneType]
    return inner, True


__all__ = [
    "FIXED_SIZES",
    "MISSING",
    "SIZED_KINDS",
    "Field",
    "Struct",
    "request_header_flexible",
    "request_schema",
    "response_header_flexible",
    "response_schema",
    "size_min",
]
