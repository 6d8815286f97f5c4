"""Compiles encoders: straight Python source per response and version, drawn from its schema.

An encoder turns a plain tree (a mapping for a struct, a sequence for an array, named as kio names the
fields) into bytes. What the version does not have is dropped, what the tree leaves out gets the schema's
default; so a handler builds one tree for all versions. Fields of fixed size that lie side by side are
packed at once.

Times are int milliseconds, or timedelta and aware datetime; a time stamp of None or -1 is null. Ids are
uuid.UUID, None is the zero id. Error codes are ints.
"""

import dataclasses
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NoReturn
from uuid import UUID

from protocol.schema import MISSING, Field, Struct
from protocol.walker import write_varint

Tree = Mapping[str, object]
"""One struct: field name to value. Values are ints, strings, bytes, ids, times, trees or sequences of
those."""

Encoder = Callable[[Tree, bytearray], None]
"""Appends the bytes of a tree. A tree of the wrong shape is a programmer's error and raises what it
raises."""

Path = tuple[str, ...]

LEGACY_STRING_BYTES_MAX = 32767

_FORMATS = {
    "bool": "?",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "uint64": "Q",
    "float64": "d",
    "uuid": "16s",
    "error_code": "h",
    "timedelta_i32": "i",
    "timedelta_i64": "q",
    "datetime_i64": "q",
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_UUID_ZERO = bytes(16)


def field_names(structs: Sequence[Struct]) -> dict[Path, frozenset[str]]:
    """Return the names that a tree may use at each level, over all versions of one message."""
    names: dict[Path, set[str]] = {}

    def collect(struct_: Struct, path: Path) -> None:
        fields = struct_.fields + struct_.tagged
        names.setdefault(path, set()).update(field.name for field in fields)
        for field in fields:
            if isinstance(field.kind, Struct):
                collect(field.kind, (*path, field.name))

    for struct_ in structs:
        collect(struct_, ())
    return {path: frozenset(found) for path, found in names.items()}


def compile_encoder(struct_: Struct, names: Mapping[Path, frozenset[str]]) -> Encoder:
    """Return the encoder of a message of this shape. `names`: see `field_names`; others in a tree are
    refused."""
    source = _Source(names)
    source.add("def encode(t, out):")
    source.check("t", (), 1)
    source.struct(struct_, "t", "out", (), 1)
    exec("\n".join(source.lines), source.scope)
    encode: Encoder = source.scope["encode"]  # type: ignore[assignment]
    return encode


class _Source:
    """The lines of one encoder and the constants they use."""

    def __init__(self, names: Mapping[Path, frozenset[str]]) -> None:
        self.lines: list[str] = []
        self.scope: dict[str, object] = {
            "pack": struct.pack,
            "varint": write_varint,
            "uuid_bytes": _uuid_bytes,
            "milliseconds": _milliseconds,
            "time": _time,
            "missing": _missing,
            "too_long": _too_long,
            "tagged": _tagged,
            "check": _check,
        }
        self._names = names
        self._count = 0

    def add(self, line: str, depth: int = 0) -> None:
        self.lines.append("    " * depth + line)

    def _variable(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def _constant(self, prefix: str, value: object) -> str:
        name = self._variable(prefix)
        self.scope[name] = value
        return name

    def check(self, tree: str, path: Path, depth: int) -> None:
        self.add(f"check({tree}, {self._constant('names', self._names[path])})", depth)

    def struct(self, struct_: Struct, tree: str, out: str, path: Path, depth: int) -> None:
        get = self._variable("get")
        self.add(f"{get} = {tree}.get", depth)
        run: list[Field] = []
        for field in struct_.fields:
            if not field.array and isinstance(field.kind, str) and field.kind in _FORMATS:
                run.append(field)
                continue
            self._run(run, get, out, depth)
            run = []
            value = self._variable("v")
            self.add(f"{value} = {self._get(field, get)}", depth)
            self._value(field, struct_.flexible, value, out, path, depth)
        self._run(run, get, out, depth)
        if struct_.flexible:
            self._tagged(struct_.tagged, get, out, path, depth)

    def _get(self, field: Field, get: str) -> str:
        default = _default(field)
        if default is None:
            return f"{get}({field.name!r})"
        return f"{get}({field.name!r}, {self._constant('default', default)})"

    def _run(self, run: Sequence[Field], get: str, out: str, depth: int) -> None:
        if not run:
            return
        layout = struct.Struct(">" + "".join(_FORMATS[str(field.kind)] for field in run))
        values = ", ".join(_converted(str(field.kind), self._get(field, get)) for field in run)
        self.add(f"{out} += {self._constant('pack', layout.pack)}({values})", depth)

    def _value(self, field: Field, flexible: bool, value: str, out: str, path: Path, depth: int) -> None:
        if isinstance(field.kind, Struct) and not field.array:
            self._nested(field, field.kind, value, out, path, depth)
            return
        absent = "b'\\0'" if flexible else r"b'\xff\xff'" if _is_short(field) else r"b'\xff\xff\xff\xff'"
        self.add(f"if {value} is None:", depth)
        self.add(f"{out} += {absent}" if field.nullable else f"missing({field.name!r})", depth + 1)
        self.add("else:", depth)
        if field.array:
            self._array(field, flexible, value, out, path, depth + 1)
        else:
            self._sized(field, flexible, value, out, depth + 1)

    def _nested(self, field: Field, kind: Struct, value: str, out: str, path: Path, depth: int) -> None:
        path = (*path, field.name)
        if not field.nullable:
            self.check(value, path, depth)
            self.struct(kind, value, out, path, depth)
            return
        self.add(rf"if {value} is None: {out} += b'\xff'", depth)
        self.add("else:", depth)
        self.add(rf"{out} += b'\1'", depth + 1)
        self.check(value, path, depth + 1)
        self.struct(kind, value, out, path, depth + 1)

    def _sized(self, field: Field, flexible: bool, value: str, out: str, depth: int) -> None:
        if field.kind == "string":
            self.add(f"{value} = {value}.encode()", depth)
        if flexible:
            self._compact_size(f"len({value})", out, depth)
        elif field.kind == "string":
            limit = LEGACY_STRING_BYTES_MAX
            self.add(f"if len({value}) > {limit}: too_long({field.name!r}, len({value}))", depth)
            self.add(f"{out} += pack('>h', len({value}))", depth)
        else:
            self.add(f"{out} += pack('>i', len({value}))", depth)
        self.add(f"{out} += {value}", depth)

    def _compact_size(self, size: str, out: str, depth: int) -> None:
        self.add(f"n = {size} + 1", depth)
        self.add(f"if n < 128: {out}.append(n)", depth)
        self.add(f"else: {out} += varint(n)", depth)

    def _array(self, field: Field, flexible: bool, value: str, out: str, path: Path, depth: int) -> None:
        if flexible:
            self._compact_size(f"len({value})", out, depth)
        else:
            self.add(f"{out} += pack('>i', len({value}))", depth)
        item = self._variable("t")
        if isinstance(field.kind, Struct):
            # One look per array: elements are built by one piece of code, and a misspelt name is in all of
            # them.
            path = (*path, field.name)
            self.add(f"if {value}:", depth)
            self.check(f"{value}[0]", path, depth + 1)
            self.add(f"for {item} in {value}:", depth)
            self.struct(field.kind, item, out, path, depth + 1)
        elif field.kind in ("int8", "int16", "int32", "int64"):
            self.add(f"{out} += pack(f'>{{len({value})}}{_FORMATS[field.kind]}', *{value})", depth)
        elif field.kind in _FORMATS:
            self.add(f"for {item} in {value}:", depth)
            converted = _converted(field.kind, item)
            self.add(f"{out} += pack('>{_FORMATS[field.kind]}', {converted})", depth + 1)
        else:
            self.add(f"for {item} in {value}:", depth)
            self._sized(field, flexible, item, out, depth + 1)

    def _tagged(self, fields: Sequence[Field], get: str, out: str, path: Path, depth: int) -> None:
        if not fields:
            self.add(f"{out}.append(0)", depth)
            return
        rules = [(field.tag, field.name, *self._tagged_encoder(field, path)) for field in fields]
        self.add(f"{out} += tagged({get}, {self._constant('rules', rules)})", depth)

    def _tagged_encoder(self, field: Field, path: Path) -> tuple[Callable[[object], bytes], bytes]:
        """Return what encodes the field's value alone, and its default encoded."""
        source = _Source(self._names)
        source.add("def encode_value(v):")
        source.add("out = bytearray()", 1)
        required = dataclasses.replace(field, nullable=False)
        if not field.array and field.kind in _FORMATS:
            converted = _converted(str(field.kind), "v")
            source.add(f"out += pack('>{_FORMATS[str(field.kind)]}', {converted})", 1)
        else:
            source._value(required, True, "v", "out", path, 1)
        source.add("return bytes(out)", 1)
        exec("\n".join(source.lines), source.scope)
        encode: Callable[[object], bytes] = source.scope["encode_value"]  # type: ignore[assignment]
        default = _default(required)
        # None is encodable only where it stands for the zero id; otherwise it means absence, which no value
        # equals.
        return encode, b"" if default is None and field.kind != "uuid" else encode(default)


def _is_short(field: Field) -> bool:
    return field.kind == "string" and not field.array


def _converted(kind: str, expression: str) -> str:
    if kind == "uuid":
        return f"uuid_bytes({expression})"
    if kind in ("timedelta_i32", "timedelta_i64"):
        return f"milliseconds({expression})"
    if kind == "datetime_i64":
        return f"time({expression})"
    return expression


def _default(field: Field) -> object:
    """Return the field's value when the tree leaves it out, as a tree would say it; None is null or the
    zero id."""
    default = field.default
    if isinstance(field.kind, Struct) and not field.array:
        if field.nullable:
            return None
        # A default entity of kio's, such as the leader nobody knows: its fields may differ from the
        # struct's own.
        return {} if default is MISSING else dataclasses.asdict(default)  # type: ignore[call-overload]
    if default is not MISSING:
        return default
    if field.nullable or field.kind == "uuid":
        return None
    if field.array:
        return ()
    if field.kind in _FORMATS:
        return 0
    return "" if field.kind == "string" else b""


def _tagged(
    get: Callable[[str], object], rules: Sequence[tuple[int, str, Callable[[object], bytes], bytes]]
) -> bytes:
    """Encode the tagged fields of one struct: those that the tree has and that are not the default."""
    found = []
    for tag, name, encode, default in rules:
        value = get(name)
        if value is None:
            continue
        encoded = encode(value)
        if encoded != default:
            found.append(write_varint(tag) + write_varint(len(encoded)) + encoded)
    return write_varint(len(found)) + b"".join(found)


def _uuid_bytes(value: UUID | None) -> bytes:
    return _UUID_ZERO if value is None else value.bytes


def _milliseconds(value: int | timedelta) -> int:
    return value // _MILLISECOND if isinstance(value, timedelta) else value


def _time(value: int | datetime | None) -> int:
    if value is None:
        return -1
    return (value - _EPOCH) // _MILLISECOND if isinstance(value, datetime) else value


def _check(tree: Tree, names: frozenset[str]) -> None:
    assert tree.keys() <= names, f"no version has the fields {sorted(tree.keys() - names)}"


def _missing(name: str) -> NoReturn:
    raise TypeError(f"the field {name} may not be null in this version")


def _too_long(name: str, size: int) -> NoReturn:
    raise ValueError(f"the field {name} has {size} bytes, this version carries {LEGACY_STRING_BYTES_MAX}")
