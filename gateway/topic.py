"""A topic as one value, and the rules for its name and its growth."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from gateway.errors import ErrorCode, Refused
from gateway.partition import Partition
from gateway.places import Places
from gateway.topic_config import TopicConfig
from gateway.topic_record import PARTITIONS_MAX
from wal.types import LogId

NAME_LENGTH_MAX = 249
NAME_PATTERN = re.compile(r"[a-zA-Z0-9._-]+")


@dataclass(frozen=True, slots=True, eq=False)
class Topic:
    """A topic as of one change.

    `overrides` are the settings that were set, `config` all that are in force, `logs`
    the logs that hold it.
    """

    name: str
    id: UUID
    config: TopicConfig
    overrides: Mapping[str, str]
    places: Places
    revision: int
    logs: tuple[LogId, ...]
    internal: bool = False
    _partitions: dict[int, Partition] = field(default_factory=dict)

    @property
    def partitions(self) -> int:
        """How many partitions there are."""
        return self.places.count

    def partition(self, index: int) -> Partition | None:
        """The partition, the same object at every call; None where there is none."""
        return self._partitions.get(index) or self._resolved(index)

    def _resolved(self, index: int) -> Partition | None:
        if not 0 <= index < self.places.count:
            return None
        place = self.places.of(index)[-1]
        partition = Partition(
            topic=self.name,
            topic_id=self.id,
            index=index,
            log_id=place.log_id,
            stream=place.stream,
            first_offset=place.first_offset,
            epoch_base=place.epoch_base,
            config=self.config,
        )
        self._partitions[index] = partition
        return partition


def check_name(name: str) -> None:
    """Raise Refused (INVALID_TOPIC_EXCEPTION) for what cannot be the name of a topic."""
    if is_name(name):
        return
    if not name:
        reason = "it is empty"
    elif name in (".", ".."):
        reason = "'.' and '..' are not possible"
    elif len(name) > NAME_LENGTH_MAX:
        reason = f"it has {len(name)} characters, at most {NAME_LENGTH_MAX} are possible"
    else:
        reason = "only letters and digits of ASCII, '.', '_' and '-' are possible"
    raise Refused(ErrorCode.invalid_topic_exception, f"{name!r:.300} cannot be the name of a topic: {reason}")


def is_name(name: str) -> bool:
    """Whether this can be the name of a topic; what cannot must not become a key."""
    return (
        len(name) <= NAME_LENGTH_MAX and NAME_PATTERN.fullmatch(name) is not None and name not in (".", "..")
    )


def check_growth(name: str, current: int, count: int) -> None:
    """Raise Refused (INVALID_PARTITIONS) where a topic of `current` partitions cannot grow to `count`."""
    if count <= current:
        raise Refused(
            ErrorCode.invalid_partitions,
            f"the topic {name} has {current} partitions; it can only grow, not to {count}",
        )
    if count > PARTITIONS_MAX:
        raise Refused(
            ErrorCode.invalid_partitions,
            f"{count} partitions are not possible; a topic has at most {PARTITIONS_MAX}",
        )
