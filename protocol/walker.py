"""Compiles the guard's walkers: straight Python source per request and version, drawn from its schema.

A walker steps over a frame by its lengths alone and builds nothing. Its loops nest as deep as the schema
does, never as deep as the input says. What never changes its size is stepped over by multiplication, in an
array as in a struct; what has its size in front costs one look. Reading past the end of the frame raises
IndexError or struct.error, which the guard turns into its own error, so only counts are checked by hand:
before a loop runs, its elements must fit into what remains of the frame and of the work that one frame may
cause.

Work is counted in units of about 10 ns of a walker's time; WORK holds what each step costs. An element costs
ELEMENT_WORK_MIN at least, so that WORK_MAX is both the bound in time and the bound in elements.
"""

from collections.abc import Callable, Mapping
from itertools import repeat
from struct import Struct as Layout
from typing import NamedTuple, NoReturn

from protocol.errors import RemoteProtocolError
from protocol.schema import FIXED_SIZES, Field, Struct, size_min

ELEMENTS_MAX = 100_000
ELEMENT_WORK_MIN = 8
WORK_MAX = ELEMENTS_MAX * ELEMENT_WORK_MIN
"""What one frame may cost: at most 100,000 elements, fewer of those that take long."""

WORK = {
    "skip": 2,
    "compact": 6,
    "legacy": 8,
    "bytes": 14,
    "long": 20,
    "array": 16,
    "marker": 6,
    "tags": 5,
}
"""What a step costs: values of fixed size; a value with one byte of size in front, two, or four; what is
added where the size is long or null; an array's count; the marker of a struct that may be null; the count
of tagged fields."""

TAGS_WORK = 40
TAG_WORK = 80
TAG_KNOWN_WORK = 50
"""What a count of tagged fields that is not zero adds, each of them, and each one that the schema knows."""

CLIENT_ID_AT = 8
"""Where the client id lies in every request: behind API key, version and correlation id."""

Bytes = bytes | memoryview
Cut = tuple[int, int, bytes]
"""From here to there the frame is to be replaced with these bytes."""

Walker = Callable[[Bytes, int, list[Cut]], int]
"""Walks a frame of the given size; appends what must be cut out of it and returns how much of WORK_MAX is
left. Raises RemoteProtocolError, IndexError or struct.error where the frame is not what the schema says."""

_ValueWalker = Callable[[Bytes, int, int, int, list[Cut]], tuple[int, int]]


class Tag(NamedTuple):
    """A tagged field that the schema knows. `droppable`: a null is as good as its absence."""

    walk: _ValueWalker
    droppable: bool


def compile_walker(struct: Struct, *, header_flexible: bool) -> Walker:
    """Return the walker of a request with this body. Takes about a millisecond: keep it."""
    writer = _Source()
    writer.add("def walk(buf, end, cuts):")
    writer.add(f"left, p = {WORK_MAX}, {CLIENT_ID_AT}", 1)
    writer.sized(Field("client_id", "string", False, True, None, None), False, 1)
    if header_flexible:
        writer.tags((), 1)
    writer.struct(struct, 1)
    # Bytes behind the body are ignored, as Kafka and kio do: librdkafka sends three, asking for all topics
    # by Metadata 9 or later. They are cut off, so that no decoder meets them.
    writer.add("if p > end: misfit()", 1)
    writer.add("if p < end: cuts.append((p, end, b''))", 1)
    writer.add("return left", 1)
    scope: dict[str, object] = {
        "repeat": repeat,
        "int16": Layout(">h").unpack_from,
        "int32": Layout(">i").unpack_from,
        "varint": read_varint,
        "tagged": _walk_tagged,
        "null": _null,
        "misfit": _misfit,
        "too_many": _too_many,
        "Tag": Tag,
    }
    exec("\n".join(writer.lines), scope)
    walk: Walker = scope["walk"]  # type: ignore[assignment]
    return walk


