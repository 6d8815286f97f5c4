"""DescribeCluster: the cluster's id and its brokers, of which there is this one."""

from collections.abc import Mapping

from gateway.context import Context
from gateway.dispatch import Call
from gateway.errors import ErrorCode

ENDPOINT_BROKERS = 1
ENDPOINT_CONTROLLERS = 2
OPERATIONS_UNKNOWN = -(1 << 31)
"""What Kafka answers for the authorized operations where there is no authorizer."""


async def handle(call: Call, context: Context) -> Mapping[str, object]:
    """Describe the brokers; controllers are no endpoints here, and another type than these two is not
    known.
    """
    endpoint_type = getattr(call.body, "endpoint_type", ENDPOINT_BROKERS)
    if endpoint_type != ENDPOINT_BROKERS:
        known = endpoint_type == ENDPOINT_CONTROLLERS
        return {
            "error_code": ErrorCode.mismatched_endpoint_type
            if known
            else ErrorCode.unsupported_endpoint_type,
            "error_message": (
                "This is a broker endpoint; there are no controller endpoints."
                if known
                else f"Endpoint type {endpoint_type} is not known."
            ),
            "endpoint_type": endpoint_type,
            "cluster_id": context.cluster_id,
            "brokers": [],
        }
    node = context.node
    return {
        "error_code": ErrorCode.none,
        "error_message": None,
        "endpoint_type": ENDPOINT_BROKERS,
        "cluster_id": context.cluster_id,
        "controller_id": node.id,
        "brokers": [
            {
                "broker_id": node.id,
                "host": node.host,
                "port": node.port,
                "rack": node.rack,
                "is_fenced": False,
            }
        ],
        "cluster_authorized_operations": OPERATIONS_UNKNOWN,
    }
