"""Keeps what is known of the cluster fresh, and finds coordinators: flows over the client (M1-M9, G1-G4, C6).

One Metadata request is on its way at a time, for the topics that somebody wants. It is due when they are first wanted,
when an answer elsewhere has shown that something is stale, and after `metadata_max_age_ms`. What is asked for again and
again, because it stays stale or incomplete, is asked for less and less often (M9).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dekaf_proto.client import LEAST_LOADED, Client
from dekaf_proto.connection import ByVersion
from dekaf_proto.errors import (
    BrokerError,
    ConnectionLostError,
    ErrorCode,
    GroupAuthorizationError,
    KafkaError,
    RebootstrapRequiredError,
    UnsupportedVersionError,
    broker_error,
)
from dekaf_proto.messages.find_coordinator import Coordinator, FindCoordinatorRequest, FindCoordinatorResponse
from dekaf_proto.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from dekaf_proto.node import Node, NodeKey
from dekaf_proto.operation import Call, Flow, Sleep, Wait
from dekaf_proto.types import TopicPartition

log = logging.getLogger("dekaf.metadata")

_GROUP: Final = 0  # the key type of a consumer group
#: What is said of a topic that does not exist yet, or has just been created.
_MAY_COME: Final = (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.LEADER_NOT_AVAILABLE)


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


@dataclass(slots=True)
class _Search:
    """The search for a group's coordinator."""

    asking: bool = False
    failures: int = 0
    resting_until: float = 0.0
    problem: KafkaError | None = None

    def is_over(self) -> bool:
        return not self.asking

    def why(self) -> KafkaError | None:
        return self.problem


