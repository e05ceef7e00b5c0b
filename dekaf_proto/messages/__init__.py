"""Every message that a client may send or get: one file an API, loaded on first use.

    from dekaf_proto.messages import FetchRequest           # the message
    from dekaf_proto.messages.fetch import FetchPartition   # a structure inside it

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from enum import IntEnum
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from dekaf_proto.messages.add_offsets_to_txn import (
        AddOffsetsToTxnRequest as AddOffsetsToTxnRequest,
        AddOffsetsToTxnResponse as AddOffsetsToTxnResponse,
    )
    from dekaf_proto.messages.add_partitions_to_txn import (
        AddPartitionsToTxnRequest as AddPartitionsToTxnRequest,
        AddPartitionsToTxnResponse as AddPartitionsToTxnResponse,
    )
    from dekaf_proto.messages.api_versions import (
        ApiVersionsRequest as ApiVersionsRequest,
        ApiVersionsResponse as ApiVersionsResponse,
    )
    from dekaf_proto.messages.consumer_group_describe import (
        ConsumerGroupDescribeRequest as ConsumerGroupDescribeRequest,
        ConsumerGroupDescribeResponse as ConsumerGroupDescribeResponse,
    )
    from dekaf_proto.messages.consumer_group_heartbeat import (
        ConsumerGroupHeartbeatRequest as ConsumerGroupHeartbeatRequest,
        ConsumerGroupHeartbeatResponse as ConsumerGroupHeartbeatResponse,
    )
    from dekaf_proto.messages.consumer_protocol import (
        ConsumerProtocolAssignment as ConsumerProtocolAssignment,
        ConsumerProtocolSubscription as ConsumerProtocolSubscription,
    )
    from dekaf_proto.messages.create_partitions import (
        CreatePartitionsRequest as CreatePartitionsRequest,
        CreatePartitionsResponse as CreatePartitionsResponse,
    )
    from dekaf_proto.messages.create_topics import (
        CreateTopicsRequest as CreateTopicsRequest,
        CreateTopicsResponse as CreateTopicsResponse,
    )
    from dekaf_proto.messages.delete_groups import (
        DeleteGroupsRequest as DeleteGroupsRequest,
        DeleteGroupsResponse as DeleteGroupsResponse,
    )
    from dekaf_proto.messages.delete_records import (
        DeleteRecordsRequest as DeleteRecordsRequest,
        DeleteRecordsResponse as DeleteRecordsResponse,
    )
    from dekaf_proto.messages.delete_topics import (
        DeleteTopicsRequest as DeleteTopicsRequest,
        DeleteTopicsResponse as DeleteTopicsResponse,
    )
    from dekaf_proto.messages.describe_cluster import (
        DescribeClusterRequest as DescribeClusterRequest,
        DescribeClusterResponse as DescribeClusterResponse,
    )
    from dekaf_proto.messages.describe_configs import (
        DescribeConfigsRequest as DescribeConfigsRequest,
        DescribeConfigsResponse as DescribeConfigsResponse,
    )
    from dekaf_proto.messages.describe_groups import (
        DescribeGroupsRequest as DescribeGroupsRequest,
        DescribeGroupsResponse as DescribeGroupsResponse,
    )
    from dekaf_proto.messages.describe_topic_partitions import (
        DescribeTopicPartitionsRequest as DescribeTopicPartitionsRequest,
        DescribeTopicPartitionsResponse as DescribeTopicPartitionsResponse,
    )
    from dekaf_proto.messages.end_txn import EndTxnRequest as EndTxnRequest, EndTxnResponse as EndTxnResponse
    from dekaf_proto.messages.fetch import FetchRequest as FetchRequest, FetchResponse as FetchResponse
    from dekaf_proto.messages.find_coordinator import (
        FindCoordinatorRequest as FindCoordinatorRequest,
        FindCoordinatorResponse as FindCoordinatorResponse,
    )
    from dekaf_proto.messages.get_telemetry_subscriptions import (
        GetTelemetrySubscriptionsRequest as GetTelemetrySubscriptionsRequest,
        GetTelemetrySubscriptionsResponse as GetTelemetrySubscriptionsResponse,
    )
    from dekaf_proto.messages.header import RequestHeader as RequestHeader, ResponseHeader as ResponseHeader
    from dekaf_proto.messages.heartbeat import (
        HeartbeatRequest as HeartbeatRequest,
        HeartbeatResponse as HeartbeatResponse,
    )
    from dekaf_proto.messages.incremental_alter_configs import (
        IncrementalAlterConfigsRequest as IncrementalAlterConfigsRequest,
        IncrementalAlterConfigsResponse as IncrementalAlterConfigsResponse,
    )
    from dekaf_proto.messages.init_producer_id import (
        InitProducerIdRequest as InitProducerIdRequest,
        InitProducerIdResponse as InitProducerIdResponse,
    )
    from dekaf_proto.messages.join_group import (
        JoinGroupRequest as JoinGroupRequest,
        JoinGroupResponse as JoinGroupResponse,
    )
    from dekaf_proto.messages.leave_group import (
        LeaveGroupRequest as LeaveGroupRequest,
        LeaveGroupResponse as LeaveGroupResponse,
    )
    from dekaf_proto.messages.list_groups import (
        ListGroupsRequest as ListGroupsRequest,
        ListGroupsResponse as ListGroupsResponse,
    )
    from dekaf_proto.messages.list_offsets import (
        ListOffsetsRequest as ListOffsetsRequest,
        ListOffsetsResponse as ListOffsetsResponse,
    )
    from dekaf_proto.messages.metadata import MetadataRequest as MetadataRequest, MetadataResponse as MetadataResponse
    from dekaf_proto.messages.offset_commit import (
        OffsetCommitRequest as OffsetCommitRequest,
        OffsetCommitResponse as OffsetCommitResponse,
    )
    from dekaf_proto.messages.offset_delete import (
        OffsetDeleteRequest as OffsetDeleteRequest,
        OffsetDeleteResponse as OffsetDeleteResponse,
    )
    from dekaf_proto.messages.offset_fetch import (
        OffsetFetchRequest as OffsetFetchRequest,
        OffsetFetchResponse as OffsetFetchResponse,
    )
    from dekaf_proto.messages.offset_for_leader_epoch import (
        OffsetForLeaderEpochRequest as OffsetForLeaderEpochRequest,
        OffsetForLeaderEpochResponse as OffsetForLeaderEpochResponse,
    )
    from dekaf_proto.messages.produce import ProduceRequest as ProduceRequest, ProduceResponse as ProduceResponse
    from dekaf_proto.messages.push_telemetry import (
        PushTelemetryRequest as PushTelemetryRequest,
        PushTelemetryResponse as PushTelemetryResponse,
    )
    from dekaf_proto.messages.sasl_authenticate import (
        SaslAuthenticateRequest as SaslAuthenticateRequest,
        SaslAuthenticateResponse as SaslAuthenticateResponse,
    )
    from dekaf_proto.messages.sasl_handshake import (
        SaslHandshakeRequest as SaslHandshakeRequest,
        SaslHandshakeResponse as SaslHandshakeResponse,
    )
    from dekaf_proto.messages.share_acknowledge import (
        ShareAcknowledgeRequest as ShareAcknowledgeRequest,
        ShareAcknowledgeResponse as ShareAcknowledgeResponse,
    )
    from dekaf_proto.messages.share_fetch import (
        ShareFetchRequest as ShareFetchRequest,
        ShareFetchResponse as ShareFetchResponse,
    )
    from dekaf_proto.messages.share_group_heartbeat import (
        ShareGroupHeartbeatRequest as ShareGroupHeartbeatRequest,
        ShareGroupHeartbeatResponse as ShareGroupHeartbeatResponse,
    )
    from dekaf_proto.messages.sync_group import (
        SyncGroupRequest as SyncGroupRequest,
        SyncGroupResponse as SyncGroupResponse,
    )
    from dekaf_proto.messages.txn_offset_commit import (
        TxnOffsetCommitRequest as TxnOffsetCommitRequest,
        TxnOffsetCommitResponse as TxnOffsetCommitResponse,
    )
    from dekaf_proto.wire.schema import Request, Response


class ApiKey(IntEnum):
    """The number that stands for an API at the head of each request."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    DESCRIBE_GROUPS = 15
    LIST_GROUPS = 16
    SASL_HANDSHAKE = 17
    API_VERSIONS = 18
    CREATE_TOPICS = 19
    DELETE_TOPICS = 20
    DELETE_RECORDS = 21
    INIT_PRODUCER_ID = 22
    OFFSET_FOR_LEADER_EPOCH = 23
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28
    DESCRIBE_CONFIGS = 32
    SASL_AUTHENTICATE = 36
    CREATE_PARTITIONS = 37
    DELETE_GROUPS = 42
    INCREMENTAL_ALTER_CONFIGS = 44
    OFFSET_DELETE = 47
    DESCRIBE_CLUSTER = 60
    CONSUMER_GROUP_HEARTBEAT = 68
    CONSUMER_GROUP_DESCRIBE = 69
    GET_TELEMETRY_SUBSCRIPTIONS = 71
    PUSH_TELEMETRY = 72
    DESCRIBE_TOPIC_PARTITIONS = 75
    SHARE_GROUP_HEARTBEAT = 76
    SHARE_FETCH = 78
    SHARE_ACKNOWLEDGE = 79


