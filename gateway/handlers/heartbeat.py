"""Heartbeat: a member lives, and learns whether it must join again."""

from collections.abc import Mapping

from gateway.context import Context
from gateway.dispatch import Call
from gateway.errors import Refused
from gateway.groups.member import Identity


async def handle(call: Call, context: Context) -> Mapping[str, object]:
    """Answer at once."""
    body = call.body
    who = Identity(body.member_id, getattr(body, "group_instance_id", None))
    try:
        error = await context.groups.heartbeat(body.group_id, who, body.generation_id)
    except Refused as refusal:
        error = refusal.code
    return {"error_code": error}
