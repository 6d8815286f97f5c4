"""AlterConfigs: what is sent replaces all that was set; what is not sent goes back to its default."""

from collections.abc import Mapping
from typing import Any

from gateway.context import Context
from gateway.dispatch import Call
from gateway.errors import ErrorCode, Refused
from gateway.handlers.config_resources import Transition, alter
from gateway.topic_config import validated


async def handle(call: Call, context: Context) -> Mapping[str, object]:
    """Replace the settings of each resource."""

    def replaced(resource: Any) -> Transition:
        def transition(_: Mapping[str, str]) -> Mapping[str, str]:
            missing = [config.name for config in resource.configs if config.value is None]
            if missing:
                raise Refused(
                    ErrorCode.invalid_request,
                    f"{', '.join(missing):.300} has no value; leave a setting out to give it its default",
                )
            return validated(((config.name, config.value) for config in resource.configs), context.settings)

        return transition

    body = call.body
    return {
        "throttle_time": 0,
        "responses": await alter(body.resources, replaced, validate_only=body.validate_only, context=context),
    }
