"""The table of APIs: what it promises is there, and unknown requests are refused."""

import pytest
from kio.index import load_request_schema, load_response_schema

from protocol.errors import RemoteProtocolError, UnsupportedVersion
from protocol.versions import ACCEPTED, ADVERTISED, ApiKey, accept


def test_every_accepted_version_has_a_request_and_a_response_in_kio() -> None:
    for api_key, (lowest, highest) in ACCEPTED.items():
        for version in range(lowest, highest + 1):
            assert load_request_schema(api_key, version).__version__ == version
            assert load_response_schema(api_key, version).__version__ == version


def test_advertised_and_accepted_differ_for_produce_alone() -> None:
    assert {key for key in ADVERTISED if ADVERTISED[key] != ACCEPTED[key]} == {ApiKey.PRODUCE}
    assert ADVERTISED.keys() == ACCEPTED.keys() == set(ApiKey)


def test_what_is_accepted_is_advertised() -> None:
    for api_key, (lowest, highest) in ACCEPTED.items():
        assert ADVERTISED[api_key].lowest <= lowest <= highest <= ADVERTISED[api_key].highest


def test_the_versions_that_librdkafka_looks_for_are_in_range() -> None:
    looked_for = {
        ApiKey.PRODUCE: (2, 3, 7),
        ApiKey.FETCH: (4, 10),
        ApiKey.LIST_OFFSETS: (1,),
        ApiKey.FIND_COORDINATOR: (0,),
        ApiKey.OFFSET_COMMIT: (2,),
        ApiKey.OFFSET_FETCH: (1,),
        ApiKey.JOIN_GROUP: (0,),
        ApiKey.SYNC_GROUP: (0,),
        ApiKey.HEARTBEAT: (0,),
        ApiKey.LEAVE_GROUP: (0,),
        ApiKey.INIT_PRODUCER_ID: (0,),
    }
    for api_key, versions in looked_for.items():
        lowest, highest = ADVERTISED[api_key]
        assert all(lowest <= version <= highest for version in versions), api_key


def test_accepted_requests_are_those_inside_the_ranges() -> None:
    for api_key, (lowest, highest) in ACCEPTED.items():
        assert accept(api_key, lowest) is accept(api_key, highest) is api_key
        for version in (lowest - 1, highest + 1, -1):
            with pytest.raises(UnsupportedVersion) as refused:
                accept(api_key, version)
            assert (refused.value.api_key, refused.value.version) == (api_key, version)


@pytest.mark.parametrize("api_key", [-1, 4, 7, 17, 24, 26, 28, 68, 32767])
def test_unknown_keys_are_refused(api_key: int) -> None:
    with pytest.raises(RemoteProtocolError):
        accept(api_key, 0)
