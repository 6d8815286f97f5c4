"""THE table of handlers: which module answers which request.

A test asserts that it has a row for exactly the requests of protocol/versions.py.
"""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.dispatch import Cold, Hot, Route
from gateway.handlers import (
    alter_configs,
    api_versions,
    create_partitions,
    create_topics,
    delete_topics,
    describe_cluster,
    describe_configs,
    describe_topic_partitions,
    fetch,
    find_coordinator,
    heartbeat,
    incremental_alter_configs,
    init_producer_id,
    join_group,
    leave_group,
    list_offsets,
    metadata,
    offset_commit,
    offset_fetch,
    offset_for_leader_epoch,
    produce,
    sync_group,
)
from protocol.versions import ApiKey

ROUTES: Mapping[ApiKey, Route] = MappingProxyType(
    {
        ApiKey.PRODUCE: Hot(produce.begin),
        ApiKey.FETCH: Hot(fetch.begin),
        ApiKey.LIST_OFFSETS: Cold(list_offsets.handle),
        ApiKey.METADATA: Cold(metadata.handle),
        ApiKey.OFFSET_COMMIT: Cold(offset_commit.handle),
        ApiKey.OFFSET_FETCH: Cold(offset_fetch.handle),
        ApiKey.FIND_COORDINATOR: Cold(find_coordinator.handle),
        ApiKey.JOIN_GROUP: Cold(join_group.handle),
        ApiKey.HEARTBEAT: Cold(heartbeat.handle),
        ApiKey.LEAVE_GROUP: Cold(leave_group.handle),
        ApiKey.SYNC_GROUP: Cold(sync_group.handle),
        ApiKey.API_VERSIONS: Cold(api_versions.handle),
        ApiKey.CREATE_TOPICS: Cold(create_topics.handle),
        ApiKey.DELETE_TOPICS: Cold(delete_topics.handle),
        ApiKey.INIT_PRODUCER_ID: Cold(init_producer_id.handle),
        ApiKey.OFFSET_FOR_LEADER_EPOCH: Cold(offset_for_leader_epoch.handle),
        ApiKey.DESCRIBE_CONFIGS: Cold(describe_configs.handle),
        ApiKey.ALTER_CONFIGS: Cold(alter_configs.handle),
        ApiKey.CREATE_PARTITIONS: Cold(create_partitions.handle),
        ApiKey.INCREMENTAL_ALTER_CONFIGS: Cold(incremental_alter_configs.handle),
        ApiKey.DESCRIBE_CLUSTER: Cold(describe_cluster.handle),
        ApiKey.DESCRIBE_TOPIC_PARTITIONS: Cold(describe_topic_partitions.handle),
    }
)