class _Source:
    """The lines of one walker, and of the functions that walk its known tagged fields."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._names = 0

    def add(self, line: str, depth: int = 0) -> None:
        self.lines.append("    " * depth + line)

    def struct(self, struct: Struct, depth: int) -> None:
        skip = 0
        for field in struct.fields:
            if not field.array and isinstance(field.kind, str) and field.kind in FIXED_SIZES:
                skip += FIXED_SIZES[field.kind]
                continue
            self._skip(skip, depth)
            skip = 0
            self._field(field, struct.flexible, depth)
        self._skip(skip, depth)
        if struct.flexible:
            self.tags(struct.tagged, depth)

    def _skip(self, size: int, depth: int) -> None:
        if size:
            self.add(f"p += {size}", depth)

    def _field(self, field: Field, flexible: bool, depth: int) -> None:
        if field.array:
            self._array(field, flexible, depth)
        elif isinstance(field.kind, Struct):
            self._nested(field, field.kind, depth)
        elif field.kind in FIXED_SIZES:
            self._skip(FIXED_SIZES[field.kind], depth)
        else:
            self.sized(field, flexible, depth)

    def _nested(self, field: Field, struct: Struct, depth: int) -> None:
        if not field.nullable:
            self.struct(struct, depth)
            return
        # Kafka reads every negative marker as null, kio only -1: what they would disagree about is refused.
        self.add("k = buf[p]; p += 1", depth)
        self.add("if k < 128:", depth)
        self.struct(struct, depth + 1)
        self.add("elif k != 255: null()", depth)

    def sized(self, field: Field, flexible: bool, depth: int) -> None:
        if flexible:
            self._sized_compact(field.nullable, depth)
        elif field.kind == "string":
            self.add("if buf[p]:", depth)
            self._charge("long", depth + 1)
            self.add("k = int16(buf, p)[0]", depth + 1)
            self._signed(field.nullable, depth + 1)
            self.add("p += 2 + k", depth + 1)
            self.add("else: p += 2 + buf[p + 1]", depth)
        else:
            self.add("k = int32(buf, p)[0]", depth)
            self._signed(field.nullable, depth)
            self.add("p += 4 + k", depth)

    def _sized_compact(self, nullable: bool, depth: int) -> None:
        # The size on the wire is one more than the value's, so up to 127 it is also what to step over.
        absent = "1" if nullable else "null()"
        self.add("k = buf[p]", depth)
        self.add(f"if k < 128: p += k or {absent}", depth)
        self.add("else:", depth)
        self._charge("long", depth + 1)
        self.add("k, p = varint(buf, p)", depth + 1)
        self.add(f"p += (k or {absent}) - 1", depth + 1)

    def _signed(self, nullable: bool, depth: int) -> None:
        self.add("if k < 0:", depth)
        if nullable:
            self.add("if k != -1: null()", depth + 1)
            self.add("k = 0", depth + 1)
        else:
            self.add("null()", depth + 1)

    def _charge(self, step: str, depth: int) -> None:
        self.add(f"left -= {WORK[step]}", depth)
        self.add("if left < 0: too_many()", depth)

    def _array(self, field: Field, flexible: bool, depth: int) -> None:
        self._names += 1
        n = f"n{self._names}"
        if flexible:
            self.add(f"{n} = buf[p] - 1; p += 1", depth)
            self.add(f"if {n} > 126:", depth)
            self.add(f"{n}, p = varint(buf, p - 1); {n} -= 1", depth + 1)
        else:
            self.add(f"{n} = int32(buf, p)[0]; p += 4", depth)
        self.add(f"if {n} > 0:", depth)
        self.add(f"left -= {n} * {_element_work(field.kind, flexible)}", depth + 1)
        self.add(f"if {n} * {size_min(field.kind, flexible=flexible)} > end - p: misfit()", depth + 1)
        self.add("if left < 0: too_many()", depth + 1)
        self._elements(field, flexible, n, depth + 1)
        if not field.nullable:
            self.add(f"elif {n} < 0: null()", depth)
        elif not flexible:
            self.add(f"elif {n} < -1: null()", depth)

    def _elements(self, field: Field, flexible: bool, n: str, depth: int) -> None:
        size = _fixed_size(field.kind)
        if size is not None and not isinstance(field.kind, Struct):
            self.add(f"p += {n} * {size}", depth)
            return
        if size is not None and isinstance(field.kind, Struct):
            if not field.kind.flexible:
                self.add(f"p += {n} * {size}", depth)
                return
            # Elements of one size but for their tagged fields: if the counts of those, where they would
            # lie, are all zero, then that is where they lie. For a few elements the loop is quicker.
            step = size + 1
            counts = f"bytes(buf[p + {size} : p + {n} * {step} : {step}])"
            self.add(f"if {n} > 4 and {counts} == bytes({n}): p += {n} * {step}", depth)
            self.add("else:", depth)
            depth += 1
        self.add(f"for _ in repeat(None, {n}):", depth)
        if isinstance(field.kind, Struct):
            self.struct(field.kind, depth + 1)
        else:
            self.sized(Field(field.name, field.kind, False, False, None, None), flexible, depth + 1)

    def tags(self, tagged: tuple[Field, ...], depth: int) -> None:
        known = self._known(tagged) if tagged else "{}"
        self.add(f"if buf[p]: left, p = tagged(buf, p, end, left, cuts, {known})", depth)
        self.add("else: p += 1", depth)

    def _known(self, tagged: tuple[Field, ...]) -> str:
        # The functions go in front of all other lines: what uses them is still being written.
        functions = _Source()
        rules = []
        for field in tagged:
            self._names += 1
            name = f"value{self._names}"
            functions.add(f"def {name}(buf, p, end, left, cuts):")
            functions._names = self._names
            functions._field(field, True, 1)
            self._names = functions._names
            functions.add("return left, p", 1)
            droppable = field.nullable and field.kind in ("string", "bytes") and not field.array
            rules.append(f"{field.tag}: Tag({name}, {droppable})")
        self._names += 1
        name = f"known{self._names}"
        functions.add(f"{name} = {{{', '.join(rules)}}}")
        self.lines[:0] = functions.lines
        return name


def _element_work(kind: str | Struct, flexible: bool) -> int:
    """Return what one element of an array costs, the elements of arrays inside it left out."""
    return max(_work(kind, flexible), ELEMENT_WORK_MIN)


def _work(kind: str | Struct, flexible: bool) -> int:
    if isinstance(kind, Struct):
        fields = sum(_field_work(field, kind.flexible) for field in kind.fields)
        return fields + (WORK["tags"] if kind.flexible else WORK["skip"])
    if kind in FIXED_SIZES:
        return 0
    if flexible:
        return WORK["compact"]
    return WORK["legacy"] if kind == "string" else WORK["bytes"]


def _field_work(field: Field, flexible: bool) -> int:
    if field.array:
        return WORK["array"]
    return _work(field.kind, flexible) + (
        WORK["marker"] if field.nullable and isinstance(field.kind, Struct) else 0
    )


def _fixed_size(kind: str | Struct) -> int | None:
    """Return the size that every value of this kind has, its count of tagged fields left out, or None."""
    if not isinstance(kind, Struct):
        return FIXED_SIZES.get(kind)
    sizes = [
        FIXED_SIZES[field.kind]
        for field in kind.fields
        if not field.array and isinstance(field.kind, str) and field.kind in FIXED_SIZES
    ]
    return sum(sizes) if len(sizes) == len(kind.fields) else None


def read_varint(buf: Bytes, p: int) -> tuple[int, int]:
    """Return the unsigned varint at `p` and where it ends. Five bytes at most, as Kafka and kio have it."""
    low = buf[p]
    if low < 128:
        return low, p + 1
    high = buf[p + 1]
    if high < 128:
        return low - 128 | high << 7, p + 2
    value = low - 128 | high - 128 << 7
    for shift in (14, 21, 28):
        byte = buf[p + shift // 7]
        if byte < 128:
            return value | byte << shift, p + shift // 7 + 1
        value |= byte - 128 << shift
    raise RemoteProtocolError("a varint is longer than five bytes")


def write_varint(value: int) -> bytes:
    """Return the value as an unsigned varint."""
    out = bytearray()
    while value > 127:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _walk_tagged(
    buf: Bytes, p: int, end: int, left: int, cuts: list[Cut], known: Mapping[int, Tag]
) -> tuple[int, int]:
    """Walk a struct's tagged fields from their count on; cut out the ones that the schema does not name."""
    count_at = p
    count, p = read_varint(buf, p)
    left -= TAGS_WORK + count * TAG_WORK
    if left < 0:
        _too_many()
    first = p
    kept = 0
    cuts_before = len(cuts)
    for _ in range(count):
        start = p
        tag, size_at = read_varint(buf, p)
        size, p = read_varint(buf, size_at)
        stop = p + size
        if stop > end:
            _misfit()
        rule = known.get(tag)
        if rule is None or (rule.droppable and size == 1 and buf[p] == 0):
            cuts.append((start, stop, b""))
        else:
            kept += 1
            left = _walk_known(buf, (size_at, p, stop), left, cuts, rule)
        p = stop
    if kept == count:
        return left, p
    if kept:
        cuts.append((count_at, first, write_varint(kept)))
    else:
        cuts[cuts_before:] = [(count_at, p, b"\0")]
    return left, p


def _walk_known(buf: Bytes, at: tuple[int, int, int], left: int, cuts: list[Cut], rule: Tag) -> int:
    """Walk one known tagged field, which must be as long as it says; correct its size for what is cut out."""
    size_at, p, stop = at
    cuts_before = len(cuts)
    left -= TAG_KNOWN_WORK
    if left < 0:
        _too_many()
    left, walked = rule.walk(buf, p, stop, left, cuts)
    if walked != stop:
        raise RemoteProtocolError("a tagged field is not as long as it says")
    if len(cuts) > cuts_before:
        shorter = sum(to - start - len(instead) for start, to, instead in cuts[cuts_before:])
        cuts.append((size_at, p, write_varint(stop - p - shorter)))
    return left


def _null() -> NoReturn:
    raise RemoteProtocolError("a null or a negative length where none may be")


def _misfit() -> NoReturn:
    raise RemoteProtocolError("the frame is cut short")


def _too_many() -> NoReturn:
    raise RemoteProtocolError("more elements than one frame may hold")
