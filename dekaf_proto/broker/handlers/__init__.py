"""One function an API, each in a file of its own: (exchange, request) -> response, or Pending.

They read and change the cluster's state; they know no connection, no frame and no clock but the moment at which the
request came. `HANDLERS` is what the broker can answer, and so what it advertises.
"""

from __future__ import annotations

from typing import Final

from dekaf_proto.broker.exchange import Handler
from dekaf_proto.broker.handlers.add_offsets_to_txn import add_offsets_to_txn
from dekaf_proto.broker.handlers.add_partitions_to_txn import add_partitions_to_txn
from dekaf_proto.broker.handlers.api_versions import api_versions
from dekaf_proto.broker.handlers.create_partitions import create_partitions
from dekaf_proto.broker.handlers.create_topics import create_topics
from dekaf_proto.broker.handlers.delete_groups import delete_groups
from dekaf_proto.broker.handlers.delete_topics import delete_topics
from dekaf_proto.broker.handlers.describe_cluster import describe_cluster
from dekaf_proto.broker.handlers.describe_configs import describe_configs
from dekaf_proto.broker.handlers.describe_groups import describe_groups
from dekaf_proto.broker.handlers.describe_topic_partitions import describe_topic_partitions
from dekaf_proto.broker.handlers.end_txn import end_txn
from dekaf_proto.broker.handlers.fetch import fetch
from dekaf_proto.broker.handlers.find_coordinator import find_coordinator
from dekaf_proto.broker.handlers.heartbeat import heartbeat
from dekaf_proto.broker.handlers.init_producer_id import init_producer_id
from dekaf_proto.broker.handlers.join_group import join_group
from dekaf_proto.broker.handlers.leave_group import leave_group
from dekaf_proto.broker.handlers.list_groups import list_groups
from dekaf_proto.broker.handlers.list_offsets import list_offsets
from dekaf_proto.broker.handlers.metadata import metadata
from dekaf_proto.broker.handlers.offset_commit import offset_commit
from dekaf_proto.broker.handlers.offset_delete import offset_delete
from dekaf_proto.broker.handlers.offset_fetch import offset_fetch
from dekaf_proto.broker.handlers.offset_for_leader_epoch import offset_for_leader_epoch
from dekaf_proto.broker.handlers.produce import produce
from dekaf_proto.broker.handlers.sync_group import sync_group
from dekaf_proto.broker.handlers.txn_offset_commit import txn_offset_commit
from dekaf_proto.messages import ApiKey

HANDLERS: Final[dict[ApiKey, Handler]] = {
    ApiKey.FETCH: fetch,
    ApiKey.LIST_OFFSETS: list_offsets,
    ApiKey.METADATA: metadata,
    ApiKey.OFFSET_COMMIT: offset_commit,
    ApiKey.OFFSET_FETCH: offset_fetch,
    ApiKey.FIND_COORDINATOR: find_coordinator,
    ApiKey.JOIN_GROUP: join_group,
    ApiKey.HEARTBEAT: heartbeat,
    ApiKey.LEAVE_GROUP: leave_group,
    ApiKey.SYNC_GROUP: sync_group,
    ApiKey.DESCRIBE_GROUPS: describe_groups,
    ApiKey.API_VERSIONS: api_versions,
    ApiKey.OFFSET_FOR_LEADER_EPOCH: offset_for_leader_epoch,
    ApiKey.CREATE_PARTITIONS: create_partitions,
    ApiKey.CREATE_TOPICS: create_topics,
    ApiKey.DELETE_GROUPS: delete_groups,
    ApiKey.DELETE_TOPICS: delete_topics,
    ApiKey.DESCRIBE_CLUSTER: describe_cluster,
    ApiKey.DESCRIBE_CONFIGS: describe_configs,
    ApiKey.DESCRIBE_TOPIC_PARTITIONS: describe_topic_partitions,
    ApiKey.LIST_GROUPS: list_groups,
    ApiKey.OFFSET_DELETE: offset_delete,
    ApiKey.PRODUCE: produce,
    ApiKey.INIT_PRODUCER_ID: init_producer_id,
    ApiKey.ADD_PARTITIONS_TO_TXN: add_partitions_to_txn,
    ApiKey.ADD_OFFSETS_TO_TXN: add_offsets_to_txn,
    ApiKey.END_TXN: end_txn,
    ApiKey.TXN_OFFSET_COMMIT: txn_offset_commit,
}