class Metadata:
    """The flows that feed `client.cluster`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._wanted: dict[str, None] = {}
        #: Whether all topics are wanted, for a pattern to be matched against.
        self._all = False
        #: Whether an answer has named all.
        self.knows_all = False
        #: Topics that somebody asked about once, and until when they are kept fresh.
        self._visitors: dict[str, float] = {}
        self._refresh = True
        #: Something is not known that the next answer may tell, also one that is on its way.
        self._missing = False
        #: A topic is wanted of which nothing is known: there is no reason to wait.
        self._urgent = True
        self._updated_at: float | None = None
        #: Since when every attempt has failed.
        self._failing_since: float | None = None
        #: How often in a row an answer was followed so soon by the next question that this had to wait.
        self._repeats = 0
        self._coordinators: dict[str, NodeKey] = {}
        self._searches: dict[str, _Search] = {}
        self._last_error: KafkaError | None = None
        #: What the program was told, so that it is told only once.
        self._told = ""

    def start(self) -> None:
        """Begins to ask."""
        self._client.runner.start_background(self._keep_fresh())

    # -------------------------------------------------------------------------------------------------- the topics

    def want(self, topics: Iterable[str], *, all_topics: bool = False) -> None:
        """The topics that are kept fresh from now on, or all of them besides."""
        wanted = dict.fromkeys(topics)
        if all_topics and not self._all:
            self._refresh = self._urgent = True
        self._all = all_topics
        self.knows_all &= all_topics
        if any(topic not in self._wanted for topic in wanted):
            self._refresh = self._urgent = True
        self._wanted = wanted

    def visit(self, topics: Iterable[str]) -> None:
        """Topics that are wanted for a while, beside the others."""
        until = self._client.now + self._client.config.metadata_max_age_ms / 1000
        for topic in topics:
            if topic not in self._wanted and topic not in self._visitors:
                self._refresh = self._urgent = True
            self._visitors[topic] = until

    def refresh(self) -> None:
        """Something has turned out to be stale: an answer to a later question is needed."""
        self._refresh = True

    def need_leader(self) -> None:
        """It is not known who leads a partition. To be called again if an answer does not tell."""
        self._missing = True

    @property
    def is_due(self) -> bool:
        """Whether metadata is to be asked for, though it is not old."""
        return self._refresh or self._missing

    def topic_error(self, topic: str) -> KafkaError | None:
        """What is wrong with a topic for good: the program must know (M6)."""
        info = self._client.cluster.topics.get(topic)
        if info is None or info.error not in (
            ErrorCode.TOPIC_AUTHORIZATION_FAILED,
            ErrorCode.INVALID_TOPIC_EXCEPTION,
        ):
            return None
        return broker_error(info.error, f"topic {topic}")

    def is_coming(self, topic: str) -> bool:
        """Whether a topic is there, but nobody can say yet how many partitions it has: it has just been created."""
        info = self._client.cluster.topics.get(topic)
        return info is not None and info.error is ErrorCode.LEADER_NOT_AVAILABLE and not info.partitions

    def why_no_leader(self, tp: TopicPartition) -> KafkaError | None:
        """What is wrong if it is not known who leads a partition; None while the first answer is on its way."""
        if self._last_error is not None:
            return self._last_error
        info = self._client.cluster.topics.get(tp.topic)
        if info is None:
            return None
        if info.error is not ErrorCode.NONE:
            return broker_error(info.error, f"topic {tp.topic}")
        missing = tp.partition not in info.partitions
        code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if missing else ErrorCode.LEADER_NOT_AVAILABLE
        return broker_error(code, str(tp))

    @property
    def last_error(self) -> KafkaError | None:
        """What the last attempt failed of, or what the first one waits for; None if all is well."""
        if self._last_error is None and self._updated_at is None:
            return self._client.explain(LEAST_LOADED)
        return self._last_error

    def _topics(self) -> list[str]:
        now = self._client.now
        self._visitors = {topic: until for topic, until in self._visitors.items() if until > now}
        return [*self._wanted, *(topic for topic in self._visitors if topic not in self._wanted)]

    # ---------------------------------------------------------------------------------------------------- the flow

    def _keep_fresh(self) -> Flow[None]:
        client = self._client
        failures = 0
        round_began = client.now
        while True:
            age = client.config.metadata_max_age_ms / 1000
            yield Wait(lambda: self.is_due, None if self._updated_at is None else self._updated_at + age)
            yield from self._hold_back()
            self._refresh = self._urgent = False
            if self._failing_since is None:
                self._failing_since = round_began = client.now
            try:
                yield from self._ask()
            except KafkaError as error:
                self._refresh = True
                failures += 1
                self._failed(error)
                # Another broker may know better, at once; but each is asked only once before there is a pause.
                if not (isinstance(error, ConnectionLostError) and client.has_untried(round_began)):
                    yield Sleep(client.backoff(failures))
                    round_began = client.now
                continue
            failures = 0
            self._missing = self._lacks_topics()
            self._last_error = self._failing_since = None
            self._told = ""
            client.warn.settled("metadata")
            self._updated_at = client.now

    def _lacks_topics(self) -> bool:
        """Whether a topic is wanted that does not exist: it may be created at any time, by this very question even."""
        client = self._client
        found = ((topic, client.cluster.topics.get(topic)) for topic in self._wanted)
        lacking = {topic: info.error for topic, info in found if info is not None and info.error in _MAY_COME}
        for topic, error in lacking.items():
            if error is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                client.warn.warning(
                    client.now, f"topic {topic}", "there is no topic %s (yet); is the name right?", topic
                )
        return bool(lacking)

    def _hold_back(self) -> Flow[None]:
        """What was asked not long ago is asked again after a while, which grows; about a new topic at once."""
        if self._updated_at is None:
            return
        earliest = self._updated_at + self._client.backoff(self._repeats + 1)
        if self._client.now >= earliest:
            self._repeats = 0
        elif not self._urgent:
            self._repeats += 1
            yield Wait(lambda: self._urgent, earliest)

    def _ask(self) -> Flow[None]:
        topics = None if self._all else self._topics()
        create = not self._all and self._client.config.allow_auto_create_topics and bool(self._wanted)
        asked = Asked()
        response: MetadataResponse = yield Call(LEAST_LOADED, asked.request(topics, create))
        self._take(response, asked.version)
        if topics is None:
            self._client.cluster.forget_others(response)
            self.knows_all = self._all

    def _take(self, response: MetadataResponse, version: int) -> None:
        """Takes a response into the cluster; raises if it can't be used."""
        if response.error_code != ErrorCode.NONE:
            raise broker_error(response.error_code, "in answer to Metadata")
        if not self._client.cluster.update(response, version):
            raise BrokerError(ErrorCode.BROKER_NOT_AVAILABLE, "the answer names no brokers")
        self._client.metadata_arrived()

    def _failed(self, error: KafkaError) -> None:
        """An attempt has failed: begins again from the bootstrap servers if that is called for (C6)."""
        client = self._client
        self._last_error = error
        client.warn.warning(client.now, "metadata", "no metadata: %s", error)
        if isinstance(error, UnsupportedVersionError) and self._told != str(error):
            self._told = str(error)
            client.on_trouble(error)  # trying again will hardly help
        if client.config.metadata_recovery_strategy != "rebootstrap":
            return
        limit = client.config.metadata_recovery_rebootstrap_trigger_ms / 1000
        assert self._failing_since is not None
        if isinstance(error, RebootstrapRequiredError):
            client.rebootstrap("a broker asked for it")
        elif client.now - self._failing_since >= limit:
            client.rebootstrap(f"no metadata for {limit:g} s")
        elif not client.has_connectable():
            client.rebootstrap("no known broker can be reached")

    # ------------------------------------------------------------------------------------------------ coordinators

    def coordinator(self, group_id: str) -> Flow[NodeKey]:
        """Finds the coordinator of a group, however long that takes; raises what waiting does not mend.

        Whoever comes while it is being looked for takes part: there is one question at a time, and one back-off.
        """
        client = self._client
        while group_id not in self._coordinators:
            search = self._searches.setdefault(group_id, _Search())
            if search.asking:
                yield Wait(search.is_over, because=search.why)
                continue
            if client.now < search.resting_until:
                yield Sleep(search.resting_until - client.now, search.problem)
                continue
            search.asking = True
            try:
                response: FindCoordinatorResponse = yield Call(LEAST_LOADED, _find_coordinator(group_id))
                self._coordinators[group_id] = self._found(group_id, response)
                del self._searches[group_id]
            except KafkaError as error:
                search.failures += 1
                search.resting_until = client.now + client.backoff(search.failures)
                search.problem = error
                if not error.retriable:
                    raise
            finally:
                search.asking = False
        return self._coordinators[group_id]

    def _found(self, group_id: str, response: FindCoordinatorResponse) -> NodeKey:
        answer: Coordinator | FindCoordinatorResponse = response.coordinators[0] if response.coordinators else response
        code, node_id, host = answer.error_code, answer.node_id, answer.host
        if code == ErrorCode.GROUP_AUTHORIZATION_FAILED:
            raise GroupAuthorizationError(code, group_id)
        if code != ErrorCode.NONE:
            raise broker_error(code, answer.error_message or f"looking for the coordinator of {group_id}")
        if node_id < 0 or not host:  # nothing to be kept (G3)
            raise broker_error(ErrorCode.COORDINATOR_NOT_AVAILABLE, f"group {group_id}")
        return self._client.add_coordinator(node_id, host, answer.port)

    def why_no_coordinator(self, group_id: str) -> KafkaError | None:
        """What the search for a group's coordinator failed of last, None if it did not or is over."""
        search = self._searches.get(group_id)
        return None if search is None else search.problem

    def coordinator_lost(self, group_id: str, why: str) -> None:
        """The coordinator is another one, or not to be reached (G4): what is on its way to it fails."""
        key = self._coordinators.pop(group_id, None)
        if key is not None:
            log.info("the coordinator of %s is unknown again: %s", group_id, why)
            self._client.disconnect(key, why)

    def node_lost(self, node: Node) -> None:
        """A connection is gone; if it was a coordinator's, it is to be found anew."""
        self._coordinators = {group: key for group, key in self._coordinators.items() if key != node.key}


def _find_coordinator(group_id: str) -> ByVersion[FindCoordinatorResponse]:
    def build(version: int) -> FindCoordinatorRequest:
        if version >= 4:  # several keys at once (G1)
            return FindCoordinatorRequest(key_type=_GROUP, coordinator_keys=[group_id])
        return FindCoordinatorRequest(key=group_id, key_type=_GROUP)

    return ByVersion(FindCoordinatorRequest, build)
