"""One group's life in the classic protocol, as a pure state machine: no clock, no I/O, no randomness.

Empty → PreparingRebalance (members are waited for) → CompletingRebalance (their leader's assignments are)
→ Stable, and back to PreparingRebalance whenever the members change. Every method gets the time and may
leave outputs, which the shell takes with `outputs` and carries out: answers to requests that wait, known by
tickets, and records to make durable. `tick` must be called at `deadline`.

What must hold: every ticket is answered once; a generation has one leader and one protocol that all its
members know; assignments reach members of their generation alone, and only after the generation is durable,
so that a coordinator that comes back knows of every assignment that anybody acts on.
"""

from collections.abc import Iterable

from gateway.errors import ErrorCode
from gateway.groups.member import (
    NO_GENERATION,
    NO_GENERATION_YET,
    UNKNOWN_MEMBER,
    Answer,
    GroupRules,
    GroupState,
    Identity,
    Join,
    Joined,
    JoinedMember,
    Member,
    Output,
    Store,
    Sync,
    Synced,
    Ticket,
    common_protocols,
    elected_protocol,
    metadata_bytes,
    protocol_names,
    restored_member,
)
from gateway.groups.records import GroupStored

NEW_MEMBER_S_MAX = 300.0
"""How long a first JoinGroup may wait; its client cannot be told from a dead one meanwhile."""

NONE = ErrorCode.none
UNKNOWN = ErrorCode.unknown_member_id
REBALANCING = ErrorCode.rebalance_in_progress

EMPTY, PREPARING = GroupState.EMPTY, GroupState.PREPARING
COMPLETING, STABLE, DEAD = GroupState.COMPLETING, GroupState.STABLE, GroupState.DEAD


