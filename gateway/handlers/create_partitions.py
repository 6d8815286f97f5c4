"""CreatePartitions: topics grow; the partitions that are there stay where they are."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from gateway.catalog import check_growth
from gateway.context import Context
from gateway.dispatch import Call
from gateway.errors import ErrorCode, Refused
from gateway.handlers.create_topics import check_assignments
from gateway.handlers.outcome import DONE, Outcome, outcome
from wal.errors import WalError


async def handle(call: Call, context: Context) -> Mapping[str, object]:
    """Grow the topics one after the other; one that cannot grow harms no other."""
    asked = Counter(topic.name for topic in call.body.topics)
    results: dict[str, Outcome] = {}
    for topic in call.body.topics:
        try:
            if asked[topic.name] > 1:
                raise Refused(
                    ErrorCode.invalid_request, f"the request names {topic.name!r:.300} more than once"
                )
            await _grow(topic, call.body.validate_only, context)
            results[topic.name] = DONE
        except (Refused, WalError) as failure:
            results[topic.name] = outcome(failure)
    return {
        "throttle_time": 0,
        "results": [
            {"name": name, "error_code": result.code, "error_message": result.message}
            for name, result in results.items()
        ],
    }


async def _grow(topic: Any, validate_only: bool, context: Context) -> None:
    known = context.catalog.topic(topic.name)
    if known is None:
        raise Refused(ErrorCode.unknown_topic_or_partition, f"there is no topic {topic.name!r:.300}")
    check_growth(topic.name, known.partitions, topic.count)
    if topic.assignments is not None:
        missing = topic.count - known.partitions
        if len(topic.assignments) != missing:
            raise Refused(
                ErrorCode.invalid_replica_assignment,
                f"{topic.name} would get {missing} new partitions, but {len(topic.assignments)} are assigned",
            )
        check_assignments([row.broker_ids for row in topic.assignments], context)
    if not validate_only:
        await context.catalog.grow(topic.name, topic.count)
