"""Requests to kio's entities, plain trees to responses, ApiVersions from the table.

The only module that calls kio's codecs. It decodes frames that have passed `protocol.guard` and nothing
else: what kio finds inside them to object to, its panics included, is a RemoteProtocolError. Responses do
not go through kio at all; they are written by encoders compiled from its schemas (`protocol.encoder`), and
kio's writer is their test.

Frames here begin behind the four bytes of size.
"""

import struct
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from kio.index import load_request_schema
from kio.serial import entity_reader
from kio.serial.readers import Reader

from protocol.encoder import Encoder, Path, compile_encoder, field_names
from protocol.errors import RemoteProtocolError
from protocol.schema import request_header_flexible, response_header_flexible, response_schema
from protocol.versions import ACCEPTED, ADVERTISED, ApiKey, accept

UNSUPPORTED_VERSION = 35
"""The one error code that is part of the framing: a client learns from it which versions to use."""

_HEADER = struct.Struct(">hhih")
_CORRELATION_ID = struct.Struct(">i")


class RequestHeader(NamedTuple):
    """The head of a request: which API, in which version, and who asks."""

    api_key: int
    version: int
    correlation_id: int
    client_id: str | None


def decode_header(frame: memoryview) -> tuple[RequestHeader, memoryview]:
    """Return the header and the body of a guarded frame; raises UnsupportedVersion or RemoteProtocolError."""
    try:
        api_key, version, correlation_id, client_id_size = _HEADER.unpack_from(frame)
        accept(api_key, version)
        end = _HEADER.size + max(client_id_size, 0)
        client_id = str(frame[_HEADER.size : end], "utf-8") if client_id_size >= 0 else None
        if request_header_flexible(api_key, version):
            # The guard has cut out every tagged field of the header, for its schema names none: their count
            # is left.
            if frame[end] != 0:
                raise RemoteProtocolError(
                    "tagged fields in the header of a frame that has not passed the guard"
                )
            end += 1
    except (struct.error, IndexError):
        raise RemoteProtocolError("the header is cut short") from None
    except UnicodeDecodeError:
        raise RemoteProtocolError("the client id is not UTF-8") from None
    return RequestHeader(api_key, version, correlation_id, client_id), frame[end:]


def decode_request(api_key: int, version: int, body: memoryview) -> Any:
    """Return kio's entity for the body of a guarded frame; raises RemoteProtocolError for one that kio
    refuses."""
    read = _reader(accept(api_key, version), version)
    try:
        entity, size = read(body.toreadonly(), 0)
    except Exception as failure:
        raise RemoteProtocolError(f"the request does not decode: {failure}") from failure
    except BaseException as failure:
        # A panic in kio's native code derives from BaseException and has no public name. Its process is
        # still sound.
        if type(failure).__name__ != "PanicException":
            raise
        raise RemoteProtocolError(f"the request does not decode: {failure}") from failure
    if size != len(body):
        raise RemoteProtocolError(f"{len(body) - size} bytes are left behind the body")
    return entity


def encode_response(api_key: int, version: int, correlation_id: int, fields: Mapping[str, object]) -> bytes:
    """Return header and body of a response, without its size in front.

    `fields` is a plain tree as `protocol.encoder` describes it: kio's field names, mappings for structs,
    sequences for arrays. One tree serves all versions: what this one lacks is dropped, what the tree lacks
    gets its default. A name that no version has fails an assertion.
    """
    head, encode = _encoder(api_key, version)
    out = bytearray(_CORRELATION_ID.pack(correlation_id))
    out += head
    encode(fields, out)
    return bytes(out)


def with_correlation_id(response: bytes, correlation_id: int) -> bytes:
    """Return a kept response as the answer to another request of the same API and version."""
    return _CORRELATION_ID.pack(correlation_id) + response[_CORRELATION_ID.size :]


def api_versions_response(version: int, correlation_id: int) -> bytes:
    """Return the answer to ApiVersions in an accepted version: what is advertised, and no tagged fields.

    librdkafka before 2.2 misreads tagged fields here.
    """
    return with_correlation_id(_api_versions(version), correlation_id)


def api_versions_refusal(frame: memoryview) -> bytes:
    """Return the answer to an ApiVersions request in a version that is not accepted, unguarded as it came.

    Error 35 in the layout of version 0, which every client reads, with the one range that matters: a client
    that opens with a newer version asks again within it. Raises RemoteProtocolError if not even the
    correlation id is there.
    """
    try:
        (correlation_id,) = _CORRELATION_ID.unpack_from(frame, 4)
    except struct.error:
        raise RemoteProtocolError("the header is cut short") from None
    return encode_response(
        ApiKey.API_VERSIONS,
        0,
        correlation_id,
        {"error_code": UNSUPPORTED_VERSION, "api_keys": [_range(ApiKey.API_VERSIONS)]},
    )


@cache
def _api_versions(version: int) -> bytes:
    return encode_response(ApiKey.API_VERSIONS, version, 0, {"api_keys": [_range(key) for key in ADVERTISED]})


def _range(api_key: ApiKey) -> dict[str, object]:
    versions = ADVERTISED[api_key]
    return {"api_key": api_key, "min_version": versions.lowest, "max_version": versions.highest}


@cache
def _reader(api_key: int, version: int) -> Reader[Any]:
    return entity_reader(load_request_schema(api_key, version))


@cache
def _names(api_key: ApiKey) -> dict[Path, frozenset[str]]:
    lowest, highest = ACCEPTED[api_key]
    return field_names([response_schema(api_key, version) for version in range(lowest, highest + 1)])


@cache
def _encoder(api_key: int, version: int) -> tuple[bytes, Encoder]:
    key = accept(api_key, version)
    head = b"\0" if response_header_flexible(key, version) else b""
    return head, compile_encoder(response_schema(key, version), _names(key))
