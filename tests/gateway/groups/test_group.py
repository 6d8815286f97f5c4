"""What the group machine answers, case by case."""

from typing import Any

import pytest

from gateway.errors import ErrorCode
from gateway.groups.group import Group
from gateway.groups.member import (
    GroupRules,
    GroupState,
    Identity,
    Join,
    Store,
    Sync,
    Synced,
    Ticket,
)
from gateway.groups.records import StoredProtocol

RULES = GroupRules(members_max=6)


def ask(
    member_id: str = "", names: tuple[str, ...] = ("a",), instance: str | None = None, **fields: Any
) -> Join:
    defaults: dict[str, Any] = {
        "client_id": "client",
        "client_host": "host",
        "session_ms": 10_000,
        "rebalance_ms": 30_000,
        "protocol_type": "consumer",
        "protocols": tuple(StoredProtocol(name, b"says " + name.encode()) for name in names),
        "id_required": False,
    }
    return Join(member_id=member_id, instance_id=instance, **{**defaults, **fields})


class Script:
    """A group asked step by step; answers by ticket."""

    def __init__(self, **rules: Any) -> None:
        self.group = Group("g", RULES._replace(**rules))
        self.now = 0.0
        self.answers: dict[int, Any] = {}
        self.stores: list[Store] = []
        self.tickets = 0

    def drain(self) -> None:
        for output in self.group.outputs():
            if isinstance(output, Store):
                self.stores.append(output)
            else:
                self.answers[output.ticket] = output.result

    def join(self, join: Join) -> int:
        self.tickets += 1
        self.group.join(Ticket(self.tickets), join, f"m{self.tickets}", self.now)
        self.drain()
        return self.tickets

    def sync(
        self, member_id: str, generation: int, assignments: dict[str, bytes] | None = None, **names: str
    ) -> int:
        self.tickets += 1
        sync = Sync(Identity(member_id), generation, assignments or {}, **names)
        self.group.sync(Ticket(self.tickets), sync, self.now)
        self.drain()
        return self.tickets

    def land(self) -> None:
        while self.stores:
            store = self.stores.pop(0)
            if store.held is not None:
                self.answers[store.held.ticket] = store.held.result
            self.group.stored(store.record.generation, ErrorCode.none, self.now)
            self.drain()

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.group.deadline()) is not None and due <= end:
            self.now = due
            self.group.tick(due)
            self.drain()
        self.now = end

    def stable(self, *joins: Join) -> list[str]:
        """Bring these members into one stable generation; their ids."""
        first = self.join(joins[0])
        later = [self.join(one) for one in joins[1:]]
        if later:
            again = joins[0]._replace(member_id=self.answers[first].member_id)
            later.insert(0, self.join(again))
        ids = [self.answers[ticket].member_id for ticket in later or [first]]
        generation = self.group.generation
        for member_id in ids:
            self.sync(member_id, generation, {one: one.encode() for one in ids})
        self.land()
        assert self.group.state == GroupState.STABLE
        return ids


def test_one_member_joins_syncs_and_gets_what_it_brought() -> None:
    script = Script()
    joined = script.answers[script.join(ask())]
    assert (joined.error, joined.generation, joined.leader) == (ErrorCode.none, 1, joined.member_id)
    ticket = script.sync("m1", 1, {"m1": b"all"})
    assert ticket not in script.answers, "not before it is durable"
    script.land()
    assert script.answers[ticket] == Synced(ErrorCode.none, "consumer", "a", b"all")


def test_a_member_without_an_id_is_given_one_first() -> None:
    script = Script()
    joined = script.answers[script.join(ask(id_required=True))]
    assert (joined.error, joined.member_id) == (ErrorCode.member_id_required, "m1")
    assert script.answers[script.join(ask("m1"))].error == ErrorCode.none


def test_an_id_that_is_not_used_in_time_is_forgotten() -> None:
    script = Script()
    script.join(ask(id_required=True))
    script.pass_time(10)
    assert script.group.is_idle
    assert script.answers[script.join(ask("m1"))].error == ErrorCode.unknown_member_id


def test_the_protocol_is_the_one_that_most_prefer() -> None:
    script = Script()
    script.stable(ask(names=("a", "b")), ask(names=("b", "a")), ask(names=("b", "a")))
    assert script.group.protocol == "b"


