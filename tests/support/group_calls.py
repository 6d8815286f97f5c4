"""A client of a running gateway's groups: requests by kio through the handlers, as a connection runs them."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

from gateway.dispatch import Call, Cold, Peer
from gateway.routes import ROUTES
from gateway.runtime import Gateway
from protocol.messages import RequestHeader, encode_response
from protocol.versions import ApiKey
from tests.support import kio_messages

SESSION = timedelta(seconds=10)
REBALANCE = timedelta(seconds=30)


class GroupClient:
    """Asks one gateway about one group. Answers are decoded by kio."""

    def __init__(self, gateway: Gateway, group: str = "g", client_id: str | None = "test") -> None:
        self.gateway = gateway
        self.group = group
        self.client_id = client_id

    async def ask(self, api: ApiKey, version: int, **fields: object) -> Any:
        """The answer to any request."""
        header = RequestHeader(api, version, 4711, self.client_id)
        call = Call(header, kio_messages.request(api, version, **fields), Peer("127.0.0.1", 1))
        route = cast(Cold, ROUTES[api])
        async with asyncio.timeout(20):
            answer = await route.handle(call, self.gateway.context)
        data = encode_response(api, version, 4711, cast(Mapping[str, object], answer))
        return kio_messages.response(api, version, data)[1]

    async def join(
        self,
        member_id: str = "",
        version: int = 9,
        *,
        instance: str | None = None,
        session: timedelta = SESSION,
        metadata: bytes = b"m",
    ) -> Any:
        """JoinGroup."""
        return await self.ask(
            ApiKey.JOIN_GROUP,
            version,
            group_id=self.group,
            session_timeout=session,
            rebalance_timeout=REBALANCE,
            member_id=member_id,
            group_instance_id=instance,
            protocol_type="consumer",
            protocols=[{"name": "range", "metadata": metadata}],
        )

    async def joined(self, version: int = 9, **fields: Any) -> Any:
        """JoinGroup until it is a member: where an id is required, with the id."""
        answer = await self.join(version=version, **fields)
        if answer.error_code == 79:
            answer = await self.join(answer.member_id, version, **fields)
        assert answer.error_code == 0
        return answer

    async def sync(
        self,
        member_id: str,
        generation: int,
        assignments: Mapping[str, bytes] | None = None,
        version: int = 5,
        **fields: object,
    ) -> Any:
        """SyncGroup."""
        rows = [{"member_id": one, "assignment": share} for one, share in (assignments or {}).items()]
        return await self.ask(
            ApiKey.SYNC_GROUP,
            version,
            group_id=self.group,
            generation_id=generation,
            member_id=member_id,
            assignments=rows,
            **fields,
        )

    async def member(self, version: int = 5, **fields: Any) -> tuple[str, int]:
        """The only member of a stable group: its id and generation."""
        joined = await self.joined(**fields)
        shares = {one.member_id: one.member_id.encode() for one in joined.members}
        synced = await self.sync(joined.member_id, joined.generation_id, shares, version)
        assert synced.error_code == 0
        return joined.member_id, joined.generation_id

    async def heartbeat(self, member_id: str, generation: int, version: int = 4, **fields: object) -> int:
        """Heartbeat; its error."""
        answer = await self.ask(
            ApiKey.HEARTBEAT,
            version,
            group_id=self.group,
            generation_id=generation,
            member_id=member_id,
            **fields,
        )
        return int(answer.error_code)

    async def commit(
        self,
        offsets: Mapping[tuple[str, int], tuple[int, str | None]],
        member_id: str = "",
        generation: int = -1,
        version: int = 9,
    ) -> list[int]:
        """OffsetCommit; the error of each partition."""
        topics = []
        for (name, index), (offset, metadata) in offsets.items():
            row = {"partition_index": index, "committed_offset": offset, "committed_metadata": metadata}
            topics.append({**self.named(name), "partitions": [{"committed_leader_epoch": 0, **row}]})
        answer = await self.ask(
            ApiKey.OFFSET_COMMIT,
            version,
            group_id=self.group,
            generation_id_or_member_epoch=generation,
            member_id=member_id,
            topics=topics,
        )
        return [int(row.error_code) for topic in answer.topics for row in topic.partitions]

    def named(self, name: str) -> dict[str, object]:
        """A topic by name, and by id where there is such a topic."""
        topic = self.gateway.context.catalog.topic(name)
        return {"name": name, "topic_id": topic.id if topic is not None else None}

    async def offsets(self, *asked: tuple[str, int], version: int = 9) -> Any:
        """OffsetFetch: (offset, metadata, error) of the partitions asked for, in order, or all by name."""
        topics = [{**self.named(name), "partition_indexes": [index]} for name, index in asked] or None
        if version >= 8:
            answer = await self.ask(
                ApiKey.OFFSET_FETCH, version, groups=[{"group_id": self.group, "topics": topics}]
            )
            (answer,) = answer.groups
        else:
            answer = await self.ask(ApiKey.OFFSET_FETCH, version, group_id=self.group, topics=topics)
        assert getattr(answer, "error_code", 0) == 0
        rows = [(topic, row) for topic in answer.topics for row in topic.partitions]
        if topics is None:
            return {(t.name, r.partition_index): (r.committed_offset, r.metadata) for t, r in rows}
        return [(row.committed_offset, row.metadata, int(row.error_code)) for _, row in rows]

    async def leave(self, *member_ids: str, version: int = 5) -> list[int]:
        """LeaveGroup; an error for each member."""
        fields: dict[str, object] = {"members": [{"member_id": one} for one in member_ids]}
        if version < 3:
            (member_id,) = member_ids
            fields = {"member_id": member_id}
        answer = await self.ask(ApiKey.LEAVE_GROUP, version, group_id=self.group, **fields)
        if version < 3:
            return [int(answer.error_code)]
        assert answer.error_code == 0
        return [int(one.error_code) for one in answer.members]
