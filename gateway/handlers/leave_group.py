"""LeaveGroup: members leave, so that the others need not wait for their sessions to end."""

from collections.abc import Mapping

from gateway.context import Context
from gateway.dispatch import Call
from gateway.errors import ErrorCode, Refused
from gateway.groups.member import Identity

BATCHED_FROM = 3
"""From this version on a request names several members, by their instances if need be."""


async def handle(call: Call, context: Context) -> Mapping[str, object]:
    """Answer for each member, or for the one."""
    body = call.body
    is_batched = call.header.version >= BATCHED_FROM
    leaving = [
        Identity(one.member_id, getattr(one, "group_instance_id", None))
        for one in (body.members if is_batched else [body])
    ]
    try:
        errors = await context.groups.leave(body.group_id, leaving)
    except Refused as refusal:
        return {"error_code": refusal.code, "members": []}
    if not is_batched:
        return {"error_code": errors[0], "members": []}
    return {
        "error_code": ErrorCode.none,
        "members": [
            {"member_id": who.member_id, "group_instance_id": who.instance_id, "error_code": error}
            for who, error in zip(leaving, errors, strict=True)
        ],
    }
