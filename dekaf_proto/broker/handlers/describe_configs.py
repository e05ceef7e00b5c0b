"""DescribeConfigs: of topics, and a few of nodes."""

from __future__ import annotations

from collections.abc import Mapping

from dekaf_proto.broker.cluster import Topic, valid_topic_name
from dekaf_proto.broker.configs import TOPIC, Config, Type
from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
)

_TOPIC, _NODE = 2, 4
#: Where a value comes from.
TOPIC_LEVEL, NODE_LEVEL, DEFAULT = 1, 4, 5


def describe_configs(exchange: Exchange, request: DescribeConfigsRequest) -> DescribeConfigsResponse:
    """Each resource has its own answer."""
    return DescribeConfigsResponse(
        results=[_describe(exchange, resource, request.include_synonyms) for resource in request.resources]
    )


def _describe(exchange: Exchange, asked: DescribeConfigsResource, synonyms: bool) -> DescribeConfigsResult:
    name, message = asked.resource_name, ""
    error = exchange.faults.error(name)
    known: Mapping[str, Config] = TOPIC
    given: Mapping[str, str] = {}
    level = TOPIC_LEVEL
    if error:
        pass
    elif asked.resource_type == _TOPIC:
        topic = exchange.cluster.topics.get(name)
        if topic is None:
            valid = valid_topic_name(name)
            error = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if valid else ErrorCode.INVALID_TOPIC_EXCEPTION
        else:
            given = _given(topic)
    elif asked.resource_type == _NODE and name in (str(exchange.node), ""):
        known, given, level = _NODE_CONFIGS, _node(exchange), NODE_LEVEL
        if name == "":  # what is set for all nodes at run time: nothing is
            known = {}
    elif asked.resource_type == _NODE:
        error = ErrorCode.INVALID_REQUEST
        message = f"Unexpected broker id, expected {exchange.node} or empty string, but received {name}"
    else:
        error = ErrorCode.INVALID_REQUEST
        message = f"The embedded broker has no configurations for resources of type {asked.resource_type}."
    wanted = asked.configuration_keys
    configs = [
        _entry(key, config, given.get(key), level, synonyms)
        for key, config in known.items()
        if not error and (not wanted or key in wanted)
    ]
    return DescribeConfigsResult(error, message, asked.resource_type, name, configs)


def _given(topic: Topic) -> dict[str, str]:
    """What a topic was created with, by a request or in the process."""
    found = {"max.message.bytes": str(topic.max_message_bytes)}
    if topic.log_append_time:
        found["message.timestamp.type"] = "LogAppendTime"
    if topic.compacted:
        found["cleanup.policy"] = "compact"
    return {name: value for name, value in found.items() if value != TOPIC[name].default} | topic.configs


def _entry(name: str, config: Config, value: str | None, level: int, synonyms: bool) -> DescribeConfigsResourceResult:
    source = DEFAULT if value is None else level
    shown = config.default if value is None else value
    found = [DescribeConfigsSynonym(name, shown, source)] if synonyms else []
    return DescribeConfigsResourceResult(
        name,
        shown,
        read_only=level == NODE_LEVEL,
        config_source=source,
        synonyms=found,
        config_type=config.type,
        documentation=None,
    )


#: What a program may want to know of a node, and what is true here.
_NODE_CONFIGS: Mapping[str, Config] = {
    "auto.create.topics.enable": Config(Type.BOOLEAN, "true"),
    "broker.id": Config(Type.INT, "-1"),
    "default.replication.factor": Config(Type.INT, "1"),
    "group.initial.rebalance.delay.ms": Config(Type.INT, "3000"),
    "group.max.session.timeout.ms": Config(Type.INT, "1800000"),
    "group.max.size": Config(Type.INT, "2147483647"),
    "group.min.session.timeout.ms": Config(Type.INT, "6000"),
    "num.partitions": Config(Type.INT, "1"),
}


def _node(exchange: Exchange) -> dict[str, str]:
    cluster, options = exchange.cluster, exchange.cluster.group_options
    return {
        "auto.create.topics.enable": "false" if cluster.auto_create_partitions is None else "true",
        "broker.id": str(exchange.node),
        "default.replication.factor": str(min(3, len(cluster.nodes))),
        "group.initial.rebalance.delay.ms": str(options.initial_rebalance_delay_ms),
        "group.max.session.timeout.ms": str(options.max_session_timeout_ms),
        "group.max.size": str(options.max_size),
        "group.min.session.timeout.ms": str(options.min_session_timeout_ms),
        "num.partitions": str(cluster.auto_create_partitions or 1),
    }
