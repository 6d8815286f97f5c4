"""The words of a group's life: what members ask, what they are told, and what the machine keeps of each.

Plain values, but for `Member`, which belongs to its group's machine alone.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, NewType

from gateway.errors import ErrorCode
from gateway.groups.records import GroupStored, StoredMember, StoredProtocol

Ticket = NewType("Ticket", int)
"""What a request that waits is known by; the machine hands it back with the answer."""

UNKNOWN_MEMBER = ""
NO_GENERATION = -1
NO_GENERATION_YET = 0


class GroupState(Enum):
    """Where a group stands, under the names that Kafka's tools show."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


class GroupRules(NamedTuple):
    """The bounds of every group.

    members_max: members of one group, those included that were given an id and have not joined yet.
    metadata_bytes_max: what the members of one group may say about themselves, in all.
    """

    session_ms_min: int = 6_000
    session_ms_max: int = 1_800_000
    initial_delay_ms: int = 0
    members_max: int = 2_000
    metadata_bytes_max: int = 16 * 1024 * 1024


class Join(NamedTuple):
    """What a JoinGroup asks.

    id_required: a member without an id is given one and must join again with it. skips_assignment: the client
    understands that a leader that comes back need not assign again.
    """

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_ms: int
    rebalance_ms: int
    protocol_type: str
    protocols: tuple[StoredProtocol, ...]
    id_required: bool = True
    skips_assignment: bool = True


class Identity(NamedTuple):
    """A member as requests name it."""

    member_id: str
    instance_id: str | None = None


class Sync(NamedTuple):
    """What a SyncGroup asks; the names of protocols only from version 5 on. Assignments by member id."""

    who: Identity
    generation: int
    assignments: dict[str, bytes]
    protocol_type: str | None = None
    protocol: str | None = None


class JoinedMember(NamedTuple):
    """A member as the leader is told of it."""

    member_id: str
    instance_id: str | None
    metadata: bytes


class Joined(NamedTuple):
    """The answer to a JoinGroup; `members` for the leader alone."""

    error: ErrorCode
    member_id: str
    generation: int = NO_GENERATION
    protocol_type: str | None = None
    protocol: str | None = None
    leader: str = UNKNOWN_MEMBER
    members: tuple[JoinedMember, ...] = ()
    skip_assignment: bool = False


class Synced(NamedTuple):
    """The answer to a SyncGroup."""

    error: ErrorCode
    protocol_type: str | None = None
    protocol: str | None = None
    assignment: bytes = b""


class Answer(NamedTuple):
    """Answer the request that waits under this ticket. A ticket is answered once."""

    ticket: Ticket
    result: Joined | Synced


class Store(NamedTuple):
    """Make the record durable, then tell the machine by `stored`; `held` is an answer that waits for it."""

    record: GroupStored
    held: Answer | None = None


Output = Answer | Store


@dataclass(slots=True)
class Member:
    """One member. `joining` and `syncing`: its requests that wait.

    expires_at: when it is removed unless it is heard of; does not count while a request of it waits, unless
    it is new, that is, has never been told of a generation.
    """

    id: str
    ask: Join
    expires_at: float
    assignment: bytes = b""
    is_new: bool = True
    joining: Ticket | None = None
    syncing: Ticket | None = None

    @property
    def is_static(self) -> bool:
        """Whether it has a name of its own that outlives its process."""
        return self.ask.instance_id is not None

    @property
    def may_expire(self) -> bool:
        """Whether `expires_at` counts now."""
        return self.is_new or (self.joining is None and self.syncing is None)

    def metadata(self, protocol: str | None) -> bytes:
        """What it says about itself for a protocol."""
        return next((one.metadata for one in self.ask.protocols if one.name == protocol), b"")

    def heard(self, now: float) -> None:
        """It lives: its session begins anew."""
        self.expires_at = now + self.ask.session_ms / 1000

    def stored(self) -> StoredMember:
        """The member as it is written down."""
        ask = self.ask
        return StoredMember(
            self.id,
            ask.instance_id,
            ask.client_id,
            ask.client_host,
            ask.session_ms,
            ask.rebalance_ms,
            ask.protocols,
            self.assignment,
        )


def restored_member(stored: StoredMember, protocol_type: str, now: float) -> Member:
    """The member as it was written down, with a whole session before it."""
    ask = Join(
        stored.member_id,
        stored.instance_id,
        stored.client_id,
        stored.client_host,
        stored.session_ms,
        stored.rebalance_ms,
        protocol_type,
        stored.protocols,
    )
    member = Member(stored.member_id, ask, now, stored.assignment, is_new=False)
    member.heard(now)
    return member


def protocol_names(ask: Join) -> frozenset[str]:
    """The protocols that a member knows."""
    return frozenset(protocol.name for protocol in ask.protocols)


def common_protocols(asks: Iterable[Join]) -> frozenset[str]:
    """The protocols that all members know; none where there are no members."""
    sets = [protocol_names(ask) for ask in asks]
    return frozenset.intersection(*sets) if sets else frozenset()


def elected_protocol(members: Collection[Member]) -> str | None:
    """The protocol that most members like best among those that all know; the first voted for at a tie."""
    common = common_protocols(member.ask for member in members)
    votes: dict[str, int] = {}
    for member in members:
        choice = next((one.name for one in member.ask.protocols if one.name in common), None)
        if choice is not None:
            votes[choice] = votes.get(choice, 0) + 1
    return max(votes, key=votes.__getitem__, default=None)


def metadata_bytes(ask: Join) -> int:
    """How much a member says about itself."""
    return sum(len(one.name) + len(one.metadata) for one in ask.protocols)
