"""What can be wrong with bytes from the wire: few errors, each telling the caller what to do.

Two kinds of blame. A `RemoteProtocolError` means the peer does not speak the protocol: nothing after it can
be trusted, so the connection ends. The batch errors mean one record batch is bad while the request around
it is sound: its partition is answered with an error and everything else goes on.
"""


class WireError(Exception):
    """Base of all errors about bytes from the wire."""


class RemoteProtocolError(WireError):
    """The peer broke the protocol: close the connection, with one log line and without an answer."""


class UnsupportedVersion(RemoteProtocolError):
    """An API key or a version of it that is not accepted: close the connection, save for ApiVersions.

    ApiVersions alone is answered: `messages.api_versions_refusal` names the versions it has.
    """

    def __init__(self, api_key: int, version: int) -> None:
        super().__init__(f"api key {api_key} version {version} is not accepted")
        self.api_key = api_key
        self.version = version


class CorruptBatch(WireError):
    """A record batch is cut short or fails its checksum: answer CORRUPT_MESSAGE for its partition."""


class InvalidBatch(WireError):
    """A record batch is whole but breaks a rule (magic, count, deltas): answer INVALID_RECORD for its
    partition."""


class BatchTooLarge(WireError):
    """A record batch opens to more bytes than allowed: answer MESSAGE_TOO_LARGE for its partition, or stop
    opening it."""


class UnsupportedCodec(WireError):
    """A record batch names a codec that does not exist: answer UNSUPPORTED_COMPRESSION_TYPE for its
    partition."""
