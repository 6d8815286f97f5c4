"""InitProducerId: a new number for an idempotent producer.

As Kafka does without a transactional id, the producer always gets a new id at epoch 0, whatever id and
epoch it had before. There are no transactions yet: a transactional id is refused with the one code that
every client takes as final, since most ask again and again on others; the response has no room for a
sentence, the node's log has.
"""

from collections.abc import Mapping

from gateway.context import Context
from gateway.dispatch import Call
from gateway.errors import ErrorCode, Refused, error_code
from gateway.events import EventLog
from wal.errors import Unavailable, WalError

LOG = EventLog(__name__)

NONE = -1
"""No producer id, or no epoch."""


async def handle(call: Call, context: Context) -> Mapping[str, object]:
    """Give out a producer id at epoch 0, or an error with neither."""
    try:
        return {
            "error_code": ErrorCode.none,
            "producer_id": await _producer_id(call, context),
            "producer_epoch": 0,
        }
    except Refused as refusal:
        LOG.debug("producer_refused", client=call.header.client_id or "", cause=refusal.message)
        return {"error_code": refusal.code, "producer_id": NONE, "producer_epoch": NONE}


async def _producer_id(call: Call, context: Context) -> int:
    body = call.body
    if body.transactional_id == "":
        raise Refused(ErrorCode.invalid_request, "an empty transactional id")
    if body.transactional_id is not None:
        raise Refused(ErrorCode.transactional_id_authorization_failed, "this node has no transactions yet")
    if (getattr(body, "producer_id", NONE) == NONE) != (getattr(body, "producer_epoch", NONE) == NONE):
        raise Refused(ErrorCode.invalid_request, "a producer id without an epoch, or an epoch without an id")
    try:
        return await context.producer_ids.take()
    except Unavailable as failure:
        raise Refused(ErrorCode.coordinator_load_in_progress, str(failure)) from failure
    except WalError as failure:
        raise Refused(error_code(failure), str(failure)) from failure
