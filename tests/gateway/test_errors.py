"""Every failure has one code, and the code makes clients do what helps."""

from typing import TypeVar

import pytest

from gateway.errors import CODES, ErrorCode, error_code, read_error_code, wire_error_code
from protocol import errors as wire_errors
from protocol.errors import WireError
from wal import errors as wal_errors
from wal.errors import BeyondEnd, Fenced, Trimmed, Unavailable, WalError

FailureT = TypeVar("FailureT", bound=Exception)


def leaves(kind: type[FailureT]) -> set[type[FailureT]]:
    """All classes below, without those that are only a base for others."""
    below = kind.__subclasses__()
    return {leaf for one in below for leaf in leaves(one)} or {kind}


def test_every_failure_of_the_log_has_a_code() -> None:
    assert set(CODES) == {one for one in leaves(WalError) if one.__module__ == wal_errors.__name__}


def test_no_bad_bytes_are_an_error_of_ours() -> None:
    for kind in leaves(WireError):
        if kind.__module__ == wire_errors.__name__:
            failure = kind(0, 0) if kind is wire_errors.UnsupportedVersion else kind("bad")
            assert wire_error_code(failure) is not ErrorCode.unknown_server_error


@pytest.mark.parametrize("failure", [Fenced(), Unavailable()])
def test_what_may_succeed_later_is_retriable(failure: WalError) -> None:
    assert error_code(failure).retriable
    assert read_error_code(failure).retriable


@pytest.mark.parametrize("failure", [Trimmed(3), BeyondEnd(3)])
def test_a_position_outside_the_stream_is_an_offset_out_of_range(failure: WalError) -> None:
    assert error_code(failure) is ErrorCode.offset_out_of_range


def test_consumers_are_never_told_of_a_time_out() -> None:
    assert error_code(Unavailable()) is ErrorCode.request_timed_out
    assert read_error_code(Unavailable()) is ErrorCode.kafka_storage_error


def test_a_failure_nobody_has_thought_of_is_told_as_such() -> None:
    class Unheard(WalError):
        pass

    assert error_code(Unheard()) is ErrorCode.unknown_server_error
