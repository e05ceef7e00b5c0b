"""Topics that are out of reach: what the program is told of them, and how often (M6)."""

from __future__ import annotations

from dekaf_proto.client import Client
from dekaf_proto.consumer.partition import Partition
from dekaf_proto.consumer.subscription import Subscription
from dekaf_proto.metadata import Metadata
from dekaf_proto.types import TopicPartition


class TopicErrors:
    """Tells what metadata says against the topics of one consumer. `partitions` is its own table."""

    def __init__(
        self,
        client: Client,
        metadata: Metadata,
        partitions: dict[TopicPartition, Partition],
        subscription: Subscription,
    ) -> None:
        self._client = client
        self._metadata = metadata
        self._partitions = partitions
        self._subscription = subscription
        self._seen_version = 0
        #: The subscribed topics that the program was told of.
        self._told: set[str] = set()

    def advance(self) -> None:
        """A topic that is out of reach is said once for each answer that says so."""
        if self._seen_version == self._client.cluster.version:
            return
        self._seen_version = self._client.cluster.version
        for tp, partition in self._partitions.items():
            error = self._metadata.topic_error(tp.topic)
            if error is not None:
                partition.tell(error)
        if self._subscription.is_subscribed and self._subscription.pattern is None:
            self._tell_of_subscribed({tp.topic for tp in self._partitions})

    def _tell_of_subscribed(self, assigned: set[str]) -> None:
        """The same for topics of which the group can't assign anything; of these it is said once."""
        for topic in self._subscription.topics():
            error = None if topic in assigned else self._metadata.topic_error(topic)
            if error is None:
                self._told.discard(topic)
            elif topic not in self._told:
                self._told.add(topic)
                self._subscription.fail(error)
