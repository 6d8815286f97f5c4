"""FindCoordinator: which node coordinates a group.

There are no transactions yet: a transactional id is refused with the code that InitProducerId has for it,
which every client takes as final. Other kinds of keys are not known.
"""

from collections.abc import Mapping
from enum import IntEnum

from gateway.context import Context
from gateway.dispatch import Call
from gateway.errors import ErrorCode
from gateway.groups.coordinator import NOBODY

BATCHED_FROM = 4
"""From this version on a request names several keys."""


class KeyType(IntEnum):
    """What a key names."""

    GROUP = 0
    TRANSACTION = 1


async def handle(call: Call, context: Context) -> Mapping[str, object]:
    """Answer for the key, or for each of the keys in order."""
    body = call.body
    key_type = getattr(body, "key_type", KeyType.GROUP)
    if call.header.version < BATCHED_FROM:
        return _coordinator(body.key, key_type, context)
    return {
        "coordinators": [
            {"key": key, **_coordinator(key, key_type, context)} for key in body.coordinator_keys
        ]
    }


def _coordinator(key: str, key_type: int, context: Context) -> Mapping[str, object]:
    node = context.node
    if key_type == KeyType.TRANSACTION:
        return _nobody(ErrorCode.transactional_id_authorization_failed, "This node has no transactions yet.")
    if key_type != KeyType.GROUP:
        return _nobody(ErrorCode.invalid_request, f"Key type {key_type} is not known.")
    if context.groups.coordinator(key) != node.id:
        return _nobody(ErrorCode.coordinator_not_available, "No node holds the group's log now.")
    return {
        "error_code": ErrorCode.none,
        "error_message": None,
        "node_id": node.id,
        "host": node.host,
        "port": node.port,
    }


def _nobody(code: ErrorCode, message: str) -> Mapping[str, object]:
    return {"error_code": code, "error_message": message, "node_id": NOBODY, "host": "", "port": -1}
