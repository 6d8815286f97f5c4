"""Metadata responses by hand are kio's, byte for byte, in every version."""

import io
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.index import load_response_schema
from kio.serial import entity_writer

from protocol.hot import metadata
from protocol.hot.primitives import NodeEndpoint
from tests.support.kio_messages import plain, response

VERSIONS = range(14)
LEADERS = st.sampled_from([(-1, -1), (0, 0), (1, 5), (2**31 - 1, 2**31 - 1)])
NAMES = st.text(min_size=1, max_size=20)
TOPICS = st.lists(
    st.tuples(
        st.sampled_from([0, 3, 17]),
        NAMES,
        st.uuids(),
        st.booleans(),
        st.integers(0, 3),
        st.lists(LEADERS, max_size=5),
    ),
    max_size=4,
)
BROKERS = st.lists(
    st.builds(NodeEndpoint, st.integers(0, 2**31 - 1), NAMES, st.integers(0, 65535), st.none() | NAMES),
    max_size=3,
)


def encoded(version: int, brokers: list[NodeEndpoint], topics: list[Any]) -> bytes:
    pieces = [
        metadata.topic(
            version,
            error_code=code,
            name=name,
            topic_id=topic_id,
            internal=internal,
            count=len(leaders),
            rows=metadata.Rows(version).encode(first, leaders),
        )
        for code, name, topic_id, internal, first, leaders in topics
    ]
    body = metadata.body(version, brokers=brokers, cluster_id="abc", controller_id=3, topics=pieces)
    return metadata.response(version, 99, body)


@settings(max_examples=40, deadline=None)
@given(brokers=BROKERS, topics=TOPICS)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_told_is_what_was_given(version: int, brokers: list[NodeEndpoint], topics: list[Any]) -> None:
    data = encoded(version, brokers, topics)
    correlation_id, entity = response(3, version, data)
    assert correlation_id == 99
    rewritten = io.BytesIO()
    entity_writer(load_response_schema(3, version))(rewritten, entity)
    assert data.endswith(rewritten.getvalue())
    told = plain(entity)
    assert [(one["node_id"], one["host"], one["port"]) for one in told["brokers"]] == [
        (one.node_id, one.host, one.port) for one in brokers
    ]
    if version >= 1:
        assert told["controller_id"] == 3
        assert [one["rack"] for one in told["brokers"]] == [one.rack for one in brokers]
    if version >= 2:
        assert told["cluster_id"] == "abc"
    for one, (code, name, topic_id, internal, first, leaders) in zip(told["topics"], topics, strict=True):
        assert (one["error_code"], one["name"]) == (code, name)
        assert one.get("topic_id", topic_id) == (topic_id if topic_id.int else None)
        assert one.get("is_internal", internal) == internal
        assert [row["partition_index"] for row in one["partitions"]] == [
            first + i for i in range(len(leaders))
        ]
        for row, (leader, epoch) in zip(one["partitions"], leaders, strict=True):
            assert row["leader_id"] == leader
            assert row["error_code"] == (5 if leader < 0 else 0)
            assert row["replica_nodes"] == row["isr_nodes"] == ([leader] if leader >= 0 else [])
            assert row.get("offline_replicas", []) == []
            if version >= 7:
                assert row["leader_epoch"] == epoch


@pytest.mark.parametrize("version", VERSIONS)
def test_a_topic_without_a_name_is_null_where_the_version_has_null(version: int) -> None:
    piece = metadata.topic(
        version, error_code=100, name=None, topic_id=UUID(int=5), internal=False, count=0, rows=b""
    )
    body = metadata.body(version, brokers=[], cluster_id="abc", controller_id=3, topics=[piece])
    _, entity = response(3, version, metadata.response(version, 1, body))
    assert entity.topics[0].name == (None if version >= 12 else "")
