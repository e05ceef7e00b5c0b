"""CreateTopics, which every node answers for the controller."""

from __future__ import annotations

from collections import Counter

from dekaf_proto.broker.cluster import valid_topic_name
from dekaf_proto.broker.configs import TOPIC, wrong_config, wrong_together
from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.broker.handlers.assignments import wrong_replicas
from dekaf_proto.broker.handlers.describe_configs import DEFAULT, TOPIC_LEVEL
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from dekaf_proto.types import Uuid

_LOG_APPEND_TIME = "LogAppendTime"


def create_topics(exchange: Exchange, request: CreateTopicsRequest) -> CreateTopicsResponse:
    """Each topic has its own answer; a name that is given twice has one."""
    named = Counter(topic.name for topic in request.topics)
    topics = {topic.name: topic for topic in request.topics}
    # All are looked at before the first one is made: names that only collide with one another are let through.
    wrong = {name: _wrong(exchange, topic, named[name]) for name, topic in topics.items()}
    results = []
    for name, topic in topics.items():
        error, message = wrong[name]
        if error:
            results.append(CreatableTopicResult(name, error_code=error, error_message=message, configs=[]))
        else:
            results.append(_create(exchange, topic, request.validate_only))
    exchange.cluster.changed()
    return CreateTopicsResponse(topics=results)


def _wrong(exchange: Exchange, topic: CreatableTopic, times: int) -> tuple[ErrorCode, str | None]:
    """Why it can't be created."""
    cluster, name = exchange.cluster, topic.name
    partitions, factor = topic.num_partitions, topic.replication_factor
    if error := exchange.faults.error(name):
        return error, error.name
    if times > 1:
        return ErrorCode.INVALID_REQUEST, "Duplicate topic name."
    if not valid_topic_name(name):
        return ErrorCode.INVALID_TOPIC_EXCEPTION, f"Topic name is invalid: {name!r}"
    if name in cluster.topics:
        return ErrorCode.TOPIC_ALREADY_EXISTS, f"Topic '{name}' already exists."
    if other := cluster.colliding(name):
        return ErrorCode.INVALID_TOPIC_EXCEPTION, f"Topic '{name}' collides with existing topic: {other}"
    for config in topic.configs:
        if wrong := wrong_config(config.name, config.value):
            return ErrorCode.INVALID_CONFIG, wrong
    if wrong := wrong_together({config.name: config.value or "" for config in topic.configs}):
        return ErrorCode.INVALID_CONFIG, wrong
    if topic.assignments:
        if factor != -1 or partitions != -1:
            what = "replication factor" if factor != -1 else "numPartitions"
            return (
                ErrorCode.INVALID_REQUEST,
                f"A manual partition assignment was specified, but {what} was not set to -1.",
            )
        if sorted(each.partition_index for each in topic.assignments) != list(range(len(topic.assignments))):
            return (
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                "partitions should be a consecutive 0-based integer sequence",
            )
        return wrong_replicas(cluster, [each.broker_ids for each in topic.assignments])
    if factor < -1 or factor == 0:
        return ErrorCode.INVALID_REPLICATION_FACTOR, "Replication factor must be larger than 0, or -1 for the default."
    if partitions < -1 or partitions == 0:
        return ErrorCode.INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value."
    if factor > len(cluster.nodes):
        return (
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"Unable to replicate the partition {factor} time(s): there are {len(cluster.nodes)} brokers.",
        )
    return ErrorCode.NONE, None


def _create(exchange: Exchange, asked: CreatableTopic, validate_only: bool) -> CreatableTopicResult:
    cluster = exchange.cluster
    configs = {config.name: config.value or "" for config in asked.configs}
    append_time = configs.get("message.timestamp.type", "").strip() == _LOG_APPEND_TIME
    count = asked.num_partitions if asked.num_partitions > 0 else cluster.auto_create_partitions or 1
    factor = None if asked.replication_factor == -1 else asked.replication_factor
    topic = cluster.create_topic(asked.name, 0 if asked.assignments else count, factor, None, append_time)
    topic.configs = configs
    topic.compacted = "compact" in configs.get("cleanup.policy", "")
    topic.max_message_bytes = int(configs.get("max.message.bytes", topic.max_message_bytes))
    topic.timestamp_after_max_ms = int(configs.get("message.timestamp.after.max.ms", topic.timestamp_after_max_ms))
    for assignment in sorted(asked.assignments, key=lambda each: each.partition_index):
        cluster.add_partition(topic, list(assignment.broker_ids))
    if validate_only:
        del cluster.topics[asked.name]
    return CreatableTopicResult(
        name=asked.name,
        topic_id=Uuid.ZERO if validate_only else topic.id,
        error_message=None,
        num_partitions=len(topic.partitions),
        replication_factor=len(topic.partitions[0].replicas),
        configs=[
            CreatableTopicConfigs(
                name,
                configs.get(name, known.default),
                config_source=TOPIC_LEVEL if name in configs else DEFAULT,
            )
            for name, known in TOPIC.items()
        ],
    )
