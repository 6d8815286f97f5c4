"""Who leads a log's partitions, as clients are told: the node and the log's epoch, or nobody for now."""

from typing import NamedTuple, Protocol

from gateway.errors import Refused
from wal.types import LogId

NOBODY_ID = -1


class LedLog(Protocol):
    """What is asked of a log."""

    @property
    def epoch(self) -> int:
        """The number of its present ownership."""


class LedLogs(Protocol):
    """What is asked of the node's logs."""

    def get(self, log_id: LogId) -> LedLog:
        """The log. Raises Refused while it is not held."""

    def leader_of(self, log_id: LogId) -> int:
        """The node that leads it, -1 for none."""


class Leadership(NamedTuple):
    """A log's leader and epoch; both -1 while it has none."""

    node_id: int
    epoch: int

    def over(self, epoch_base: int) -> tuple[int, int]:
        """Leader and leader epoch of a partition with this epoch base."""
        return (self.node_id, epoch_base + self.epoch) if self.node_id >= 0 else NOBODY


NOBODY = Leadership(NOBODY_ID, -1)


class Leaders:
    """The leaders of logs as of one moment: each log is looked at once, however many partitions ask."""

    def __init__(self, logs: LedLogs) -> None:
        self._logs = logs
        self._known: dict[LogId, Leadership] = {}

    def of(self, log_id: LogId) -> Leadership:
        """The log's leader."""
        known = self._known.get(log_id)
        if known is None:
            known = self._known[log_id] = self._look(log_id)
        return known

    def _look(self, log_id: LogId) -> Leadership:
        node_id = self._logs.leader_of(log_id)
        if node_id < 0:
            return NOBODY
        try:
            return Leadership(node_id, self._logs.get(log_id).epoch)
        except Refused:
            return NOBODY
