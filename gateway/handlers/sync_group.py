"""SyncGroup: the leader brings the generation's assignments, every member fetches its own."""

from collections.abc import Mapping

from gateway.context import Context
from gateway.dispatch import Call
from gateway.errors import Refused
from gateway.groups.member import Identity, Sync, Synced


async def handle(call: Call, context: Context) -> Mapping[str, object]:
    """Answer when the assignments are durable."""
    body = call.body
    ask = Sync(
        who=Identity(body.member_id, getattr(body, "group_instance_id", None)),
        generation=body.generation_id,
        assignments={one.member_id: bytes(one.assignment) for one in body.assignments},
        protocol_type=getattr(body, "protocol_type", None),
        protocol=getattr(body, "protocol_name", None),
    )
    try:
        synced = await context.groups.sync(body.group_id, ask)
    except Refused as refusal:
        synced = Synced(refusal.code)
    return {
        "error_code": synced.error,
        "protocol_type": synced.protocol_type,
        "protocol_name": synced.protocol,
        "assignment": synced.assignment,
    }
