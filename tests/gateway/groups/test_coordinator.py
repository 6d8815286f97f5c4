"""Laws of the coordinator, in a running gateway: what is answered is durable, and alive after a restart; what
is durable is not written twice; whoever waits is answered, whatever becomes of the log.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.errors import ErrorCode
from gateway.groups.coordinator import states_of
from gateway.groups.slots import slot_of, stream_of
from gateway.groups.sweep import sweep
from gateway.logs import Stores
from gateway.runtime import Gateway, Parts
from protocol.versions import ApiKey
from tests.support.gateway import running
from tests.support.group_calls import GroupClient
from tests.support.logs import FaultyObjects
from tests.support.until import until
from wal.clock import SystemClock
from wal.errors import Fenced
from wal.meta.memory import MemoryMetaStore
from wal.objects.memory import MemoryObjectStore
from wal.types import LogId

LOG = LogId(0)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running() as one:
        await one.context.catalog.create("t", 2, {})
        yield one


def blocks(objects: FaultyObjects) -> int:
    return sum(method == "put" for method, _ in objects.calls)


async def test_offsets_and_members_are_alive_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        await gateway.context.catalog.create("t", 2, {})
        client = GroupClient(gateway)
        member_id, generation = await client.member()
        assert await client.commit({("t", 1): (42, "note")}, member_id, generation) == [0]
        await GroupClient(gateway, "simple").commit({("t", 0): (7, None)})
    async with running(tmp_path) as gateway:
        client = GroupClient(gateway)
        assert await client.offsets() == {("t", 1): (42, "note")}
        assert await GroupClient(gateway, "simple").offsets(("t", 0), ("t", 1)) == [(7, "", 0), (-1, "", 0)]
        assert await client.heartbeat(member_id, generation) == 0
        assert (await client.sync(member_id, generation)).assignment == member_id.encode()
        assert await client.commit({("t", 1): (43, "")}, member_id, generation) == [0]
        assert (await client.join(member_id)).generation_id == generation + 1


async def test_members_who_do_not_come_back_after_a_restart_are_noticed(tmp_path: Path) -> None:
    async with running(tmp_path, group_session_timeout_ms_min=1) as gateway:
        await GroupClient(gateway, "gone").member(session=_ms(200))
    async with running(tmp_path, group_session_timeout_ms_min=1) as gateway:
        await GroupClient(gateway, "other").heartbeat("", 0)
        log = gateway.context.logs.get(LOG)
        stream = stream_of(slot_of("gone"))

        def is_empty() -> bool:
            data = states_of(log.durable).group(stream, "gone")
            return data is not None and data.stored is not None and data.stored.members == ()

        assert not is_empty()
        await until(is_empty)


async def test_what_is_durable_already_is_not_written_again() -> None:
    clock = SystemClock()
    objects = FaultyObjects(MemoryObjectStore())
    parts = Parts(Stores(objects, MemoryMetaStore(clock)), clock, random.Random(1))
    async with running(parts=parts) as gateway:
        await gateway.context.catalog.create("t", 1, {})
        client = GroupClient(gateway)
        member_id, generation = await client.member()
        assert await client.commit({("t", 0): (5, "a")}, member_id, generation) == [0]
        before = blocks(objects)
        for _ in range(10):
            assert await client.commit({("t", 0): (5, "a")}, member_id, generation) == [0]
            assert await client.heartbeat(member_id, generation) == 0
            assert await client.offsets(("t", 0)) == [(5, "a", 0)]
        assert blocks(objects) == before
        for changed in ((6, "a"), (6, "b")):
            assert await client.commit({("t", 0): changed}, member_id, generation) == [0]
        assert blocks(objects) == before + 2


async def test_offsets_are_seen_when_they_are_durable_and_commits_share_a_flush() -> None:
    clock = SystemClock()
    objects = FaultyObjects(MemoryObjectStore())
    parts = Parts(Stores(objects, MemoryMetaStore(clock)), clock, random.Random(1))
    async with running(parts=parts, flushes_in_flight_max=1) as gateway:
        await gateway.context.catalog.create("t", 1, {})
        held = asyncio.Event()

        async def hold(method: str, _: str) -> None:
            if method == "put":
                await held.wait()

        objects.before = hold
        before = blocks(objects)
        clients = [GroupClient(gateway, f"g{i}") for i in range(50)]
        commits = [asyncio.ensure_future(client.commit({("t", 0): (9, "")})) for client in clients]
        await until(lambda: blocks(objects) > before)
        assert await clients[0].offsets(("t", 0)) == [(-1, "", 0)]
        assert not any(commit.done() for commit in commits)
        held.set()
        assert await asyncio.gather(*commits) == [[0]] * 50
        assert blocks(objects) <= before + 2
        assert await clients[49].offsets(("t", 0)) == [(9, "", 0)]


async def test_that_the_last_member_has_left_is_durable_when_it_is_answered() -> None:
    clock = SystemClock()
    objects = FaultyObjects(MemoryObjectStore())
    parts = Parts(Stores(objects, MemoryMetaStore(clock)), clock, random.Random(1))
    async with running(parts=parts) as gateway:
        client = GroupClient(gateway)
        member_id, _ = await client.member()
        held = asyncio.Event()

        async def hold(method: str, _: str) -> None:
            if method == "put":
                await held.wait()

        objects.before = hold
        before = blocks(objects)
        leaving = asyncio.ensure_future(client.leave(member_id))
        await until(lambda: blocks(objects) > before)
        assert not leaving.done()
        held.set()
        assert await leaving == [0]


async def test_the_same_offset_again_waits_for_what_is_under_way() -> None:
    clock = SystemClock()
    objects = FaultyObjects(MemoryObjectStore())
    parts = Parts(Stores(objects, MemoryMetaStore(clock)), clock, random.Random(1))
    async with running(parts=parts) as gateway:
        await gateway.context.catalog.create("t", 1, {})
        client = GroupClient(gateway)
        assert await client.commit({("t", 0): (1, "")}) == [0]
        held = asyncio.Event()

        async def hold(method: str, _: str) -> None:
            if method == "put":
                await held.wait()

        objects.before = hold
        forth = asyncio.ensure_future(client.commit({("t", 0): (2, "")}))
        await asyncio.sleep(0)
        back = asyncio.ensure_future(client.commit({("t", 0): (1, "")}))
        await asyncio.sleep(0)
        assert not back.done(), "the offset may still become 2"
        held.set()
        assert await forth == await back == [0]
        assert await client.offsets(("t", 0)) == [(1, "", 0)]


async def test_when_the_log_is_lost_all_who_wait_are_told_and_the_group_goes_on(gateway: Gateway) -> None:
    client = GroupClient(gateway)
    member_id, generation = await client.member()
    waiting = asyncio.ensure_future(client.join(version=3))
    groups, logs = gateway.context.groups, gateway.context.logs
    await until(lambda: len(groups._waiting) == 1)
    logs.get(LOG).poisoned(Fenced("a test"))
    assert (await waiting).error_code == ErrorCode.not_coordinator
    await until(lambda: logs.leader_of(LOG) < 0)
    assert await client.heartbeat(member_id, generation) == ErrorCode.not_coordinator
    assert await client.commit({("t", 0): (1, "")}, member_id, generation) == [ErrorCode.not_coordinator]
    found = await client.ask(ApiKey.FIND_COORDINATOR, 4, key_type=0, coordinator_keys=["g"])
    assert found.coordinators[0].error_code == ErrorCode.coordinator_not_available
    await until(lambda: logs.leader_of(LOG) >= 0)
    assert await client.heartbeat(member_id, generation) == ErrorCode.none
    assert await client.commit({("t", 0): (1, "")}, member_id, generation) == [0]


async def test_a_node_that_stops_lets_nobody_wait() -> None:
    async with running(stop_ms_max=60_000) as gateway:
        client = GroupClient(gateway)
        await client.member()
        waiting = asyncio.ensure_future(client.join(version=3))
        groups = gateway.context.groups
        await until(lambda: len(groups._waiting) == 1)
    assert (await waiting).error_code == ErrorCode.not_coordinator
    assert groups.coordinator("g") == -1 and not groups._hosts


async def test_groups_without_members_take_no_memory_but_in_the_log(gateway: Gateway) -> None:
    client = GroupClient(gateway)
    member_id, generation = await client.member()
    host = gateway.context.groups._hosts[LOG]
    assert set(host.live) == {"g"}
    assert await client.leave(member_id) == [0]
    await until(lambda: not host.live)
    assert (await client.joined()).generation_id == generation + 2
    assert (await GroupClient(gateway, "never").join("stranger")).error_code == ErrorCode.unknown_member_id
    assert set(host.live) == {"g"}


async def test_a_silent_member_is_removed_by_the_clock() -> None:
    async with running(group_session_timeout_ms_min=1) as gateway:
        client = GroupClient(gateway)
        member_id, generation = await client.member(session=_ms(30))
        await until(lambda: not gateway.context.groups._hosts[LOG].live)
        assert await client.heartbeat(member_id, generation) == ErrorCode.unknown_member_id


async def test_offsets_of_deleted_topics_and_empty_groups_without_offsets_are_swept(gateway: Gateway) -> None:
    context = gateway.context
    await context.catalog.create("kept", 1, {})
    both, gone, busy = (GroupClient(gateway, name) for name in ("both", "gone", "busy"))
    await both.commit({("t", 0): (1, ""), ("kept", 0): (2, "")})
    await gone.commit({("t", 1): (3, "")})
    await busy.member()
    await context.catalog.delete("t")
    assert await gone.offsets() == {}, "nobody sees them, even before"
    await context.catalog.create("t", 2, {})
    assert await both.offsets(("t", 0)) == [(-1, "", 0)], "nor under the old name"
    assert await sweep(context.logs, context.catalog) == 2
    states = states_of(context.logs.get(LOG).durable)
    assert states.offsets_count == 1 and states.groups_count == 2
    assert await both.offsets() == {("kept", 0): (2, "")}
    assert await sweep(context.logs, context.catalog) == 0


async def test_what_is_under_way_is_not_swept(gateway: Gateway) -> None:
    context = gateway.context
    client = GroupClient(gateway)
    await client.commit({("t", 0): (1, "")})
    await context.catalog.delete("t")
    await context.catalog.create("t", 1, {})
    commit = asyncio.ensure_future(client.commit({("t", 0): (2, "")}))
    await asyncio.gather(commit, sweep(context.logs, context.catalog))
    assert await client.offsets(("t", 0)) == [(2, "", 0)]


def _ms(milliseconds: int) -> timedelta:
    return timedelta(milliseconds=milliseconds)
