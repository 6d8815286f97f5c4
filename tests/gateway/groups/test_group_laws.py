"""Laws of the group machine, whatever members do and however long anything takes."""

from collections import defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.errors import ErrorCode
from gateway.groups.group import Group
from gateway.groups.member import Answer, GroupState, Identity, Join, Joined, Store, Sync, Synced, Ticket
from tests.gateway.groups.test_group import RULES, ask

PROTOCOLS = (("a",), ("b",), ("a", "b"), ("b", "a"), ("b", "a", "c"))
INSTANCES = ("i1", "i2")


class Life(RuleBasedStateMachine):
    """Members join, sync, beat, leave and fall silent; every answer is held against the laws."""

    initial_delay_ms = 0

    def __init__(self) -> None:
        super().__init__()
        self.group = Group("g", RULES._replace(initial_delay_ms=self.initial_delay_ms))
        self.now = 100.0
        self.count = 0
        self.waiting: dict[Ticket, str] = {}
        self.stores: list[Store] = []
        self.late: list[int] = []
        self.ids: list[str] = []
        self.instance_of: dict[str, str] = {}
        self.told: dict[str, int] = {}
        self.leaders: dict[int, str] = {}
        self.protocols: dict[int, str] = {}
        self.lists: dict[int, set[str]] = {}
        self.brought: dict[int, dict[str, bytes]] = defaultdict(dict)
        self.durable: set[int] = set()
        self.generation_before = 0

    def key(self, member_id: str) -> str:
        """Whoever it is, whatever id it has now."""
        return self.instance_of.get(member_id, member_id)

    def ticket(self, what: str) -> Ticket:
        self.count += 1
        ticket = Ticket(self.count)
        self.waiting[ticket] = what
        return ticket

    def drain(self) -> None:
        while outputs := self.group.outputs():
            for output in outputs:
                if isinstance(output, Store):
                    self.stores.append(output)
                else:
                    self.answered(output)

    def answered(self, answer: Answer) -> None:
        assert answer.ticket in self.waiting, "a ticket is answered once"
        what = self.waiting.pop(answer.ticket)
        if isinstance(answer.result, Joined):
            assert what == "join"
            self.joined(answer.result)
        else:
            self.synced(answer.result, what)

    def joined(self, joined: Joined) -> None:
        if joined.error == ErrorCode.member_id_required:
            self.ids.append(joined.member_id)
        if joined.error != ErrorCode.none:
            assert joined.members == () and joined.generation == -1
            return
        generation, member_id = joined.generation, joined.member_id
        if member_id not in self.ids:
            self.ids.append(member_id)
        assert generation >= self.told.get(member_id, 0)
        self.told[member_id] = generation
        assert joined.protocol is not None
        assert self.leaders.setdefault(generation, self.key(joined.leader)) == self.key(joined.leader)
        assert self.protocols.setdefault(generation, joined.protocol) == joined.protocol
        if joined.members:
            assert joined.leader == member_id
            named = {self.key(one.member_id) for one in joined.members}
            assert self.key(member_id) in named
            assert self.lists.setdefault(generation, named) == named, "one generation, one set of members"
            assert all(one.metadata == b"says " + joined.protocol.encode() for one in joined.members)

    def synced(self, synced: Synced, what: str) -> None:
        if synced.error != ErrorCode.none:
            assert synced.assignment == b""
            return
        _, member_id, number = what.split("|")
        generation = int(number)
        assert generation in self.durable, "nobody acts on a generation that could be lost"
        assert self.key(member_id) in self.lists[generation]
        assert synced.assignment == self.brought[generation].get(self.key(member_id), b"")
        assert synced.protocol == self.protocols[generation]

    # -- what happens

    @rule(names=st.sampled_from(PROTOCOLS), required=st.booleans())
    def somebody_new_joins(self, names: tuple[str, ...], required: bool) -> None:
        self.join(ask("", names, id_required=required))

    @rule(names=st.sampled_from(PROTOCOLS), instance=st.sampled_from(INSTANCES), skips=st.booleans())
    def a_static_member_starts(self, names: tuple[str, ...], instance: str, skips: bool) -> None:
        self.join(ask("", names, instance, skips_assignment=skips))

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), names=st.sampled_from(PROTOCOLS), session_ms=st.sampled_from([6_000, 20_000]))
    def somebody_joins_again(self, data: st.DataObject, names: tuple[str, ...], session_ms: int) -> None:
        member_id = data.draw(st.sampled_from(self.ids))
        self.join(ask(member_id, names, self.instance_of.get(member_id), session_ms=session_ms))

    def join(self, join: Join) -> None:
        new_id = f"m{self.count}"
        if join.instance_id is not None and not join.member_id:
            self.instance_of[new_id] = join.instance_id
        self.group.join(self.ticket("join"), join, new_id, self.now)
        self.drain()

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def somebody_syncs(self, data: st.DataObject) -> None:
        member_id = data.draw(st.sampled_from(sorted(self.told)))
        generation = self.told[member_id]
        assignments: dict[str, bytes] = {}
        if (
            self.lists.get(generation)
            and self.group.leader == member_id
            and generation == self.group.generation
        ):
            self.count += 1
            assignments = {one: f"{self.key(one)} in {generation}".encode() for one in self.group.members}
            if self.group.state == GroupState.COMPLETING:
                for one, share in assignments.items():
                    self.brought[generation][self.key(one)] = share
        who = Identity(member_id, self.instance_of.get(member_id))
        ticket = self.ticket(f"sync|{member_id}|{generation}")
        self.group.sync(ticket, Sync(who, generation, assignments), self.now)
        self.drain()

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def somebody_beats(self, data: st.DataObject) -> None:
        member_id = data.draw(st.sampled_from(self.ids))
        generation = self.told.get(member_id, 0)
        who = Identity(member_id, self.instance_of.get(member_id))
        error = self.group.heartbeat(who, generation, self.now)
        if error in (ErrorCode.none, ErrorCode.rebalance_in_progress):
            assert generation == self.group.generation
            assert self.group.members[member_id].expires_at > self.now
        commit = self.group.commit_error(who, generation, self.now)
        assert (commit == ErrorCode.none) <= (error in (ErrorCode.none, ErrorCode.rebalance_in_progress))

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def somebody_leaves(self, data: st.DataObject) -> None:
        member_id = data.draw(st.sampled_from(self.ids))
        who = Identity(member_id, self.instance_of.get(member_id))
        (error,) = self.group.leave([who], self.now)
        assert (error == ErrorCode.none) <= (member_id not in self.group.members)
        self.drain()

    @rule(instance=st.sampled_from(INSTANCES))
    def an_administrator_removes_an_instance(self, instance: str) -> None:
        self.group.leave([Identity("", instance)], self.now)
        self.drain()

    @rule(seconds=st.sampled_from([0.5, 4.0, 12.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.group.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.group.tick(self.now)
            self.drain()
            assert self.group.deadline() != due, "what was due is done"
        self.now = end

    @precondition(lambda self: self.stores)
    @rule(lands=st.integers(0, 9))
    def a_record_lands_or_not(self, lands: int) -> None:
        store = self.stores.pop(0)
        error = ErrorCode.none if lands else ErrorCode.coordinator_not_available
        if lands:
            self.durable.add(store.record.generation)
            self.restoring_changes_nothing(store)
        else:
            self.late.append(store.record.generation)
        if store.held is not None:
            self.answered(store.held)
        self.group.stored(store.record.generation, error, self.now)
        self.drain()

    @precondition(lambda self: self.late)
    @rule()
    def a_late_record_lands(self) -> None:
        self.group.stored(self.late.pop(0), ErrorCode.none, self.now)
        assert self.group.outputs() == [], "everybody was told before that it may be lost"

    def restoring_changes_nothing(self, store: Store) -> None:
        record = store.record
        again = Group.restored(record, RULES, self.now)
        assert again._record() == record
        assert again.generation == record.generation
        for member in record.members:
            who = Identity(member.member_id, member.instance_id)
            assert again.heartbeat(who, record.generation, self.now) == ErrorCode.none

    # -- what always holds

    @invariant()
    def the_state_fits_the_members(self) -> None:
        group = self.group
        assert group.generation >= self.generation_before
        self.generation_before = group.generation
        assert len(group.members) <= RULES.members_max
        if group.state == GroupState.EMPTY:
            assert not group.members and group.leader is None
        if group.state in (GroupState.COMPLETING, GroupState.STABLE):
            assert group.leader in group.members
            assert all(
                group.protocol in {one.name for one in m.ask.protocols} for m in group.members.values()
            )
        parked = [t for m in group.members.values() for t in (m.joining, m.syncing) if t is not None]
        held = [store.held.ticket for store in self.stores if store.held is not None]
        assert sorted(parked + held) == sorted(self.waiting), "whoever waits is known by the machine"

    def teardown(self) -> None:
        for _ in range(100):
            while self.stores:
                self.a_record_lands_or_not(1)
            if self.group.deadline() is None:
                break
            self.time_passes(40.0)
        while self.late:
            self.a_late_record_lands()
        assert not self.waiting, "every request is answered in the end"
        assert self.group.state == GroupState.EMPTY
        assert self.group.is_idle


class LifeWithDelay(Life):
    initial_delay_ms = 3_000


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestLifeWithDelay = LifeWithDelay.TestCase
TestLifeWithDelay.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
