"""JoinGroup: a member joins its group's next generation, and waits until the others have."""

from collections.abc import Mapping
from datetime import timedelta

from gateway.context import Context
from gateway.dispatch import Call
from gateway.errors import Refused
from gateway.groups.member import Join, Joined
from gateway.groups.records import StoredProtocol

ID_REQUIRED_FROM = 4
"""From this version on a member without an id is given one first, and joins with its second request."""
NULL_PROTOCOL_FROM = 7
SKIP_FROM = 9
MILLISECOND = timedelta(milliseconds=1)


async def handle(call: Call, context: Context) -> Mapping[str, object]:
    """Answer when the generation begins; its leader learns of all members."""
    version = call.header.version
    ask = _asked(call)
    try:
        joined = await context.groups.join(call.body.group_id, ask)
    except Refused as refusal:
        joined = Joined(refusal.code, ask.member_id)
    nothing = None if version >= NULL_PROTOCOL_FROM else ""
    return {
        "error_code": joined.error,
        "generation_id": joined.generation,
        "protocol_type": joined.protocol_type,
        "protocol_name": nothing if joined.protocol is None else joined.protocol,
        "leader": joined.leader,
        "skip_assignment": joined.skip_assignment,
        "member_id": joined.member_id,
        "members": [
            {"member_id": one.member_id, "group_instance_id": one.instance_id, "metadata": one.metadata}
            for one in joined.members
        ],
    }


def _asked(call: Call) -> Join:
    body, version = call.body, call.header.version
    session_ms = body.session_timeout // MILLISECOND
    rebalance_ms = getattr(body, "rebalance_timeout", body.session_timeout) // MILLISECOND
    return Join(
        member_id=body.member_id,
        instance_id=getattr(body, "group_instance_id", None),
        client_id=call.header.client_id or "",
        client_host=call.connection.host,
        session_ms=session_ms,
        rebalance_ms=rebalance_ms if rebalance_ms >= 0 else session_ms,
        protocol_type=body.protocol_type,
        protocols=tuple(StoredProtocol(one.name, bytes(one.metadata)) for one in body.protocols),
        id_required=version >= ID_REQUIRED_FROM,
        skips_assignment=version >= SKIP_FROM,
    )