class Group:
    """The machine. `members` in order of their arrival; not to be changed from outside, like all of it."""

    def __init__(self, name: str, rules: GroupRules) -> None:
        self.name = name
        self.state = EMPTY
        self.generation = NO_GENERATION_YET
        self.protocol_type: str | None = None
        self.protocol: str | None = None
        self.leader: str | None = None
        self.members: dict[str, Member] = {}
        self._rules = rules
        self._static: dict[str, str] = {}
        self._pending: dict[str, float] = {}
        self._phase_end: float | None = None
        self._initial_left: float | None = None
        self._newcomers = False
        self._unsynced: set[str] = set()
        self._storing: int | None = None
        self._stored_generation = NO_GENERATION_YET
        self._outputs: list[Output] = []

    @classmethod
    def restored(cls, stored: GroupStored, rules: GroupRules, now: float) -> "Group":
        """The group as it was written down: its members have a whole session to be heard of."""
        group = cls(stored.group, rules)
        group.generation = group._stored_generation = stored.generation
        group.protocol_type, group.protocol, group.leader = stored[3:6]
        for row in stored.members:
            member = restored_member(row, stored.protocol_type or "", now)
            group.members[member.id] = member
            if row.instance_id is not None:
                group._static[row.instance_id] = member.id
        group.state = STABLE if group.members else EMPTY
        return group

    # -- what the shell asks between requests

    def outputs(self) -> list[Output]:
        """What is to be carried out, in order; each only once."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def deadline(self) -> float | None:
        """When `tick` is due. Being heard of only moves it later."""
        times = [member.expires_at for member in self.members.values() if member.may_expire]
        times += self._pending.values()
        if self._phase_end is not None:
            times.append(self._phase_end)
        return min(times, default=None)

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost by restoring the group from what is durable."""
        return self.state == EMPTY and not self._pending and self.generation == self._stored_generation

    def tick(self, now: float) -> None:
        """Remove who was not heard of in time, and end what has lasted long enough."""
        late = [member_id for member_id, at in self._pending.items() if at <= now]
        for member_id in late:
            del self._pending[member_id]
        silent = [one.id for one in self.members.values() if one.may_expire and one.expires_at <= now]
        if late or silent:
            self._remove(silent, now)
        if self._phase_end is not None and self._phase_end <= now:
            self._end_phase(now)

    def postpone(self, seconds: float) -> None:
        """The node itself slept: nobody could be heard of."""
        for member in self.members.values():
            member.expires_at += seconds
        for member_id in self._pending:
            self._pending[member_id] += seconds
        if self._phase_end is not None:
            self._phase_end += seconds

    def die(self, error: ErrorCode) -> None:
        """The group is not this node's any more: everything that waits is told so."""
        for member in tuple(self.members.values()):
            self._drop(member, error)
        self._pending.clear()
        self._phase_end = None
        self.state = DEAD

    # -- joining

    def join(self, ticket: Ticket, ask: Join, new_id: str, now: float) -> None:
        """Join, for the first time or again. `new_id` is for a member that has none."""
        error = self._join_error(ask)
        if error != NONE:
            self._refuse_join(ticket, ask, error)
        elif ask.member_id == UNKNOWN_MEMBER:
            self._join_first(ticket, ask, new_id, now)
        elif ask.member_id in self._pending:
            self._add(ticket, ask, ask.member_id, now)
        else:
            self._join_again(ticket, ask, self.members[ask.member_id], now)

    def _join_error(self, ask: Join) -> ErrorCode:
        rules = self._rules
        if self.state == DEAD:
            return ErrorCode.coordinator_not_available
        if not rules.session_ms_min <= ask.session_ms <= rules.session_ms_max:
            return ErrorCode.invalid_session_timeout
        if ask.member_id != UNKNOWN_MEMBER and not (
            ask.member_id in self._pending and ask.instance_id is None
        ):
            error = self._membership_error(Identity(ask.member_id, ask.instance_id))
            if error != NONE:
                return error
        own_id = ask.member_id or self._static.get(ask.instance_id or "", UNKNOWN_MEMBER)
        others = [member.ask for member_id, member in self.members.items() if member_id != own_id]
        if not ask.protocols or not ask.protocol_type:
            return ErrorCode.inconsistent_group_protocol
        if self.state != EMPTY and ask.protocol_type != self.protocol_type:
            return ErrorCode.inconsistent_group_protocol
        if others and not protocol_names(ask) & common_protocols(others):
            return ErrorCode.inconsistent_group_protocol
        is_more = own_id not in self.members and own_id not in self._pending
        if is_more and len(self.members) + len(self._pending) >= rules.members_max:
            return ErrorCode.group_max_size_reached
        if sum(map(metadata_bytes, others)) + metadata_bytes(ask) > rules.metadata_bytes_max:
            return ErrorCode.group_max_size_reached
        return NONE

    def _join_first(self, ticket: Ticket, ask: Join, new_id: str, now: float) -> None:
        assert new_id and new_id not in self.members
        old_id = None if ask.instance_id is None else self._static.get(ask.instance_id)
        if old_id is not None:
            self._replace(ticket, ask, self.members[old_id], new_id, now)
        elif ask.instance_id is None and ask.id_required:
            self._pending[new_id] = now + ask.session_ms / 1000
            self._refuse_join(ticket, ask._replace(member_id=new_id), ErrorCode.member_id_required)
        else:
            self._add(ticket, ask, new_id, now)

    def _add(self, ticket: Ticket, ask: Join, member_id: str, now: float) -> None:
        self._pending.pop(member_id, None)
        member = Member(member_id, ask, now + NEW_MEMBER_S_MAX, joining=ticket)
        self.members[member_id] = member
        if ask.instance_id is not None:
            self._static[ask.instance_id] = member_id
        if self.leader is None:
            self.leader = member_id
        if self.state == EMPTY:
            self.protocol_type = ask.protocol_type
        self._newcomers = True
        self._rebalance(now)

    def _join_again(self, ticket: Ticket, ask: Join, member: Member, now: float) -> None:
        """A member's next JoinGroup; without news, outside a rebalance, it is told the same as before."""
        unchanged = member.ask.protocols == ask.protocols
        is_repeated = self.state == COMPLETING and unchanged
        is_idle = self.state == STABLE and unchanged and member.id != self.leader
        if is_repeated or is_idle:
            member.heard(now)
            self._outputs.append(Answer(ticket, self._joined(member)))
            return
        self._wait_to_join(ticket, ask, member)
        self._rebalance(now)

    def _wait_to_join(self, ticket: Ticket, ask: Join, member: Member) -> None:
        if member.joining is not None:
            self._refuse_join(member.joining, member.ask, REBALANCING)
        member.ask = ask
        member.joining = ticket

    def _replace(self, ticket: Ticket, ask: Join, member: Member, new_id: str, now: float) -> None:
        """A static member is back under a new id: fence the old one, and go on without a rebalance if its
        return changes nothing.
        """
        assert ask.instance_id is not None
        self._answer_waiting(member, ErrorCode.fenced_instance_id)
        old_id, leader_before = member.id, self.leader
        self.members = {new_id if key == old_id else key: one for key, one in self.members.items()}
        self._static[ask.instance_id] = member.id = new_id
        if self.leader == old_id:
            self.leader = new_id
        if old_id in self._unsynced:
            self._unsynced = self._unsynced - {old_id} | {new_id}
        member.ask = ask
        member.heard(now)
        if self.state == STABLE and elected_protocol(self.members.values()) == self.protocol:
            is_leader = self.leader == new_id
            joined = self._joined(member)._replace(skip_assignment=is_leader)
            if not ask.skips_assignment:
                joined = joined._replace(leader=leader_before or "", members=(), skip_assignment=False)
            self._outputs.append(Store(self._record(), Answer(ticket, joined)))
            return
        member.joining = ticket
        self._rebalance(now)

    # -- the rebalance

    def _rebalance(self, now: float) -> None:
        """Ask all members to join again, unless that is under way; it ends as soon as they have."""
        if self.state != PREPARING:
            if self.state == COMPLETING:
                self._answer_syncs(REBALANCING, now)
            delay = self._rules.initial_delay_ms / 1000
            span = self._rebalance_s()
            if self.state == EMPTY:
                self._initial_left = max(span - delay, 0.0)
                span = min(delay, span)
            self.state = PREPARING
            self._phase_end = now + span
            self._newcomers = False
            self._storing = None
            self._unsynced.clear()
            if self._initial_left is not None and not delay:
                self._complete(now)
                return
        self._complete_if_joined(now)

    def _complete_if_joined(self, now: float) -> None:
        if self.state != PREPARING or self._initial_left is not None or self._pending:
            return
        if all(member.joining is not None for member in self.members.values()):
            self._complete(now)

    def _end_phase(self, now: float) -> None:
        """The time for joining, or for sending and fetching assignments, is over."""
        if self.state != PREPARING:
            self._phase_end = None
            self._remove(tuple(self._unsynced), now)
        elif self._initial_left and self._newcomers:
            delay = min(self._rules.initial_delay_ms / 1000, self._initial_left)
            self._initial_left -= delay
            self._newcomers = False
            self._phase_end = now + delay
        else:
            self._complete(now)

    def _complete(self, now: float) -> None:
        """Begin a generation of those who joined; static members who have not are kept until they expire."""
        self._initial_left = None
        for member in tuple(self.members.values()):
            if member.joining is None and not member.is_static:
                self._drop(member, UNKNOWN)
        if self.members and not self._elect_leader():
            self._phase_end = now + self._rebalance_s()
            return
        self.generation += 1
        self.protocol = elected_protocol(self.members.values())
        if not self.members:
            self.state, self.leader, self._phase_end = EMPTY, None, None
            self._outputs.append(Store(self._record()))
            return
        assert self.protocol is not None, "who joined knows a protocol that all know"
        self.state = COMPLETING
        self._phase_end = now + self._rebalance_s()
        self._unsynced = set(self.members)
        for member in self.members.values():
            member.assignment = b""
            if member.joining is not None:
                self._outputs.append(Answer(member.joining, self._joined(member)))
                member.joining = None
                member.is_new = False
                member.heard(now)

    def _elect_leader(self) -> bool:
        """Make sure that the leader is somebody who joined; False where nobody has."""
        leader = self.members.get(self.leader or UNKNOWN_MEMBER)
        if leader is None or leader.joining is None:
            leader = next((one for one in self.members.values() if one.joining is not None), None)
        if leader is not None:
            self.leader = leader.id
        return leader is not None

    def sync(self, ticket: Ticket, ask: Sync, now: float) -> None:
        """Ask for one's share; the leader brings everybody's."""
        error = self._sync_error(ask)
        if error != NONE:
            self._outputs.append(Answer(ticket, Synced(error)))
            return
        member = self.members[ask.who.member_id]
        member.heard(now)
        self._unsynced.discard(member.id)
        if self.state == STABLE:
            self._end_syncing()
            self._outputs.append(Answer(ticket, self._synced(member)))
            return
        if member.syncing is not None:
            self._outputs.append(Answer(member.syncing, Synced(REBALANCING)))
        member.syncing = ticket
        if member.id == self.leader and self._storing is None:
            self._storing = self.generation
            for one in self.members.values():
                one.assignment = ask.assignments.get(one.id, b"")
            self._outputs.append(Store(self._record()))

    def _sync_error(self, ask: Sync) -> ErrorCode:
        error = self._generation_error(ask.who, ask.generation)
        if error != NONE:
            return error
        if ask.protocol_type is not None and ask.protocol_type != self.protocol_type:
            return ErrorCode.inconsistent_group_protocol
        if ask.protocol is not None and ask.protocol != self.protocol:
            return ErrorCode.inconsistent_group_protocol
        return REBALANCING if self.state == PREPARING else NONE

    def stored(self, generation: int, error: ErrorCode, now: float) -> None:
        """A record of this generation is durable, or nobody knows whether it is."""
        if error == NONE:
            self._stored_generation = max(self._stored_generation, generation)
        if self._storing != generation or self.state != COMPLETING:
            return
        self._storing = None
        if error != NONE:
            self._answer_syncs(error, now)
            self._rebalance(now)
            return
        self.state = STABLE
        for member in self.members.values():
            if member.syncing is not None:
                self._outputs.append(Answer(member.syncing, self._synced(member)))
                member.syncing = None
                member.heard(now)
        self._end_syncing()

    def _end_syncing(self) -> None:
        if not self._unsynced:
            self._phase_end = None

    # -- everything else that members ask

    def heartbeat(self, who: Identity, generation: int, now: float) -> ErrorCode:
        """The member lives; it is told whether to join again."""
        error = self._generation_error(who, generation)
        if error != NONE:
            return error
        self.members[who.member_id].heard(now)
        return REBALANCING if self.state == PREPARING else NONE

    def leave(self, leaving: Iterable[Identity], now: float) -> list[ErrorCode]:
        """Members leave, some of them perhaps by the name of their instance alone; what each is told."""
        errors, gone = [], []
        for who in leaving:
            member_id = who.member_id
            if member_id == UNKNOWN_MEMBER and who.instance_id is not None:
                member_id = self._static.get(who.instance_id, UNKNOWN_MEMBER)
            if self._pending.pop(member_id, None) is not None:
                errors.append(NONE)
                continue
            error = self._membership_error(Identity(member_id, who.instance_id))
            errors.append(error)
            if error == NONE and member_id not in gone:
                gone.append(member_id)
        self._remove(gone, now)
        return errors

    def commit_error(self, who: Identity, generation: int, now: float) -> ErrorCode:
        """Whether to take offsets; an empty group takes them from anybody who has no generation."""
        if self.state == DEAD:
            return ErrorCode.coordinator_not_available
        if generation < 0 and self.state == EMPTY:
            return NONE
        if generation < 0 and who == Identity(UNKNOWN_MEMBER):
            return UNKNOWN
        error = self._generation_error(who, generation)
        if error != NONE:
            return error
        if self.state == COMPLETING:
            return REBALANCING
        self.members[who.member_id].heard(now)
        return NONE

    def _membership_error(self, who: Identity) -> ErrorCode:
        if self.state == DEAD:
            return ErrorCode.coordinator_not_available
        if who.instance_id is not None:
            known_id = self._static.get(who.instance_id)
            if known_id is None:
                return UNKNOWN
            if known_id != who.member_id:
                return ErrorCode.fenced_instance_id
        return NONE if who.member_id in self.members else UNKNOWN

    def _generation_error(self, who: Identity, generation: int) -> ErrorCode:
        error = self._membership_error(who)
        if error == NONE and generation != self.generation:
            return ErrorCode.illegal_generation
        return error

    # -- removing members

    def _remove(self, member_ids: Iterable[str], now: float) -> None:
        """Remove members, and begin or end a rebalance where that follows from it."""
        gone = [self.members[member_id] for member_id in member_ids]
        for member in gone:
            self._drop(member, UNKNOWN)
        if gone and self.state in (STABLE, COMPLETING):
            self._rebalance(now)
        else:
            self._complete_if_joined(now)

    def _drop(self, member: Member, error: ErrorCode) -> None:
        self._answer_waiting(member, error)
        del self.members[member.id]
        self._unsynced.discard(member.id)
        if member.ask.instance_id is not None:
            del self._static[member.ask.instance_id]
        if self.leader == member.id:
            self.leader = next(iter(self.members), None)

    # -- answers

    def _rebalance_s(self) -> float:
        return max((one.ask.rebalance_ms for one in self.members.values()), default=0) / 1000

    def _refuse_join(self, ticket: Ticket, ask: Join, error: ErrorCode) -> None:
        self._outputs.append(Answer(ticket, Joined(error, ask.member_id, NO_GENERATION)))

    def _answer_waiting(self, member: Member, error: ErrorCode) -> None:
        """What waits for a member is answered with an error."""
        if member.joining is not None:
            self._refuse_join(member.joining, member.ask, error)
        if member.syncing is not None:
            self._outputs.append(Answer(member.syncing, Synced(error)))
        member.joining = member.syncing = None

    def _answer_syncs(self, error: ErrorCode, now: float) -> None:
        """Whose request waited could not be heard of: its session begins with the answer."""
        for member in self.members.values():
            if member.syncing is not None:
                self._outputs.append(Answer(member.syncing, Synced(error)))
                member.syncing = None
                member.heard(now)

    def _joined(self, member: Member) -> Joined:
        assert self.leader is not None
        members: tuple[JoinedMember, ...] = ()
        if member.id == self.leader:
            members = tuple(
                JoinedMember(one.id, one.ask.instance_id, one.metadata(self.protocol))
                for one in self.members.values()
            )
        generation = (self.generation, self.protocol_type, self.protocol, self.leader)
        return Joined(NONE, member.id, *generation, members)

    def _synced(self, member: Member) -> Synced:
        return Synced(NONE, self.protocol_type, self.protocol, member.assignment)

    def _record(self) -> GroupStored:
        """The group as it is written down; the shell adds the time of day."""
        members = tuple(member.stored() for member in self.members.values())
        generation = (self.generation, self.protocol_type, self.protocol, self.leader)
        return GroupStored(self.name, 0, *generation, members)
