"""What every handler is given: the node's parts, wired by gateway/runtime.py."""

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from wal.clock import Clock

if TYPE_CHECKING:
    from gateway.catalog import Catalog
    from gateway.groups.coordinator import Groups
    from gateway.logs import Logs
    from gateway.producer_ids import ProducerIds
    from gateway.settings import Settings


class Node(NamedTuple):
    """One gateway process as clients see it: a Kafka broker with its id and its advertised address."""

    id: int
    host: str
    port: int
    rack: str | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of this node.

    node: this node; also the only one until nodes form a cluster. cluster_id: the cluster's random id, 22
        characters. groups: the coordinator of consumer groups.
    """

    settings: "Settings"
    node: Node
    cluster_id: str
    catalog: "Catalog"
    logs: "Logs"
    groups: "Groups"
    producer_ids: "ProducerIds"
    clock: Clock
    random: random.Random
