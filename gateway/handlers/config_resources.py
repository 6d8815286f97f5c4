"""What the APIs about configuration share: kinds of resources, looking them up, altering them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway.catalog import Topic, check_name
from gateway.context import Context
from gateway.errors import ErrorCode, Refused
from gateway.handlers.outcome import DONE, outcome
from wal.errors import WalError

TOPIC = 2
BROKER = 4

Transition = Callable[[Mapping[str, str]], Mapping[str, str]]
"""From the settings that are set to those that shall be. Raises Refused."""


def find_topic(name: str, context: Context) -> Topic:
    """The topic of this name. Raises Refused."""
    topic = context.catalog.topic(name)
    if topic is None:
        check_name(name)
        raise Refused(ErrorCode.unknown_topic_or_partition, f"there is no topic {name!r:.300}")
    return topic


def unsupported(resource_type: int) -> Refused:
    """The answer for a kind of resource that has no configuration here."""
    return Refused(
        ErrorCode.invalid_request,
        f"resources of type {resource_type} have no settings; topics ({TOPIC}) and brokers ({BROKER}) do",
    )


def check_node(name: str, context: Context) -> None:
    """Raise Refused where a broker's name is not this node's id; empty stands for all brokers."""
    if name not in ("", str(context.node.id)):
        raise Refused(
            ErrorCode.invalid_request,
            f"this is node {context.node.id}; ask node {name!r:.100} for its own configuration",
        )


async def alter(
    resources: Iterable[Any],
    transition: Callable[[Any], Transition],
    *,
    validate_only: bool,
    context: Context,
) -> list[Mapping[str, object]]:
    """Alter the resources one after the other, each wholly or not at all.

    `transition` says what is asked of one.
    """
    resources = list(resources)
    counts = Counter((one.resource_type, one.resource_name) for one in resources)
    answers: dict[tuple[int, str], Mapping[str, object]] = {}
    for one in resources:
        key = (one.resource_type, one.resource_name)
        result = DONE
        try:
            if counts[key] > 1:
                raise Refused(ErrorCode.invalid_request, "the request names this resource more than once")
            await _alter_one(one, transition(one), validate_only, context)
        except (Refused, WalError) as failure:
            result = outcome(failure)
        answers[key] = {
            "error_code": result.code,
            "error_message": result.message,
            "resource_type": one.resource_type,
            "resource_name": one.resource_name,
        }
    return list(answers.values())


async def _alter_one(resource: Any, transition: Transition, validate_only: bool, context: Context) -> None:
    name = resource.resource_name
    if resource.resource_type == BROKER:
        check_node(name, context)
        raise Refused(
            ErrorCode.invalid_request,
            "a node's configuration cannot be altered while it runs; change its settings and start it again",
        )
    if resource.resource_type != TOPIC:
        raise unsupported(resource.resource_type)
    topic = find_topic(name, context)
    transition(topic.overrides)
    if not validate_only:
        await context.catalog.alter(name, transition)
