"""CreateTopics: each topic in one transaction, or only looked at.

The object store replicates what is in it, so a partition has one replica as far as clients can tell, and any
replication factor from 1 on is accepted and answered with 1. Replica assignments are accepted where they name
brokers that exist; they say how many partitions there are and decide nothing else.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.catalog import Topic
from gateway.context import Context
from gateway.dispatch import Call
from gateway.errors import ErrorCode, Refused
from gateway.handlers.outcome import DONE, Outcome, outcome
from gateway.topic_config import described, validated
from wal.errors import WalError

REPLICATION_FACTOR = 1
DEFAULT = -1


async def handle(call: Call, context: Context) -> Mapping[str, object]:
    """Create the topics one after the other; one that cannot be created harms no other."""
    body = call.body
    asked = Counter(topic.name for topic in body.topics)
    answers: dict[str, Mapping[str, object]] = {}
    for topic in body.topics:
        if asked[topic.name] > 1:
            refusal = Refused(
                ErrorCode.invalid_request, f"the request names {topic.name!r:.300} more than once"
            )
            answers[topic.name] = _failed(topic.name, outcome(refusal))
        else:
            answers[topic.name] = await _answer(topic, getattr(body, "validate_only", False), context)
    return {"throttle_time": 0, "topics": list(answers.values())}


async def _answer(topic: Any, validate_only: bool, context: Context) -> Mapping[str, object]:
    try:
        count = _count(topic, context)
        overrides = validated(((config.name, config.value) for config in topic.configs), context.settings)
        if validate_only:
            await context.catalog.check_new(topic.name, count)
            return _created(topic.name, None, count, overrides, context)
        made = await context.catalog.create(topic.name, count, overrides)
        return _created(topic.name, made, count, overrides, context)
    except (Refused, WalError) as failure:
        return _failed(topic.name, outcome(failure))


def _count(topic: Any, context: Context) -> int:
    """How many partitions are asked for.

    Raises Refused for a replication factor or assignments that cannot be.
    """
    if topic.assignments:
        if topic.num_partitions != DEFAULT or topic.replication_factor != DEFAULT:
            raise Refused(
                ErrorCode.invalid_request,
                "with assignments, the number of partitions and the replication factor must be -1, not "
                f"{topic.num_partitions} and {topic.replication_factor}",
            )
        rows = sorted(topic.assignments, key=lambda row: int(row.partition_index))
        if [row.partition_index for row in rows] != list(range(len(rows))):
            raise Refused(
                ErrorCode.invalid_replica_assignment,
                f"the {len(rows)} assignments must be for the partitions 0 to {len(rows) - 1}, each once",
            )
        check_assignments([row.broker_ids for row in rows], context)
        return len(rows)
    factor = topic.replication_factor
    if factor != DEFAULT and factor < 1:
        raise Refused(
            ErrorCode.invalid_replication_factor,
            f"the replication factor {factor} is not possible; -1 is, and any number from 1 on",
        )
    return int(context.settings.num_partitions if topic.num_partitions == DEFAULT else topic.num_partitions)


def check_assignments(rows: Sequence[Sequence[int]], context: Context) -> None:
    """Raise Refused (INVALID_REPLICA_ASSIGNMENT) for brokers that are not there, or one twice."""
    known = {context.node.id}
    for brokers in rows:
        if not brokers or len(set(brokers)) != len(brokers) or not known.issuperset(brokers):
            raise Refused(
                ErrorCode.invalid_replica_assignment,
                f"{list(brokers)[:20]} is no assignment: it must name brokers of {sorted(known)}, each once",
            )
        if len(brokers) != len(rows[0]):
            raise Refused(
                ErrorCode.invalid_replica_assignment,
                "all partitions of a topic need as many brokers",
            )


def _created(
    name: str, topic: Topic | None, count: int, overrides: Mapping[str, str], context: Context
) -> Mapping[str, object]:
    """The answer for a topic that was created, or would be."""
    return {
        "name": name,
        "topic_id": topic.id if topic is not None else None,
        "error_code": DONE.code,
        "error_message": None,
        "num_partitions": count,
        "replication_factor": REPLICATION_FACTOR,
        "configs": [
            {
                "name": row.setting.name,
                "value": row.value,
                "read_only": False,
                "config_source": row.source,
                "is_sensitive": False,
            }
            for row in described(overrides, context.settings)
        ],
    }


def _failed(name: str, failure: Outcome) -> Mapping[str, object]:
    return {
        "name": name,
        "topic_id": None,
        "error_code": failure.code,
        "error_message": failure.message,
        "configs": [],
    }
