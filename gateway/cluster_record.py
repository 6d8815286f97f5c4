"""The cluster's own record: its random id, its logs and where its slots live; and the mark that ties a
store to it.

The record lies under `cluster` in the metadata store, the mark is the object `cluster/<id>` in the object
store. Both are made at the cluster's first start, the record first, then the mark, then the word in the
record that the mark is there; so a start that dies between them is finished by the next one. From then on a
node starts only where both are there and name the same
id: metadata that was wiped, or that belongs to another cluster, must never write into this one's data.
"""

import base64
import random as random_module
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import msgpack

from wal.errors import Corrupt, StoreRefused
from wal.meta.base import KeyValue, MetaStore, Put, RevisionIs
from wal.objects.base import ObjectExists, ObjectStore
from wal.types import LogId

CLUSTER_KEY = "cluster"
MARKS_PREFIX = "cluster/"
LOGS_PREFIX = "logs/"
FORMAT = 1
SLOTS = 64
LOGS_MAX = 10_000
ID_CHARS = 22


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """What is fixed when a cluster is created.

    id: random, 22 characters. logs: all logs. slots: the log of each slot, by slot number. marked: the
    object store is known to hold this cluster's mark.
    """

    id: str
    logs: tuple[LogId, ...]
    slots: tuple[LogId, ...]
    marked: bool = False


def new_record(logs: int, random: random_module.Random) -> ClusterRecord:
    """A cluster that never was: a new id, logs from 0 on, the slots spread over them."""
    ids = tuple(map(LogId, range(logs)))
    return ClusterRecord(new_id(random), ids, tuple(ids[slot % logs] for slot in range(SLOTS)))


def new_id(random: random_module.Random) -> str:
    """A random UUID as Kafka writes cluster ids: base64 for URLs, without padding, not beginning with a
    dash.
    """
    while True:
        text = (
            base64.urlsafe_b64encode(uuid.UUID(bytes=random.randbytes(16), version=4).bytes)
            .decode()
            .rstrip("=")
        )
        if not text.startswith("-"):
            return text


def encode(record: ClusterRecord) -> bytes:
    """The record's bytes."""
    fields = {
        "format": FORMAT,
        "id": record.id,
        "logs": list(record.logs),
        "slots": list(record.slots),
        "marked": record.marked,
    }
    return bytes(msgpack.packb(fields))


def decode(data: bytes) -> ClusterRecord:
    """The record in these bytes. Raises Corrupt."""
    try:
        fields: Any = msgpack.unpackb(data)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise Corrupt(f"{CLUSTER_KEY} is not a msgpack map: {error}") from error
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise Corrupt(
            f"{CLUSTER_KEY} holds {fields!r:.100}, this program reads format {FORMAT}: use a newer one"
        )
    identity, marked = fields.get("id"), fields.get("marked")
    logs, slots = _log_ids(fields.get("logs")), _log_ids(fields.get("slots"))
    if not (
        isinstance(identity, str) and len(identity) == ID_CHARS and identity.isascii() and "/" not in identity
    ):
        raise Corrupt(f"{CLUSTER_KEY} has the id {identity!r:.100}, expected {ID_CHARS} characters")
    if not 1 <= len(logs) <= LOGS_MAX or len(set(logs)) != len(logs):
        raise Corrupt(f"{CLUSTER_KEY} has the logs {logs!r:.100}, expected different numbers")
    if len(slots) != SLOTS or not set(slots) <= set(logs):
        raise Corrupt(f"{CLUSTER_KEY} has the slots {slots!r:.100}, expected {SLOTS} of its logs")
    if not isinstance(marked, bool):
        raise Corrupt(f"{CLUSTER_KEY} has {marked!r:.100} for marked, expected true or false")
    return ClusterRecord(identity, logs, slots, marked)


def _log_ids(value: object) -> tuple[LogId, ...]:
    """The numbers in a list of them; nothing for anything else."""
    if not isinstance(value, list) or not all(type(number) is int and number >= 0 for number in value):
        return ()
    return tuple(map(LogId, value))


async def join(
    meta: MetaStore, objects: ObjectStore, *, logs: int, random: random_module.Random, where: tuple[str, str]
) -> ClusterRecord:
    """The cluster that lives in these stores; created, with so many logs, where neither of them holds one.

    `where` names the metadata store and the object store for people. Raises StoreRefused, with one
    sentence, where the two do not belong together, and Unavailable.
    """
    found = await meta.get(CLUSTER_KEY)
    marks = [info.key.removeprefix(MARKS_PREFIX) async for info in objects.list(MARKS_PREFIX)]
    if found is None:
        await _refuse_foreign(objects, marks, where)
        found = await _create(meta, new_record(logs, random))
        marks = [info.key.removeprefix(MARKS_PREFIX) async for info in objects.list(MARKS_PREFIX)]
    record = decode(found.value)
    _compare(record, marks, where)
    if record.marked:
        return record
    if record.id not in marks:
        # One that exists is ours from a try without an answer, or another node's: the key is the mark.
        with suppress(ObjectExists):
            await objects.put_if_absent(MARKS_PREFIX + record.id, [encode(record)])
    marked = replace(record, marked=True)
    await meta.txn((RevisionIs(CLUSTER_KEY, found.revision),), (Put(CLUSTER_KEY, encode(marked)),))
    return marked


async def _refuse_foreign(objects: ObjectStore, marks: Sequence[str], where: tuple[str, str]) -> None:
    """Metadata without a cluster may only begin one in a store that has none."""
    meta, data = where
    if marks:
        raise StoreRefused(
            f"the metadata in {meta} holds no cluster, but the data in {data} belongs to cluster {marks[0]}: "
            "give the metadata of that cluster, or another place for the data."
        )
    async for info in objects.list(LOGS_PREFIX):
        raise StoreRefused(
            f"the metadata in {meta} holds no cluster, but {data} holds data of a log ({info.key}): "
            "give the metadata that belongs to it, or another place for the data."
        )


async def _create(meta: MetaStore, record: ClusterRecord) -> KeyValue:
    """Write the record, or take the one of whoever was faster."""
    await meta.txn((RevisionIs(CLUSTER_KEY, 0),), (Put(CLUSTER_KEY, encode(record)),))
    found = await meta.get(CLUSTER_KEY)
    if found is None:
        raise Corrupt(f"{CLUSTER_KEY} was written and is not there")
    return found


def _compare(record: ClusterRecord, marks: Sequence[str], where: tuple[str, str]) -> None:
    meta, data = where
    foreign = [mark for mark in marks if mark != record.id]
    if foreign:
        raise StoreRefused(
            f"the metadata in {meta} belongs to cluster {record.id}, but the data in {data} to cluster "
            f"{foreign[0]}: give the two that belong together."
        )
    if record.marked and not marks:
        raise StoreRefused(
            f"the metadata in {meta} belongs to cluster {record.id}, but nothing of it is in {data}: "
            "give the place where its data is."
        )
