"""DescribeConfigs: the settings of topics, and of this node, with where each value comes from."""

from collections.abc import Mapping
from typing import Any

from gateway import node_config
from gateway.context import Context
from gateway.dispatch import Call
from gateway.errors import ErrorCode, Refused
from gateway.handlers.config_resources import BROKER, TOPIC, check_node, find_topic, unsupported
from gateway.topic_config import ConfigSource, described

Tree = dict[str, object]


async def handle(call: Call, context: Context) -> Mapping[str, object]:
    """Describe each resource; no keys, or an empty list of them, asks for all."""
    return {
        "throttle_time": 0,
        "results": [_result(resource, call.body, context) for resource in call.body.resources],
    }


def _result(resource: Any, body: Any, context: Context) -> Tree:
    code, message, configs = ErrorCode.none, None, list[Tree]()
    try:
        configs = _configs(resource, context)
    except Refused as refusal:
        code, message = refusal.code, refusal.message
    if resource.configuration_keys:
        asked = set(resource.configuration_keys)
        configs = [config for config in configs if config["name"] in asked]
    for config in configs:
        if not getattr(body, "include_synonyms", False):
            config["synonyms"] = []
        if not getattr(body, "include_documentation", False):
            config["documentation"] = None
    return {
        "error_code": code,
        "error_message": message,
        "resource_type": resource.resource_type,
        "resource_name": resource.resource_name,
        "configs": configs,
    }


def _configs(resource: Any, context: Context) -> list[Tree]:
    """All settings of a resource. Raises Refused."""
    if resource.resource_type == TOPIC:
        return _topic_configs(resource.resource_name, context)
    if resource.resource_type == BROKER:
        check_node(resource.resource_name, context)
        # The empty name asks for what was set for all brokers at once, which is nothing.
        return _node_configs(context) if resource.resource_name else []
    raise unsupported(resource.resource_type)


def _topic_configs(name: str, context: Context) -> list[Tree]:
    topic = find_topic(name, context)
    return [
        {
            "name": row.setting.name,
            "value": row.value,
            "read_only": False,
            "config_source": row.source,
            "is_sensitive": False,
            "synonyms": [
                {"name": synonym.name, "value": synonym.value, "source": synonym.source}
                for synonym in row.synonyms
            ],
            "config_type": row.setting.kind,
            "documentation": row.setting.documentation,
        }
        for row in described(topic.overrides, context.settings)
    ]


def _node_configs(context: Context) -> list[Tree]:
    configs = []
    for row in node_config.described(context.settings):
        values = [(row.value, ConfigSource.NODE)] if row.source == ConfigSource.NODE else []
        values.append((row.default, ConfigSource.DEFAULT))
        configs.append(
            Tree(
                name=row.name,
                value=row.value,
                read_only=True,
                config_source=row.source,
                is_sensitive=row.sensitive,
                synonyms=[{"name": row.name, "value": value, "source": source} for value, source in values],
                config_type=row.kind,
                documentation=row.documentation,
            )
        )
    return configs
