"""IncrementalAlterConfigs: single settings are set, put back to their default, or have their list changed."""

from collections.abc import Mapping
from typing import Any

from gateway.context import Context
from gateway.dispatch import Call
from gateway.handlers.config_resources import Transition, alter
from gateway.topic_config import Change, changed


async def handle(call: Call, context: Context) -> Mapping[str, object]:
    """Change the settings of each resource."""

    def transition_of(resource: Any) -> Transition:
        changes = [Change(config.name, config.config_operation, config.value) for config in resource.configs]
        return lambda overrides: changed(overrides, changes, context.settings)

    body = call.body
    return {
        "throttle_time": 0,
        "responses": await alter(
            body.resources, transition_of, validate_only=body.validate_only, context=context
        ),
    }