_MODULES = {
    "ProduceRequest": "produce",
    "ProduceResponse": "produce",
    "FetchRequest": "fetch",
    "FetchResponse": "fetch",
    "ListOffsetsRequest": "list_offsets",
    "ListOffsetsResponse": "list_offsets",
    "MetadataRequest": "metadata",
    "MetadataResponse": "metadata",
    "OffsetCommitRequest": "offset_commit",
    "OffsetCommitResponse": "offset_commit",
    "OffsetFetchRequest": "offset_fetch",
    "OffsetFetchResponse": "offset_fetch",
    "FindCoordinatorRequest": "find_coordinator",
    "FindCoordinatorResponse": "find_coordinator",
    "JoinGroupRequest": "join_group",
    "JoinGroupResponse": "join_group",
    "HeartbeatRequest": "heartbeat",
    "HeartbeatResponse": "heartbeat",
    "LeaveGroupRequest": "leave_group",
    "LeaveGroupResponse": "leave_group",
    "SyncGroupRequest": "sync_group",
    "SyncGroupResponse": "sync_group",
    "DescribeGroupsRequest": "describe_groups",
    "DescribeGroupsResponse": "describe_groups",
    "ListGroupsRequest": "list_groups",
    "ListGroupsResponse": "list_groups",
    "SaslHandshakeRequest": "sasl_handshake",
    "SaslHandshakeResponse": "sasl_handshake",
    "ApiVersionsRequest": "api_versions",
    "ApiVersionsResponse": "api_versions",
    "CreateTopicsRequest": "create_topics",
    "CreateTopicsResponse": "create_topics",
    "DeleteTopicsRequest": "delete_topics",
    "DeleteTopicsResponse": "delete_topics",
    "DeleteRecordsRequest": "delete_records",
    "DeleteRecordsResponse": "delete_records",
    "InitProducerIdRequest": "init_producer_id",
    "InitProducerIdResponse": "init_producer_id",
    "OffsetForLeaderEpochRequest": "offset_for_leader_epoch",
    "OffsetForLeaderEpochResponse": "offset_for_leader_epoch",
    "AddPartitionsToTxnRequest": "add_partitions_to_txn",
    "AddPartitionsToTxnResponse": "add_partitions_to_txn",
    "AddOffsetsToTxnRequest": "add_offsets_to_txn",
    "AddOffsetsToTxnResponse": "add_offsets_to_txn",
    "EndTxnRequest": "end_txn",
    "EndTxnResponse": "end_txn",
    "TxnOffsetCommitRequest": "txn_offset_commit",
    "TxnOffsetCommitResponse": "txn_offset_commit",
    "DescribeConfigsRequest": "describe_configs",
    "DescribeConfigsResponse": "describe_configs",
    "SaslAuthenticateRequest": "sasl_authenticate",
    "SaslAuthenticateResponse": "sasl_authenticate",
    "CreatePartitionsRequest": "create_partitions",
    "CreatePartitionsResponse": "create_partitions",
    "DeleteGroupsRequest": "delete_groups",
    "DeleteGroupsResponse": "delete_groups",
    "IncrementalAlterConfigsRequest": "incremental_alter_configs",
    "IncrementalAlterConfigsResponse": "incremental_alter_configs",
    "OffsetDeleteRequest": "offset_delete",
    "OffsetDeleteResponse": "offset_delete",
    "DescribeClusterRequest": "describe_cluster",
    "DescribeClusterResponse": "describe_cluster",
    "ConsumerGroupHeartbeatRequest": "consumer_group_heartbeat",
    "ConsumerGroupHeartbeatResponse": "consumer_group_heartbeat",
    "ConsumerGroupDescribeRequest": "consumer_group_describe",
    "ConsumerGroupDescribeResponse": "consumer_group_describe",
    "GetTelemetrySubscriptionsRequest": "get_telemetry_subscriptions",
    "GetTelemetrySubscriptionsResponse": "get_telemetry_subscriptions",
    "PushTelemetryRequest": "push_telemetry",
    "PushTelemetryResponse": "push_telemetry",
    "DescribeTopicPartitionsRequest": "describe_topic_partitions",
    "DescribeTopicPartitionsResponse": "describe_topic_partitions",
    "ShareGroupHeartbeatRequest": "share_group_heartbeat",
    "ShareGroupHeartbeatResponse": "share_group_heartbeat",
    "ShareFetchRequest": "share_fetch",
    "ShareFetchResponse": "share_fetch",
    "ShareAcknowledgeRequest": "share_acknowledge",
    "ShareAcknowledgeResponse": "share_acknowledge",
    "RequestHeader": "header",
    "ResponseHeader": "header",
    "ConsumerProtocolSubscription": "consumer_protocol",
    "ConsumerProtocolAssignment": "consumer_protocol",
}
_NAMES = {
    0: "Produce",
    1: "Fetch",
    2: "ListOffsets",
    3: "Metadata",
    8: "OffsetCommit",
    9: "OffsetFetch",
    10: "FindCoordinator",
    11: "JoinGroup",
    12: "Heartbeat",
    13: "LeaveGroup",
    14: "SyncGroup",
    15: "DescribeGroups",
    16: "ListGroups",
    17: "SaslHandshake",
    18: "ApiVersions",
    19: "CreateTopics",
    20: "DeleteTopics",
    21: "DeleteRecords",
    22: "InitProducerId",
    23: "OffsetForLeaderEpoch",
    24: "AddPartitionsToTxn",
    25: "AddOffsetsToTxn",
    26: "EndTxn",
    28: "TxnOffsetCommit",
    32: "DescribeConfigs",
    36: "SaslAuthenticate",
    37: "CreatePartitions",
    42: "DeleteGroups",
    44: "IncrementalAlterConfigs",
    47: "OffsetDelete",
    60: "DescribeCluster",
    68: "ConsumerGroupHeartbeat",
    69: "ConsumerGroupDescribe",
    71: "GetTelemetrySubscriptions",
    72: "PushTelemetry",
    75: "DescribeTopicPartitions",
    76: "ShareGroupHeartbeat",
    78: "ShareFetch",
    79: "ShareAcknowledge",
}


def request_class(api_key: int) -> type[Request[Response]]:
    """The class of the requests with `api_key`; KeyError if there is none."""
    return cast("type[Request[Response]]", __getattr__(f"{_NAMES[api_key]}Request"))


def response_class(api_key: int) -> type[Response]:
    """The class of the responses to `api_key`; KeyError if there is none."""
    return cast("type[Response]", __getattr__(f"{_NAMES[api_key]}Response"))


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
