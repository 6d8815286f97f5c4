"""The cluster as admin clients see it."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.context import Node
from gateway.dispatch import Call, Peer
from gateway.errors import ErrorCode
from gateway.handlers import api_versions, describe_cluster
from protocol.messages import RequestHeader, encode_response
from protocol.versions import ADVERTISED
from tests.support import kio_messages

KEY = 60
API_VERSIONS = 18


async def ask(version: int, **fields: object) -> Any:
    """The answer, encoded and read back by kio."""
    body = kio_messages.request(KEY, version, include_cluster_authorized_operations=True, **fields)
    call = Call(RequestHeader(KEY, version, 1, "test"), body, Peer("127.0.0.1", 1))
    context = SimpleNamespace(node=Node(7, "host", 9092, "rack"), cluster_id="c" * 22)
    answer = await describe_cluster.handle(call, cast(Any, context))
    return kio_messages.response(KEY, version, encode_response(KEY, version, 1, answer))[1]


@pytest.mark.parametrize("version", range(3))
async def test_it_names_the_node(version: int) -> None:
    answer = await ask(version)
    assert answer.error_code is ErrorCode.none
    assert (answer.cluster_id, answer.controller_id) == ("c" * 22, 7)
    (broker,) = answer.brokers
    assert (broker.broker_id, broker.host, broker.port, broker.rack) == (7, "host", 9092, "rack")
    assert answer.cluster_authorized_operations == -(2**31)


@pytest.mark.parametrize(
    ("endpoint_type", "code"),
    [(2, ErrorCode.mismatched_endpoint_type), (9, ErrorCode.unsupported_endpoint_type)],
)
async def test_there_are_no_endpoints_but_brokers(endpoint_type: int, code: ErrorCode) -> None:
    answer = await ask(1, endpoint_type=endpoint_type)
    assert answer.error_code is code
    assert answer.error_message
    assert answer.brokers == ()


@pytest.mark.parametrize("version", range(5))
async def test_api_versions_lists_the_table_and_no_tagged_field(version: int) -> None:
    body = kio_messages.request(
        API_VERSIONS,
        version,
        **({"client_software_name": "t", "client_software_version": "1"} if version > 2 else {}),
    )
    call = Call(RequestHeader(API_VERSIONS, version, 1, "test"), body, Peer("127.0.0.1", 1))
    data = await api_versions.handle(call, cast(Any, None))
    answer = kio_messages.response(API_VERSIONS, version, data)[1]
    rows = {row.api_key: (row.min_version, row.max_version) for row in answer.api_keys}
    assert rows == {int(key): tuple(versions) for key, versions in ADVERTISED.items()}
    if version > 2:
        assert data[-1] == 0
