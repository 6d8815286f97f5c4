"""Produce: batches into the log, acknowledged when they are durable.

Everything up to the appends happens inside `begin`, without awaiting, so batches lie in the log in the order
in which they arrived on their connection. After that a request waits only for the flushes that hold its
batches. Work is per batch, never per record; gateway/produce_store.py does it.
"""

from typing import NamedTuple

from gateway.context import Context
from gateway.dispatch import Begun, Call, Later
from gateway.errors import CloseConnection, ErrorCode, Refused, error_code
from gateway.produce_store import failed, store
from gateway.waiters import FlushWait
from protocol.hot.produce import (
    PartitionResult,
    ProduceRequest,
    TopicResult,
    decode_request,
    encode_response,
)
from wal.durability import Flush

ACKS_NONE = 0
ACKS_KNOWN = (-1, 0, 1)
LATE = "The records are not durable yet; they may still become so."


class _Pending(NamedTuple):
    """A place in the answer that waits for a flush: `results[at]` holds what it becomes if all goes well."""

    results: list[PartitionResult]
    at: int
    flush: Flush


def begin(call: Call, context: Context) -> Begun:
    """Append what can be appended, then answer at once, or with a future that the flushes complete.

    Raises Later while a log is too far behind with sealing, RemoteProtocolError where the body is no request,
    and CloseConnection where a batch is refused that asked for no acknowledgement (the others of its request
    are appended all the same).
    """
    header = call.header
    request = decode_request(header.version, call.body)
    crowded = context.logs.crowded()
    if crowded is not None:
        raise Later(crowded.caught_up())
    refusal = _refusal(request)
    now_ms = context.clock.now_ms()
    topics: list[TopicResult] = []
    pending: list[_Pending] = []
    for topic in request.topics:
        results: list[PartitionResult] = []
        topics.append(TopicResult(topic.name, topic.topic_id, results))
        for index, records in topic.partitions:
            stored = (
                store(context, topic, index, records, header.version, now_ms)
                if refusal is None
                else failed(index, refusal)
            )
            if stored.flush is not None:
                pending.append(_Pending(results, len(results), stored.flush))
            results.append(stored.result)
    if request.acks == ACKS_NONE:
        _close_on_error(topics)
        return None
    if not pending:
        return [encode_response(header.version, header.correlation_id, topics)]

    def answer() -> list[bytes]:
        _settle(pending)
        return [encode_response(header.version, header.correlation_id, topics)]

    return FlushWait({one.flush for one in pending}, request.timeout_ms, answer).future


def _refusal(request: ProduceRequest) -> Refused | None:
    """Why nothing of the request is taken; None where it may be."""
    if request.acks not in ACKS_KNOWN:
        return Refused(ErrorCode.invalid_required_acks, f"acks are 0, 1 or -1, not {request.acks}")
    if request.transactional_id is not None:
        return Refused(ErrorCode.transactional_id_authorization_failed, "this node has no transactions yet")
    return None


def _settle(pending: list[_Pending]) -> None:
    """Put the errors into the answer of those whose flush failed, or is still under way."""
    for results, at, flush in pending:
        failure = flush.failure
        if flush.done and failure is None:
            continue
        index = results[at].index
        refusal = (
            Refused(ErrorCode.request_timed_out, LATE)
            if failure is None
            else Refused(error_code(failure), str(failure))
        )
        results[at] = failed(index, refusal).result


def _close_on_error(topics: list[TopicResult]) -> None:
    """With acks=0 the end of the connection is all that tells of an error. Raises CloseConnection."""
    for topic in topics:
        for result in topic.partitions:
            if result.error_code:
                raise CloseConnection(
                    f"{ErrorCode(result.error_code).name} with acks=0, partition {result.index} of "
                    f"{topic.name or topic.topic_id}: {result.error_message}"
                )