@pytest.mark.parametrize(
    ("join", "error"),
    [
        (ask(session_ms=5_999), ErrorCode.invalid_session_timeout),
        (ask(session_ms=1_800_001), ErrorCode.invalid_session_timeout),
        (ask("stranger"), ErrorCode.unknown_member_id),
        (ask(names=()), ErrorCode.inconsistent_group_protocol),
        (ask(names=("z",)), ErrorCode.inconsistent_group_protocol),
        (ask(protocol_type="connect"), ErrorCode.inconsistent_group_protocol),
        (ask(protocol_type=""), ErrorCode.inconsistent_group_protocol),
    ],
)
def test_who_does_not_fit_is_refused(join: Join, error: ErrorCode) -> None:
    script = Script()
    script.stable(ask())
    assert script.answers[script.join(join)].error == error
    assert script.group.state == GroupState.STABLE


def test_a_full_group_takes_nobody_else() -> None:
    script = Script(members_max=2)
    script.stable(ask(), ask())
    assert script.answers[script.join(ask())].error == ErrorCode.group_max_size_reached
    assert script.answers[script.join(ask(id_required=True))].error == ErrorCode.group_max_size_reached


def test_what_members_say_is_bounded() -> None:
    script = Script(metadata_bytes_max=100)
    long = ask(protocols=(StoredProtocol("a", bytes(101)),))
    assert script.answers[script.join(long)].error == ErrorCode.group_max_size_reached


def test_a_newcomer_makes_all_join_again_and_the_others_learn_it_from_their_heartbeat() -> None:
    script = Script()
    (first,) = script.stable(ask())
    second = script.join(ask())
    assert second not in script.answers
    assert script.group.heartbeat(Identity(first), 1, 0) == ErrorCode.rebalance_in_progress
    again = script.join(ask(first))
    assert script.answers[again].generation == script.answers[second].generation == 2
    assert len(script.answers[again].members) == 2 and not script.answers[second].members
    assert script.group.heartbeat(Identity(first), 1, 0) == ErrorCode.illegal_generation
    assert script.group.heartbeat(Identity(first), 2, 0) == ErrorCode.none


def test_who_does_not_join_again_in_time_is_left_behind() -> None:
    script = Script()
    (first,) = script.stable(ask(session_ms=60_000))
    second = script.join(ask())
    script.pass_time(30)
    assert script.answers[second].generation == 2
    assert [one.member_id for one in script.answers[second].members] == [f"m{second}"]
    assert script.group.heartbeat(Identity(first), 1, 30) == ErrorCode.unknown_member_id


def test_a_silent_member_is_removed_and_the_others_share_its_work() -> None:
    script = Script()
    first, second = script.stable(ask(), ask())
    script.now = 9.0
    script.group.heartbeat(Identity(first), 2, 9.0)
    script.pass_time(2)
    assert second not in script.group.members
    assert script.group.heartbeat(Identity(first), 2, script.now) == ErrorCode.rebalance_in_progress


def test_a_follower_that_joins_again_without_news_disturbs_nobody_and_a_leader_does() -> None:
    script = Script()
    leader, follower = script.stable(ask(), ask())
    assert script.answers[script.join(ask(follower))].generation == 2
    assert script.group.state == GroupState.STABLE
    assert script.join(ask(leader)) not in script.answers


def test_who_never_fetches_its_assignment_is_removed() -> None:
    script = Script()
    script.join(ask(session_ms=60_000))
    script.pass_time(30)
    assert script.group.state == GroupState.EMPTY


def test_when_the_last_member_leaves_the_empty_group_is_written_down() -> None:
    script = Script()
    (only,) = script.stable(ask())
    assert script.group.leave([Identity(only)], 0) == [ErrorCode.none]
    script.drain()
    assert script.group.state == GroupState.EMPTY and not script.group.is_idle
    assert script.stores[0].record.members == () and script.stores[0].record.generation == 2
    script.land()
    assert script.group.is_idle


def test_a_generation_that_cannot_be_made_durable_ends_in_an_error_and_another_try() -> None:
    script = Script()
    script.join(ask())
    ticket = script.sync("m1", 1, {"m1": b"all"})
    script.group.stored(1, ErrorCode.coordinator_not_available, 0)
    script.drain()
    assert script.answers[ticket].error == ErrorCode.coordinator_not_available
    assert script.answers[script.join(ask("m1"))].generation == 2


