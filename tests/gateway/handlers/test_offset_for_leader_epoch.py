"""Laws of OffsetForLeaderEpoch: who resumes after restarts learns that the records are still there."""

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.errors import ErrorCode
from gateway.handlers import offset_for_leader_epoch
from gateway.handlers.list_offsets import handle as list_offsets
from protocol.batches import read_header
from tests.support.kafka_calls import begin_fetch, bytes_of, fetched
from tests.support.one_node import OneNode, batch_of
from wal.errors import Fenced
from wal.types import StreamId

STREAM = StreamId(1024)


@pytest.fixture
async def node() -> OneNode:
    made = OneNode()
    made.add_topic("t")
    return made


async def ask(node: OneNode, epoch: int, *, believed: int = -1, topic: str = "t") -> Any:
    """(error, epoch, end) of one partition."""
    partition = SimpleNamespace(partition=0, current_leader_epoch=believed, leader_epoch=epoch)
    body = SimpleNamespace(topics=[SimpleNamespace(topic=topic, partitions=[partition])])
    answer: Any = await offset_for_leader_epoch.handle(node.call(23, 4, body), node.context)
    [row] = answer["topics"][0]["partitions"]
    return row["error_code"], row["leader_epoch"], row["end_offset"]


async def test_epochs_end_as_the_list_of_the_stream_says(node: OneNode) -> None:
    for epoch in (2, 5):
        node.log.begin_epoch(epoch)
        node.put(STREAM, batch_of(4))
    node.log.begin_epoch(9)
    none = ErrorCode.none
    assert [await ask(node, epoch) for epoch in (1, 2, 3, 5, 7, 9, 10)] == [
        (none, 1, 0),
        (none, 2, 4),
        (none, 2, 4),
        (none, 5, 8),
        (none, 5, 8),
        (none, 9, 8),
        (none, -1, -1),
    ]


async def test_a_resume_over_three_restarts_finds_what_was_read(node: OneNode) -> None:
    read: list[tuple[int, int]] = []
    for epoch in (1, 2, 3, 4):
        node.log.begin_epoch(epoch)
        for offset, written_under in read:
            _, known, end = await ask(node, written_under, believed=epoch)
            assert (known, end) >= (written_under, offset + 1)
            [row] = await fetched(begin_fetch(node, ("t", 0, offset), leader_epoch=epoch))
            assert read_header(bytes_of(row)).leader_epoch == written_under
        if epoch != 3:
            read.append((node.put(STREAM, batch_of(2)), epoch))
    latest = SimpleNamespace(partition_index=0, timestamp=-1, current_leader_epoch=4)
    body = SimpleNamespace(topics=[SimpleNamespace(name="t", partitions=[latest])])
    answer: Any = await list_offsets(node.call(2, 11, body), node.context)
    [row] = answer["topics"][0]["partitions"]
    assert await ask(node, row["leader_epoch"]) == (ErrorCode.none, 4, row["offset"])


@pytest.mark.parametrize(("believed", "code"), [(6, "fenced_leader_epoch"), (8, "unknown_leader_epoch")])
async def test_the_leader_epoch_that_the_client_believes_in_is_checked(
    node: OneNode, believed: int, code: str
) -> None:
    node.log.epoch = 7
    assert await ask(node, 7, believed=believed) == (ErrorCode[code], -1, -1)


async def test_unknown_partitions_and_lost_logs_are_told(node: OneNode) -> None:
    assert (await ask(node, 1, topic="nowhere"))[0] == ErrorCode.unknown_topic_or_partition
    node.log.proof_error = Fenced("x")
    assert (await ask(node, 1))[0] == ErrorCode.not_leader_or_follower
    node.lose_log()
    assert (await ask(node, 1))[0] == ErrorCode.not_leader_or_follower
