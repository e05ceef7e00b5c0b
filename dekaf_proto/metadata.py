"""Keeps what is known of the cluster fresh, and finds coordinators: flows over the client (M1-M9, G1-G4, C6).

One Metadata request is on its way at a time, for the topics that somebody wants. It is due when they are first wanted,
when an answer elsewhere has shown that something is stale, and after `metadata_max_age_ms`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from dekaf_proto.client import LEAST_LOADED, Client
from dekaf_proto.connection import ByVersion
from dekaf_proto.errors import (
    BrokerError,
    CoordinatorError,
    ErrorCode,
    GroupAuthorizationError,
    KafkaError,
    RebootstrapRequiredError,
    broker_error,
)
from dekaf_proto.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from dekaf_proto.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from dekaf_proto.node import Node, NodeKey, Purpose
from dekaf_proto.operation import Call, Flow, Sleep, Wait

log = logging.getLogger("dekaf.metadata")

_GROUP: Final = 0  # the key type of a consumer group


class Asked:
    """A Metadata request, which remembers the version that it went out in."""

    def __init__(self) -> None:
        self.version = 0

    def request(self, topics: list[str] | None, create: bool) -> ByVersion[MetadataResponse]:
        """For `topics`, None for all; `create` allows the broker to create those that do not exist."""

        def build(version: int) -> MetadataRequest:
            self.version = version
            named = None if topics is None else [MetadataRequestTopic(name=topic) for topic in topics]
            return MetadataRequest(topics=named, allow_auto_topic_creation=create)

        return ByVersion(MetadataRequest, build)


class Metadata:
    """The flows that feed `client.cluster`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._wanted: dict[str, None] = {}
        #: Topics that somebody asked about once, and until when they are kept fresh.
        self._visitors: dict[str, float] = {}
        self._refresh = True
        self._updated_at: float | None = None
        #: Since when every attempt has failed.
        self._failing_since: float | None = None
        #: Answers in a row that still lacked something that is wanted.
        self._incomplete = 0
        self._coordinators: dict[str, NodeKey] = {}
        self._finding: set[str] = set()
        #: What the last attempt failed of, for the text of time-outs.
        self.last_error: KafkaError | None = None

    def start(self) -> None:
        """Begins to ask."""
        self._client.runner.start_background(self._keep_fresh())

    # -------------------------------------------------------------------------------------------------- the topics

    def want(self, topics: Iterable[str]) -> None:
        """The topics that are kept fresh from now on."""
        wanted = dict.fromkeys(topics)
        if any(topic not in self._wanted for topic in wanted):
            self.refresh()
        self._wanted = wanted

    def visit(self, topics: Iterable[str]) -> None:
        """Topics that are wanted for a while, beside the others."""
        until = self._client.now + self._client.config.metadata_max_age_ms / 1000
        for topic in topics:
            if topic not in self._wanted and topic not in self._visitors:
                self.refresh()
            self._visitors[topic] = until

    def refresh(self) -> None:
        """Something has turned out to be stale."""
        self._refresh = True

    def topic_error(self, topic: str) -> KafkaError | None:
        """What is wrong with a topic for good: the program must know (M6)."""
        info = self._client.cluster.topics.get(topic)
        if info is None or info.error not in (
            ErrorCode.TOPIC_AUTHORIZATION_FAILED,
            ErrorCode.INVALID_TOPIC_EXCEPTION,
        ):
            return None
        return broker_error(info.error, f"topic {topic}")

    def _topics(self) -> list[str]:
        now = self._client.now
        self._visitors = {topic: until for topic, until in self._visitors.items() if until > now}
        return [*self._wanted, *(topic for topic in self._visitors if topic not in self._wanted)]

    def _is_complete(self) -> bool:
        """Whether every wanted topic is known, with a leader for each partition (or is known to be out of reach)."""
        cluster = self._client.cluster
        for topic in self._topics():
            info = cluster.topics.get(topic)
            if info is None:
                return False
            if info.error is not ErrorCode.NONE:
                if self.topic_error(topic) is None:
                    return False
            elif any(partition.leader not in cluster.brokers for partition in info.partitions.values()):
                return False
        return True

    # ---------------------------------------------------------------------------------------------------- the flow

    def _keep_fresh(self) -> Flow[None]:
        client = self._client
        failures = 0
        while True:
            age = client.config.metadata_max_age_ms / 1000
            due_at = None if self._updated_at is None else self._updated_at + age
            yield Wait(lambda: self._refresh, due_at)
            self._refresh = False
            if self._failing_since is None:
                self._failing_since = client.now
            try:
                yield from self._ask()
            except KafkaError as error:
                self.last_error = error
                self._refresh = True
                failures += 1
                client.warn.warning(client.now, "metadata", "no metadata: %s", error)
                if not self._begin_again(error):
                    yield Sleep(client.backoff(failures))
                continue
            failures = 0
            self.last_error = None
            client.warn.settled("metadata")
            self._updated_at = client.now
            self._failing_since = None
            if self._is_complete():
                self._incomplete = 0
                if self._refresh:  # asked for again meanwhile: not more often than failures are retried
                    yield Sleep(client.backoff(1))
            else:
                self._incomplete += 1
                self._refresh = True
                yield Sleep(client.backoff(self._incomplete))

    def _ask(self) -> Flow[None]:
        topics = self._topics()
        create = self._client.config.allow_auto_create_topics and bool(self._wanted)
        asked = Asked()
        response: MetadataResponse = yield Call(LEAST_LOADED, asked.request(topics, create))
        self._take(response, asked.version)

    def _take(self, response: MetadataResponse, version: int) -> None:
        """Takes a response into the cluster; raises if it can't be used."""
        if response.error_code == ErrorCode.REBOOTSTRAP_REQUIRED:
            raise broker_error(response.error_code)
        if not self._client.cluster.update(response, version):
            raise BrokerError(ErrorCode.BROKER_NOT_AVAILABLE, "the answer names no brokers")
        self._client.metadata_arrived()

    def _begin_again(self, error: KafkaError) -> bool:
        """Rebootstraps if that is called for (C6); whether the next attempt need not wait."""
        client = self._client
        if client.config.metadata_recovery_strategy == "rebootstrap":
            limit = client.config.metadata_recovery_rebootstrap_trigger_ms / 1000
            assert self._failing_since is not None
            if isinstance(error, RebootstrapRequiredError):
                client.rebootstrap("a broker asked for it")
            elif client.now - self._failing_since >= limit:
                self._failing_since = client.now
                client.rebootstrap(f"no metadata for {limit:g} s")
            elif not client.has_connectable():
                client.rebootstrap("no known broker can be reached")
        return client.has_connectable()

    # ------------------------------------------------------------------------------------------------ coordinators

    def coordinator(self, group_id: str) -> Flow[NodeKey]:
        """Finds the coordinator of a group, however long that takes; raises what waiting does not mend."""
        failures = 0
        while True:
            known = self._coordinators.get(group_id)
            if known is not None:
                return known
            if group_id in self._finding:
                yield Wait(lambda: group_id not in self._finding)
                continue
            self._finding.add(group_id)
            try:
                response: FindCoordinatorResponse = yield Call(LEAST_LOADED, _find_coordinator(group_id))
                self._coordinators[group_id] = self._found(group_id, response)
                continue
            except CoordinatorError as error:
                problem: KafkaError = error
            except KafkaError as error:
                if not error.retriable:
                    raise
                problem = error
            finally:
                self._finding.discard(group_id)
            failures += 1
            yield Sleep(self._client.backoff(failures), problem)

    def _found(self, group_id: str, response: FindCoordinatorResponse) -> NodeKey:
        if response.coordinators:
            answer = response.coordinators[0]
            code, message = answer.error_code, answer.error_message
            node_id, host, port = answer.node_id, answer.host, answer.port
        else:
            code, message = response.error_code, response.error_message
            node_id, host, port = response.node_id, response.host, response.port
        if code == ErrorCode.GROUP_AUTHORIZATION_FAILED:
            raise GroupAuthorizationError(code, group_id)
        if code != ErrorCode.NONE:
            raise broker_error(code, message or f"looking for the coordinator of {group_id}")
        if node_id < 0:  # nothing to be kept (G3)
            raise broker_error(ErrorCode.COORDINATOR_NOT_AVAILABLE)
        return self._client.add_coordinator(node_id, host, port)

    def coordinator_lost(self, group_id: str, why: str) -> None:
        """The coordinator is another one, or not to be reached (G4): what is on its way to it fails."""
        key = self._coordinators.pop(group_id, None)
        if key is not None:
            log.info("the coordinator of %s is unknown again: %s", group_id, why)
            self._client.disconnect(key, why)

    def node_lost(self, node: Node) -> None:
        """A connection is gone; if it was a coordinator's, it is to be found anew."""
        if node.key.purpose is Purpose.COORDINATOR:
            for group_id in [group for group, key in self._coordinators.items() if key == node.key]:
                del self._coordinators[group_id]


def _find_coordinator(group_id: str) -> ByVersion[FindCoordinatorResponse]:
    def build(version: int) -> FindCoordinatorRequest:
        if version >= 4:  # several keys at once (G1)
            return FindCoordinatorRequest(key_type=_GROUP, coordinator_keys=[group_id])
        return FindCoordinatorRequest(key=group_id, key_type=_GROUP)

    return ByVersion(FindCoordinatorRequest, build)
