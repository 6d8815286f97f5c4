"""Laws of retention: it asks the log for what the settings say, trims that, and fails softly."""

from typing import Any

import pytest

from gateway.retention import step
from tests.support.one_node import OneNode, batch_of
from wal.errors import Fenced, Unavailable
from wal.types import Position, StreamId


@pytest.fixture
async def node() -> OneNode:
    return OneNode(retention_ms=-1)


def fill(node: OneNode, *streams: int) -> None:
    for stream in streams:
        node.put(stream, batch_of(10))


async def test_partitions_are_trimmed_to_where_the_log_says(node: OneNode) -> None:
    node.add_topic("t", 3, retention_ms="5000", retention_bytes="777")
    fill(node, 1024, 1025, 1026)
    node.log.retention = {StreamId(1024): Position(10), StreamId(1026): Position(4)}
    assert await step(node.context) == 2
    assert [node.log.start(StreamId(stream)) for stream in (1024, 1025, 1026)] == [10, 0, 4]
    before = node.clock.now_ms() - 5000
    assert node.log.retention_calls == [(stream, before, 777) for stream in (1024, 1025, 1026)]
    assert await step(node.context) == 0


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({}, None),
        ({"retention_bytes": "9"}, (-1, 9)),
        ({"retention_ms": "0"}, ("now", -1)),
        ({"retention_ms": str(2**62)}, (-1, -1)),
    ],
)
async def test_a_limit_of_minus_one_is_none(node: OneNode, settings: dict[str, Any], asked: Any) -> None:
    node.add_topic("t", **settings)
    fill(node, 1024)
    await step(node.context)
    if asked is not None:
        time_before = node.clock.now_ms() if asked[0] == "now" else asked[0]
        assert node.log.retention_calls == [(1024, time_before, asked[1])]
    else:
        assert node.log.retention_calls == []


async def test_empty_partitions_and_those_of_other_nodes_are_passed_over(node: OneNode) -> None:
    node.add_topic("t", retention_ms="1")
    assert await step(node.context) == 0
    fill(node, 1024)
    node.lose_log()
    assert await step(node.context) == 0
    assert node.log.retention_calls == []


async def test_what_fails_is_left_for_the_next_step(node: OneNode) -> None:
    node.add_topic("t", retention_ms="1")
    fill(node, 1024)
    node.log.retention = {StreamId(1024): Position(10)}
    node.log.read_error = Unavailable("x")
    assert await step(node.context) == 0
    node.log.read_error = None
    assert await step(node.context) == 1


async def test_a_lost_log_is_not_trimmed(node: OneNode) -> None:
    node.add_topic("t", retention_ms="1")
    fill(node, 1024)
    node.log.retention = {StreamId(1024): Position(10)}
    node.log.lose(Fenced("x"))
    assert await step(node.context) == 0
