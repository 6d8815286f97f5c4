"""Laws of look-ups: who is meant, whose view is older, and how long a proof may take."""

from typing import Any
from uuid import UUID

import pytest

from gateway import lookup
from gateway.errors import ErrorCode, Refused
from gateway.lookup import check_leader_epoch, find, unproven
from tests.support.one_node import OneNode
from wal.errors import Fenced, Unavailable


@pytest.fixture
async def node() -> OneNode:
    made = OneNode()
    made.add_topic("t", 2)
    return made


async def test_a_partition_is_found_by_name_and_by_id(node: OneNode) -> None:
    topic = node.topic("t")
    assert topic is not None
    by_name = find(node.context.catalog, "t", None, 1)
    assert by_name is find(node.context.catalog, None, topic.id, 1)
    assert (by_name.topic, by_name.index) == ("t", 1)


@pytest.mark.parametrize(
    ("name", "topic_id", "index", "code"),
    [
        ("x", None, 0, ErrorCode.unknown_topic_or_partition),
        ("t", None, 2, ErrorCode.unknown_topic_or_partition),
        ("t", None, -1, ErrorCode.unknown_topic_or_partition),
        (None, UUID(int=1024), 2, ErrorCode.unknown_topic_or_partition),
        (None, UUID(int=5), 0, ErrorCode.unknown_topic_id),
        (None, None, 0, ErrorCode.unknown_topic_id),
    ],
)
async def test_what_is_not_there_is_refused(
    node: OneNode, name: Any, topic_id: Any, index: int, code: Any
) -> None:
    with pytest.raises(Refused) as refused:
        find(node.context.catalog, name, topic_id, index)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("believed", "code"), [(4, ErrorCode.fenced_leader_epoch), (6, ErrorCode.unknown_leader_epoch)]
)
def test_another_leader_epoch_is_refused(believed: int, code: ErrorCode) -> None:
    with pytest.raises(Refused) as refused:
        check_leader_epoch(believed, 5)
    assert refused.value.code == code


def test_the_current_leader_epoch_or_none_is_fine() -> None:
    check_leader_epoch(5, 5)
    check_leader_epoch(-1, 5)


async def test_a_proof_is_given_or_its_failure_is(node: OneNode) -> None:
    log: Any = node.log
    assert await unproven(log) is None
    log.proof_error = Fenced("x")
    assert isinstance(await unproven(log), Fenced)


async def test_a_proof_that_takes_too_long_is_an_unknown_outcome(
    node: OneNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.log.reading.clear()
    monkeypatch.setattr(lookup, "PROOF_S_MAX", 0.0)
    monkeypatch.setattr(node.log, "prove", node.log.reading.wait)
    log: Any = node.log
    assert isinstance(await unproven(log), Unavailable)
