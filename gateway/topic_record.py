"""A topic's records in the metadata store, as values and as bytes (docs/formats/metadata.md).

`topics/<name>` holds a topic, `topic-names/<folded name>` keeps two names apart that differ only in "." and
"_", and `drops/<topic id>` is the promise to drop a deleted topic's streams. Any bytes decode to a record or
raise Corrupt, nothing else.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn
from uuid import UUID

import msgpack

from gateway.places import Exceptional, Place, Places, Run
from wal.errors import Corrupt
from wal.types import STATE_STREAMS, LogId, StreamId

TOPICS_PREFIX = "topics/"
NAMES_PREFIX = "topic-names/"
DROPS_PREFIX = "drops/"

FORMAT = 1
"""The format number of every record here."""

PARTITIONS_MAX = 20_000
"""Most partitions of one topic; its record then stays far below what a metadata store takes as a value."""

STREAM_MAX = (1 << 64) - 1


class TopicRecord(NamedTuple):
    """What is stored of a topic.

    `config` holds only what was set, by name and as text; its version counts changes.
    """

    id: UUID
    config: Mapping[str, str]
    config_version: int
    places: Places


class DropRecord(NamedTuple):
    """A deleted topic whose streams still have to be dropped, except in the logs that are `done`."""

    name: str
    places: Places
    done: frozenset[LogId] = frozenset()


def topic_key(name: str) -> str:
    """The key of a topic's record."""
    return TOPICS_PREFIX + name


def name_key(name: str) -> str | None:
    """The key that two colliding names share; None for a name that cannot collide."""
    folded = name.replace(".", "_")
    return NAMES_PREFIX + folded if "_" in folded else None


def drop_key(topic_id: UUID) -> str:
    """The key of the promise to drop a deleted topic's streams."""
    return DROPS_PREFIX + str(topic_id)


def encode_topic(record: TopicRecord) -> bytes:
    """The bytes of a topic's record."""
    fields = {
        "format": FORMAT,
        "id": record.id.bytes,
        "config": dict(record.config),
        "config_version": record.config_version,
        **_place_fields(record.places),
    }
    return bytes(msgpack.packb(fields))


def decode_topic(key: str, data: bytes) -> TopicRecord:
    """The record in `data`, which was found under `key`. Raises Corrupt."""
    fields = _Fields(key, data)
    config = fields.take("config", dict)
    if not all(isinstance(name, str) and isinstance(value, str) for name, value in config.items()):
        fields.refuse("config is not a map from text to text")
    return TopicRecord(fields.uuid("id"), config, fields.number("config_version", 0), _places(fields))


def encode_drop(record: DropRecord) -> bytes:
    """The bytes of the promise to drop a topic's streams."""
    fields = {
        "format": FORMAT,
        "name": record.name,
        **_place_fields(record.places),
        "done": sorted(record.done),
    }
    return bytes(msgpack.packb(fields))


def decode_drop(key: str, data: bytes) -> DropRecord:
    """The promise in `data`, which was found under `key`. Raises Corrupt."""
    fields = _Fields(key, data)
    done = frozenset(LogId(fields.checked(log, 0)) for log in fields.take("done", list))
    return DropRecord(fields.take("name", str), _places(fields), done)


def encode_name(name: str) -> bytes:
    """The bytes kept under a folded name: the name that has it."""
    return bytes(msgpack.packb({"format": FORMAT, "name": name}))


def decode_name(key: str, data: bytes) -> str:
    """The name that has the folded name `key`. Raises Corrupt."""
    return str(_Fields(key, data).take("name", str))


def _place_fields(places: Places) -> dict[str, object]:
    return {
        "places": [[run.first, run.count, list(run.logs), run.first_stream] for run in places.runs],
        "exceptions": [[one.index, [list(place) for place in one.places]] for one in places.exceptions],
    }


def _places(fields: "_Fields") -> Places:
    runs: list[Run] = []
    count = 0
    for row in fields.take("places", list):
        first, size, logs, stream = fields.row(row, 4)
        if first != count or not isinstance(logs, list) or not logs:
            fields.refuse(f"a run begins at {first!r} where {count} was expected, or has no logs")
        logs = tuple(LogId(fields.checked(log, 0)) for log in logs)
        run = Run(count, fields.checked(size, 1), logs, StreamId(fields.checked(stream, STATE_STREAMS)))
        count += run.count
        runs.append(run)
    if not 1 <= count <= PARTITIONS_MAX:
        fields.refuse(f"it has {count} partitions, from 1 to {PARTITIONS_MAX} are possible")
    exceptions: list[Exceptional] = []
    for row in fields.take("exceptions", list):
        index, homes = fields.row(row, 2)
        if fields.checked(index, 0) >= count or not isinstance(homes, list) or not homes:
            fields.refuse(f"an exception for partition {index}, which is not there, or an empty one")
        exceptions.append(Exceptional(index, tuple(_place(fields, home) for home in homes)))
    return Places(tuple(runs), tuple(exceptions))


def _place(fields: "_Fields", row: object) -> Place:
    log, stream, first_offset, epoch_base = (fields.checked(number, 0) for number in fields.row(row, 4))
    return Place(LogId(log), StreamId(stream), first_offset, epoch_base)


class _Fields:
    """A decoded map whose fields are checked as they are taken."""

    def __init__(self, key: str, data: bytes) -> None:
        self._key = key
        try:
            fields = msgpack.unpackb(data)
        except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
            raise Corrupt(f"{key} is not a msgpack map: {error}") from error
        if not isinstance(fields, dict):
            self.refuse("it is not a map")
        self._fields: dict[object, Any] = fields
        form = fields.get("format")
        if form != FORMAT:
            self.refuse(f"its format is {form!r}, this program reads format {FORMAT}: use a newer one")

    def refuse(self, reason: str) -> NoReturn:
        """Raise Corrupt with the key and the reason."""
        raise Corrupt(f"the record {self._key} cannot be read: {reason}")

    def take(self, name: str, kind: type) -> Any:
        """The field, which must be of this type."""
        value = self._fields.get(name)
        if not isinstance(value, kind):
            self.refuse(f"{name} is {value!r:.100}, expected {kind.__name__}")
        return value

    def row(self, value: object, size: int) -> Sequence[Any]:
        """A row of exactly `size` columns."""
        if not isinstance(value, list) or len(value) != size:
            self.refuse(f"{value!r:.100} is no row of {size} columns")
        return value

    def checked(self, value: object, low: int) -> int:
        """A whole number, at least `low` and at most a u64."""
        if type(value) is not int or not low <= value <= STREAM_MAX:
            self.refuse(f"{value!r:.100} is no number of at least {low}")
        return value

    def number(self, name: str, low: int) -> int:
        """The field, which must be a whole number of at least `low`."""
        return self.checked(self._fields.get(name), low)

    def uuid(self, name: str) -> UUID:
        """The field, which must be 16 bytes."""
        data = self.take(name, bytes)
        if len(data) != 16:
            self.refuse(f"{name} has {len(data)} bytes, expected 16")
        return UUID(bytes=data)
