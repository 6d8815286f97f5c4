"""Kafka's error codes, and the only place where the log's and the wire's failures become one of them.

Handlers raise or catch `Refused` and put codes into responses; nobody else decides which code a failure is.
Each code is chosen by what it makes a client do: refresh its metadata and ask again, ask again where it is,
or give up.
"""

from collections.abc import Mapping

from kio.schema.errors import ErrorCode

from protocol.errors import (
    BatchTooLarge,
    CorruptBatch,
    InvalidBatch,
    RemoteProtocolError,
    UnsupportedCodec,
    UnsupportedVersion,
    WireError,
)
from wal.errors import (
    BeyondEnd,
    Closed,
    Corrupt,
    Fenced,
    StoreRefused,
    Trimmed,
    Unavailable,
    WalError,
)

__all__ = [
    "CODES",
    "CloseConnection",
    "ErrorCode",
    "Refused",
    "coordinator_error",
    "error_code",
    "read_error_code",
    "wire_error_code",
]


class Refused(Exception):
    """A request, or a part of one, cannot be done: the code for the response and a sentence for a person."""

    def __init__(self, code: ErrorCode, message: str = "") -> None:
        super().__init__(f"{code.name}: {message}" if message else code.name)
        self.code = code
        self.message = message


class CloseConnection(Exception):
    """The only answer is to close the connection, after the answers before it. Says why, for the log."""


CODES: Mapping[type[WalError], ErrorCode] = {
    Fenced: ErrorCode.not_leader_or_follower,
    Closed: ErrorCode.not_leader_or_follower,
    Unavailable: ErrorCode.request_timed_out,
    Trimmed: ErrorCode.offset_out_of_range,
    BeyondEnd: ErrorCode.offset_out_of_range,
    Corrupt: ErrorCode.kafka_storage_error,
    StoreRefused: ErrorCode.kafka_storage_error,
}
"""What a failure of the log means to a client; a test asserts that every class of `wal.errors` is here."""

WIRE_CODES: Mapping[type[WireError], ErrorCode] = {
    CorruptBatch: ErrorCode.corrupt_message,
    InvalidBatch: ErrorCode.invalid_record,
    BatchTooLarge: ErrorCode.message_too_large,
    UnsupportedCodec: ErrorCode.unsupported_compression_type,
    UnsupportedVersion: ErrorCode.unsupported_version,
    RemoteProtocolError: ErrorCode.invalid_request,
}
"""What bad bytes inside a frame mean; subclasses not named here take the code of their nearest base."""


def error_code(failure: WalError) -> ErrorCode:
    """The code for a write, or for a question, that the log failed.

    Unavailable is a time-out: the outcome is unknown and the client asks again, as it does when a replica
    is slow.
    """
    for kind in type(failure).__mro__:
        if kind in CODES:
            return CODES[kind]
    return ErrorCode.unknown_server_error


def read_error_code(failure: WalError) -> ErrorCode:
    """The code for a Fetch that the log failed.

    As `error_code`, but Unavailable is a storage error: consumers know no time-out in a Fetch response
    (Java's throws IllegalStateException), while a storage error makes all of them ask again.
    """
    if isinstance(failure, Unavailable):
        return ErrorCode.kafka_storage_error
    return error_code(failure)


def wire_error_code(failure: WireError) -> ErrorCode:
    """The code for a batch or a message that is not what the protocol allows."""
    for kind in type(failure).__mro__:
        if kind in WIRE_CODES:
            return WIRE_CODES[kind]
    return ErrorCode.invalid_request


def coordinator_error(failure: WalError) -> ErrorCode:
    """What a failure of the slot's log means to a client of its groups: ask again, or look who can."""
    if isinstance(failure, Unavailable):
        return ErrorCode.coordinator_not_available
    return ErrorCode.not_coordinator
