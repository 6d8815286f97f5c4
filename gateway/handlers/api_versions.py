"""ApiVersions: which requests this node serves, and in which versions. Drawn from protocol/versions.py alone.

A version that is not served never gets here: the connection answers it with error 35
in the layout of version 0.
"""

from gateway.context import Context
from gateway.dispatch import Call
from protocol.messages import api_versions_response


async def handle(call: Call, _context: Context) -> bytes:
    """List every advertised API in order of its key; encoded once per version."""
    return api_versions_response(call.header.version, call.header.correlation_id)
