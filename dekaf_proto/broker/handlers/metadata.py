"""Metadata: the living nodes, the topics, and who leads their partitions (M1-M8)."""

from __future__ import annotations

from dekaf_proto.broker.cluster import Partition, Topic, valid_topic_name
from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.broker.handlers.describe_cluster import CLUSTER_OPERATIONS
from dekaf_proto.broker.handlers.describe_topic_partitions import TOPIC_OPERATIONS
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)


def metadata(exchange: Exchange, request: MetadataRequest) -> MetadataResponse:
    """All topics, or those asked for, which may be created on the way."""
    if exchange.faults.top_error and exchange.version >= 13:
        return MetadataResponse(error_code=exchange.faults.top_error)
    cluster = exchange.cluster
    if request.topics is None or (exchange.version == 0 and not request.topics):
        topics = [_describe(exchange, topic) for topic in cluster.topics.values()]
    elif exchange.version < 12 and any(asked.topic_id or asked.name is None for asked in request.topics):
        return _refused(request.topics)  # the layouts before have a place for an id, and no meaning of it
    else:
        allowed = exchange.version < 4 or request.allow_auto_topic_creation
        by_id = [asked for asked in request.topics if asked.topic_id]
        topics = [_find(exchange, asked, allowed) for asked in _once(by_id or request.topics)]
    brokers = [
        MetadataResponseBroker(number, *cluster.endpoint(number), rack=cluster.nodes[number].rack)
        for number in cluster.alive()
    ]
    response = MetadataResponse(
        brokers=brokers, cluster_id=cluster.cluster_id, controller_id=cluster.controller(), topics=topics
    )
    if request.include_cluster_authorized_operations:
        response.cluster_authorized_operations = CLUSTER_OPERATIONS
    if request.include_topic_authorized_operations:
        for topic in topics:
            if topic.name is not None:
                topic.topic_authorized_operations = TOPIC_OPERATIONS
    return response


def _refused(asked: list[MetadataRequestTopic]) -> MetadataResponse:
    """The answer to ids in a version that can't be asked by id."""
    error = ErrorCode.INVALID_REQUEST
    return MetadataResponse(topics=[MetadataResponseTopic(error, topic.name or "", topic.topic_id) for topic in asked])


def _once(asked: list[MetadataRequestTopic]) -> list[MetadataRequestTopic]:
    """Each topic once, however often it is named. Where there are ids, they alone count."""
    return list({topic.topic_id or topic.name: topic for topic in asked}.values())


def _find(exchange: Exchange, asked: MetadataRequestTopic, create: bool) -> MetadataResponseTopic:
    cluster = exchange.cluster
    if asked.topic_id:
        topic = cluster.topic_by_id(asked.topic_id)
        if topic is None:
            return MetadataResponseTopic(ErrorCode.UNKNOWN_TOPIC_ID, None, asked.topic_id)
        return _describe(exchange, topic)
    name = asked.name or ""
    topic = cluster.topics.get(name)
    if topic is not None:
        return _describe(exchange, topic)
    if not valid_topic_name(name):
        return MetadataResponseTopic(ErrorCode.INVALID_TOPIC_EXCEPTION, name)
    if create and cluster.auto_create_partitions is not None and cluster.colliding(name) is None:
        # It is there from the next request on, as with a real cluster, where the controller makes it.
        cluster.create_topic(name, cluster.auto_create_partitions, None, None, False)
    return MetadataResponseTopic(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, name)


def _describe(exchange: Exchange, topic: Topic) -> MetadataResponseTopic:
    if error := exchange.faults.error(topic.name):
        return MetadataResponseTopic(error, topic.name, topic.id, topic.is_internal)
    partitions = [_partition(exchange, partition) for partition in topic.partitions]
    return MetadataResponseTopic(ErrorCode.NONE, topic.name, topic.id, topic.is_internal, partitions)


def _partition(exchange: Exchange, partition: Partition) -> MetadataResponsePartition:
    alive = exchange.cluster.alive()
    error = exchange.faults.error(partition.topic.name, partition.index)
    if partition.leader is None:
        error = error or ErrorCode.LEADER_NOT_AVAILABLE
    return MetadataResponsePartition(
        error_code=error,
        partition_index=partition.index,
        leader_id=-1 if partition.leader is None else partition.leader,
        leader_epoch=partition.leader_epoch,
        replica_nodes=list(partition.replicas),
        isr_nodes=[number for number in partition.replicas if number in alive],
        offline_replicas=[number for number in partition.replicas if number not in alive],
    )
