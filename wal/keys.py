"""Names of objects and of metadata records, both ways. Pure.

Numbers are zero-padded to the width of their largest value, so that the order of keys is the order of
numbers: LIST order is log order. No object's key is a directory of another's.
"""

from typing import NamedTuple

from wal.types import LogId

_LOG_DIGITS = 10
_NUMBER_DIGITS = 20
LOG_MAX = 2**32 - 1
NUMBER_MAX = 2**64 - 1
ID_CHARACTERS = frozenset("0123456789abcdefghijklmnopqrstuvwxyz-")
"""What the id of an attempt (merge, checkpoint) may consist of."""

_BLOCK = ".block"


class BlockKey(NamedTuple):
    """A flushed block, or a fence."""

    log: LogId
    segment: int
    n: int


class MergedKey(NamedTuple):
    """Block `k` of the merge attempt `id`."""

    log: LogId
    id: str
    k: int


class CheckpointKey(NamedTuple):
    """A chunk or list of a checkpoint."""

    log: LogId
    id: str


ObjectKey = BlockKey | MergedKey | CheckpointKey


def block_key(log: LogId, segment: int, n: int) -> str:
    """Object: block `n` of a segment."""
    return f"{segment_prefix(log, segment)}{_number(n)}{_BLOCK}"


def segment_prefix(log: LogId, segment: int) -> str:
    """Objects: all blocks of a segment, in order."""
    return f"{blocks_prefix(log)}{_number(segment)}/"


def blocks_prefix(log: LogId) -> str:
    """Objects: all flushed blocks of a log, segment by segment."""
    return f"{objects_prefix(log)}s/"


def merged_key(log: LogId, attempt: str, k: int) -> str:
    """Object: block `k` of a merge attempt, whose id is never used again."""
    return f"{objects_prefix(log)}m/{_id(attempt)}/{_number(k)}{_BLOCK}"


def checkpoint_key(log: LogId, attempt: str) -> str:
    """Object: one chunk or list of a checkpoint; the id is never used again."""
    return f"{objects_prefix(log)}c/{_id(attempt)}"


def objects_prefix(log: LogId) -> str:
    """Objects: everything of a log."""
    return f"logs/{_log(log)}/"


def parse_object_key(key: str) -> ObjectKey | None:
    """What kind of object a key names; None for a key that none of the functions above makes."""
    match key.split("/"):
        case ["logs", log, "s", segment, name] if name.endswith(_BLOCK):
            numbers = _parsed(log, segment, name[: -len(_BLOCK)])
            found: ObjectKey | None = BlockKey(LogId(numbers[0]), numbers[1], numbers[2]) if numbers else None
        case ["logs", log, "m", attempt, name] if name.endswith(_BLOCK) and _is_id(attempt):
            numbers = _parsed(log, name[: -len(_BLOCK)])
            found = MergedKey(LogId(numbers[0]), attempt, numbers[1]) if numbers else None
        case ["logs", log, "c", attempt] if _is_id(attempt):
            numbers = _parsed(log)
            found = CheckpointKey(LogId(numbers[0]), attempt) if numbers else None
        case _:
            found = None
    return found


def log_key(log: LogId) -> str:
    """Metadata: a log's epoch and owner."""
    return f"logs/{_log(log)}"


def segment_key(log: LogId, segment: int) -> str:
    """Metadata: the record of a segment."""
    return f"{segments_prefix(log)}{_number(segment)}"


def segments_prefix(log: LogId) -> str:
    """Metadata: all segment records of a log, in order."""
    return f"{log_key(log)}/segments/"


def garbage_key(log: LogId, segment: int) -> str:
    """Metadata: what is still to be deleted of a segment that has no record any more."""
    return f"{garbage_prefix(log)}{_number(segment)}"


def garbage_prefix(log: LogId) -> str:
    """Metadata: everything of a log that is still to be deleted."""
    return f"{log_key(log)}/garbage/"


def _log(log: LogId) -> str:
    assert 0 <= log <= LOG_MAX
    return f"{log:0{_LOG_DIGITS}}"


def _number(number: int) -> str:
    assert 0 <= number <= NUMBER_MAX
    return f"{number:0{_NUMBER_DIGITS}}"


def _is_id(attempt: str) -> bool:
    return bool(attempt) and ID_CHARACTERS.issuperset(attempt)


def _id(attempt: str) -> str:
    assert _is_id(attempt), attempt
    return attempt


def _parsed(log: str, *numbers: str) -> list[int] | None:
    """The numbers of padded texts, the first being a log's; None where one is not as we write it."""
    texts = (log, *numbers)
    if len(log) != _LOG_DIGITS or any(len(text) != _NUMBER_DIGITS for text in numbers):
        return None
    if not all(text.isascii() and text.isdecimal() for text in texts):
        return None
    values = [int(text) for text in texts]
    return values if values[0] <= LOG_MAX and max(values) <= NUMBER_MAX else None