def test_a_static_member_that_comes_back_gets_its_old_share_without_a_rebalance() -> None:
    script = Script()
    leader, static = script.stable(ask(), ask(instance="i"))
    back = script.join(ask(instance="i"))
    assert back not in script.answers, "not before its new id is durable"
    script.land()
    joined = script.answers[back]
    assert (joined.error, joined.generation, joined.leader) == (ErrorCode.none, 2, leader)
    assert script.answers[script.sync(joined.member_id, 2)].assignment == static.encode()
    who = Identity(static, "i")
    assert script.group.heartbeat(who, 2, 0) == ErrorCode.fenced_instance_id
    assert script.group.commit_error(who, 2, 0) == ErrorCode.fenced_instance_id


@pytest.mark.parametrize("skips", [True, False])
def test_a_static_leader_that_comes_back_need_not_assign_again(skips: bool) -> None:
    script = Script()
    (old,) = script.stable(ask(instance="i"))
    back = script.join(ask(instance="i", skips_assignment=skips))
    script.land()
    joined = script.answers[back]
    assert joined.skip_assignment is skips
    assert joined.leader == (joined.member_id if skips else old)
    assert bool(joined.members) is skips


def test_a_static_member_that_waits_is_fenced_by_its_successor() -> None:
    script = Script()
    script.stable(ask())
    waiting = script.join(ask(instance="i"))
    script.join(ask(instance="i"))
    assert script.answers[waiting].error == ErrorCode.fenced_instance_id


def test_an_empty_group_waits_for_more_members_if_told_to() -> None:
    script = Script(initial_delay_ms=3_000)
    first = script.join(ask())
    script.pass_time(2)
    second = script.join(ask())
    script.pass_time(1.5)
    assert first not in script.answers, "the newcomer has prolonged it"
    script.pass_time(3)
    assert script.answers[first].generation == script.answers[second].generation == 1
    assert len(script.answers[first].members) == 2


def test_assignments_are_for_the_generations_protocol_alone() -> None:
    script = Script()
    (only,) = script.stable(ask())
    for ticket in (script.sync(only, 1, protocol_type="connect"), script.sync(only, 1, protocol="z")):
        assert script.answers[ticket].error == ErrorCode.inconsistent_group_protocol
    assert script.answers[script.sync(only, 0)].error == ErrorCode.illegal_generation
    assert script.answers[script.sync("stranger", 1)].error == ErrorCode.unknown_member_id


def test_offsets_are_taken_from_members_of_this_generation_or_for_an_empty_group() -> None:
    script = Script()
    nobody = Identity("")
    assert script.group.commit_error(nobody, -1, 0) == ErrorCode.none
    assert script.group.commit_error(nobody, 0, 0) == ErrorCode.unknown_member_id
    (only,) = script.stable(ask())
    assert script.group.commit_error(nobody, -1, 0) == ErrorCode.unknown_member_id
    assert script.group.commit_error(Identity(only), 1, 0) == ErrorCode.none
    assert script.group.commit_error(Identity(only), 0, 0) == ErrorCode.illegal_generation
    assert script.group.commit_error(Identity("stranger"), 1, 0) == ErrorCode.unknown_member_id
    script.join(ask())
    assert script.group.commit_error(Identity(only), 1, 0) == ErrorCode.none
    script.join(ask(only))
    assert script.group.commit_error(Identity(only), 2, 0) == ErrorCode.rebalance_in_progress


def test_members_are_not_blamed_for_the_time_that_the_node_slept() -> None:
    script = Script()
    (only,) = script.stable(ask())
    script.group.postpone(60)
    script.group.tick(60)
    assert only in script.group.members


def test_a_group_that_dies_tells_all_who_wait() -> None:
    script = Script()
    script.stable(ask())
    waiting = script.join(ask())
    script.group.die(ErrorCode.not_coordinator)
    script.drain()
    assert script.answers[waiting].error == ErrorCode.not_coordinator
    assert script.answers[script.join(ask())].error == ErrorCode.coordinator_not_available
    assert script.group.deadline() is None
