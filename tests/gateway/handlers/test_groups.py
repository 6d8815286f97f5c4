"""The seven requests of classic groups, in every version that is accepted, and their errors."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from gateway.errors import ErrorCode
from gateway.runtime import Gateway
from protocol.versions import ACCEPTED, ApiKey
from tests.support.gateway import running
from tests.support.group_calls import GroupClient
from tests.support.until import until


def versions(api: ApiKey) -> list[int]:
    lowest, highest = ACCEPTED[api]
    return list(range(lowest, highest + 1))


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running() as one:
        await one.context.catalog.create("t", 3, {})
        yield one


@pytest.mark.parametrize("version", versions(ApiKey.JOIN_GROUP))
async def test_join_group(gateway: Gateway, version: int) -> None:
    client = GroupClient(gateway)
    first = await client.join(version=version)
    assert first.error_code == (ErrorCode.member_id_required if version >= 4 else ErrorCode.none)
    joined = await client.joined(version) if version >= 4 else first
    assert (joined.generation_id, joined.protocol_name, joined.leader) == (1, "range", joined.member_id)
    assert joined.member_id.startswith("test-")
    assert [(one.member_id, one.metadata) for one in joined.members] == [(joined.member_id, b"m")]
    assert getattr(joined, "protocol_type", "consumer") == "consumer"
    refused = await client.join("stranger", version)
    assert refused.error_code == ErrorCode.unknown_member_id
    assert refused.protocol_name == (None if version >= 7 else "")


@pytest.mark.parametrize("version", versions(ApiKey.SYNC_GROUP))
async def test_sync_group(gateway: Gateway, version: int) -> None:
    client = GroupClient(gateway)
    member_id, generation = await client.member(version)
    synced = await client.sync(
        member_id, generation, version=version, protocol_type="consumer", protocol_name="range"
    )
    assert synced.assignment == member_id.encode()
    if version >= 5:
        assert (synced.protocol_type, synced.protocol_name) == ("consumer", "range")
    error = (await client.sync(member_id, generation + 1, version=version)).error_code
    assert error == ErrorCode.illegal_generation
    assert (await GroupClient(gateway, "none").sync("m", 1, version=version)).error_code == 25


@pytest.mark.parametrize("version", versions(ApiKey.HEARTBEAT))
async def test_heartbeat(gateway: Gateway, version: int) -> None:
    client = GroupClient(gateway)
    member_id, generation = await client.member()
    assert await client.heartbeat(member_id, generation, version) == 0
    assert await client.heartbeat(member_id, generation - 1, version) == ErrorCode.illegal_generation
    assert await client.heartbeat("stranger", generation, version) == ErrorCode.unknown_member_id
    assert await GroupClient(gateway, "none").heartbeat(member_id, 1, version) == ErrorCode.unknown_member_id


@pytest.mark.parametrize("version", versions(ApiKey.LEAVE_GROUP))
async def test_leave_group(gateway: Gateway, version: int) -> None:
    client = GroupClient(gateway)
    member_id, generation = await client.member()
    assert await client.leave(member_id, version=version) == [0]
    assert await client.leave(member_id, version=version) == [ErrorCode.unknown_member_id]
    assert await client.heartbeat(member_id, generation) == ErrorCode.unknown_member_id
    assert await GroupClient(gateway, "none").leave("m", version=version) == [ErrorCode.unknown_member_id]


async def test_many_members_leave_at_once_by_id_or_instance(gateway: Gateway) -> None:
    client = GroupClient(gateway)
    joined = await client.joined(instance="i")
    fields = {"group_id": "g", "members": [{"member_id": "", "group_instance_id": "i"}, {"member_id": "x"}]}
    answer = await client.ask(ApiKey.LEAVE_GROUP, 5, **fields)
    assert [(one.group_instance_id, one.error_code) for one in answer.members] == [("i", 0), (None, 25)]
    fenced = await client.ask(ApiKey.SYNC_GROUP, 5, group_id="g", member_id=joined.member_id, generation_id=1)
    assert fenced.error_code == ErrorCode.unknown_member_id


@pytest.mark.parametrize("api", [ApiKey.JOIN_GROUP, ApiKey.SYNC_GROUP, ApiKey.HEARTBEAT, ApiKey.LEAVE_GROUP])
async def test_a_group_with_members_needs_a_name(gateway: Gateway, api: ApiKey) -> None:
    client = GroupClient(gateway)
    for name in ("", "x" * 40_000):
        answer = await client.ask(api, ACCEPTED[api].highest, group_id=name)
        assert answer.error_code == ErrorCode.invalid_group_id


async def test_session_timeouts_have_bounds(gateway: Gateway) -> None:
    client = GroupClient(gateway)
    for session in (timedelta(milliseconds=5_999), timedelta(milliseconds=1_800_001), timedelta(-1)):
        answer = await client.join(version=0, session=session)
        assert answer.error_code == ErrorCode.invalid_session_timeout


async def test_the_leader_assigns_to_all_and_each_gets_its_own(gateway: Gateway) -> None:
    client = GroupClient(gateway)
    first = await client.joined()
    second_joining = asyncio.ensure_future(client.joined(metadata=b"n"))
    await until(lambda: len(gateway.context.groups._waiting) == 1)
    assert await client.heartbeat(first.member_id, 1) == ErrorCode.rebalance_in_progress
    leader = await client.join(first.member_id)
    second = await second_joining
    assert leader.generation_id == second.generation_id == 2
    assert {one.metadata for one in leader.members} == {b"m", b"n"} and second.members == ()
    shares = {leader.member_id: b"1", second.member_id: b"2"}
    theirs = asyncio.ensure_future(client.sync(second.member_id, 2))
    mine = await client.sync(leader.member_id, 2, shares)
    assert (mine.assignment, (await theirs).assignment) == (b"1", b"2")


async def test_a_static_member_is_fenced_by_its_successor(gateway: Gateway) -> None:
    client = GroupClient(gateway)
    first = await client.joined(instance="i")
    await client.sync(first.member_id, 1, {first.member_id: b"all"}, group_instance_id="i")
    second = await client.joined(instance="i")
    assert second.generation_id == 1 and second.skip_assignment
    fenced = await client.heartbeat(first.member_id, 1, group_instance_id="i")
    assert fenced == ErrorCode.fenced_instance_id
    share = await client.sync(second.member_id, 1, group_instance_id="i")
    assert share.assignment == b"all"


@pytest.mark.parametrize("version", versions(ApiKey.OFFSET_COMMIT))
async def test_offset_commit(gateway: Gateway, version: int) -> None:
    client = GroupClient(gateway)
    unknown = ErrorCode.unknown_topic_id if version >= 10 else ErrorCode.unknown_topic_or_partition
    offsets = {
        ("t", 0): (5, "note"),
        ("t", 1): (6, None),
        ("t", 2): (7, "x" * 4097),
        ("t", 3): (8, ""),
        ("none", 0): (9, ""),
    }
    assert await client.commit(offsets, version=version) == [
        0,
        0,
        ErrorCode.offset_metadata_too_large,
        ErrorCode.unknown_topic_or_partition,
        unknown,
    ]
    assert await client.offsets() == {("t", 0): (5, "note"), ("t", 1): (6, "")}
    member_id, generation = await client.member()
    for who, number, error in (
        (member_id, generation, ErrorCode.none),
        (member_id, generation + 1, ErrorCode.illegal_generation),
        ("stranger", generation, ErrorCode.unknown_member_id),
        ("", -1, ErrorCode.unknown_member_id),
    ):
        assert await client.commit({("t", 0): (6, "x" * 4096)}, who, number, version) == [error]
    assert await GroupClient(gateway, "none").commit({("t", 0): (1, "")}, "m", 3, version) == [22]


@pytest.mark.parametrize("version", versions(ApiKey.OFFSET_FETCH))
async def test_offset_fetch(gateway: Gateway, version: int) -> None:
    client = GroupClient(gateway)
    await client.commit({("t", 0): (5, "note"), ("t", 1): (6, None)})
    asked = (("t", 1), ("t", 0), ("t", 2), ("none", 0))
    unknown = ErrorCode.unknown_topic_id if version >= 10 else ErrorCode.none
    assert await client.offsets(*asked, version=version) == [
        (6, "", 0),
        (5, "note", 0),
        (-1, "", 0),
        (-1, "", unknown),
    ]
    if 2 <= version < 10:
        assert await client.offsets(version=version) == {("t", 0): (5, "note"), ("t", 1): (6, "")}
    assert await GroupClient(gateway, "none").offsets(("t", 0), version=version) == [(-1, "", 0)]


async def test_offset_fetch_of_many_groups(gateway: Gateway) -> None:
    topic = gateway.context.catalog.topic("t")
    assert topic is not None
    await GroupClient(gateway, "a").commit({("t", 0): (1, "")})
    await GroupClient(gateway, "b").commit({("t", 0): (2, "")})
    groups = [{"group_id": name, "topics": None} for name in ("b", "none", "a")]
    answer = await GroupClient(gateway).ask(ApiKey.OFFSET_FETCH, 10, groups=groups, require_stable=True)
    found = [
        (one.group_id, [row.committed_offset for t in one.topics for row in t.partitions])
        for one in answer.groups
    ]
    assert found == [("b", [2]), ("none", []), ("a", [1])]
    assert {topic.topic_id for one in answer.groups for topic in one.topics} == {topic.id}
    stale = [{"group_id": "a", "topics": [{"topic_id": UUID(int=1), "partition_indexes": [0]}]}]
    answer = await GroupClient(gateway).ask(ApiKey.OFFSET_FETCH, 10, groups=stale)
    assert answer.groups[0].topics[0].partitions[0].error_code == ErrorCode.unknown_topic_id


@pytest.mark.parametrize("version", versions(ApiKey.OFFSET_FETCH))
async def test_offset_fetch_where_the_log_is_not_ours(gateway: Gateway, version: int) -> None:
    gateway.context.groups.release()
    client = GroupClient(gateway)
    asked = {"topics": [{**client.named("t"), "partition_indexes": [0]}], "group_id": "g"}
    fields = {"groups": [asked]} if version >= 8 else asked
    answer = await client.ask(ApiKey.OFFSET_FETCH, version, **fields)
    if version >= 8:
        code = answer.groups[0].error_code
    elif version >= 2:
        code = answer.error_code
    else:
        code = answer.topics[0].partitions[0].error_code
    assert code == ErrorCode.not_coordinator


@pytest.mark.parametrize("version", versions(ApiKey.FIND_COORDINATOR))
async def test_find_coordinator(gateway: Gateway, version: int) -> None:
    client, api = GroupClient(gateway), ApiKey.FIND_COORDINATOR

    async def found(key_type: int, *keys: str) -> list[tuple[int, int, str, int]]:
        if version < 4:
            rows = [await client.ask(api, version, key=key, key_type=key_type) for key in keys]
        else:
            answer = await client.ask(api, version, key_type=key_type, coordinator_keys=list(keys))
            rows = list(answer.coordinators)
            assert [row.key for row in rows] == list(keys)
        return [(int(row.error_code), row.node_id, row.host, row.port) for row in rows]

    node = gateway.context.node
    assert await found(0, "g", "h") == [(0, node.id, node.host, node.port)] * 2
    if version >= 1:
        refused = ErrorCode.transactional_id_authorization_failed
        assert await found(1, "x") == [(refused, -1, "", -1)]
        assert await found(2, "x") == [(ErrorCode.invalid_request, -1, "", -1)]
