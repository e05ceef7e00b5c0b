"""How the memory for what is fetched ahead of the application is shared.

`fetch_max_buffered_bytes` is for what is buffered and for what requests on their way may bring. Each partition has an
equal share of it, and is asked for only while it has room for all that it may get, whatever becomes of the others: a
partition that is paused, that waits for the program, or that was read as far as was wanted keeps what it has, and still
takes nothing from the rest.

Shares of many hundred partitions are too small for that; and a broker sends at least one whole batch, however large. So
everything may be used up in spite of it. Then a partition that has nothing may ask for one batch more as long as the
application waits in vain: nothing that is buffered is of any use to it then.

It counts. What is fetched is decided in `fetcher`, what is handed out in `handout`.
"""

from __future__ import annotations

from typing import Any, Final

from dekaf_proto.config import ConsumerConfig
from dekaf_proto.consumer.partition import Partition
from dekaf_proto.types import TopicPartition

#: A response, and a run that is handed out, holds at most this part of all, so that memory is given back in small steps
#: while others fill it.
PARTS: Final = 4
#: What is asked for of a partition at least, if there is as much: below that, whole batches would seldom fit.
LEAST_ASK: Final = 65_536


class Memory:
    """The memory of one consumer. `partitions` is the consumer's own table."""

    def __init__(self, config: ConsumerConfig[Any, Any], partitions: dict[TopicPartition, Partition]) -> None:
        self._partitions = partitions
        self._total = config.fetch_max_buffered_bytes
        self._most_of_one = config.max_partition_fetch_bytes
        #: Whether the application waits, and nothing that is buffered can be handed out.
        self.starving = False

    @property
    def total(self) -> int:
        """What may be buffered and on its way, in bytes."""
        return self._total

    @property
    def buffered(self) -> int:
        """Bytes fetched and not yet used up."""
        return sum(partition.buffered_bytes for partition in tuple(self._partitions.values()))

    @property
    def part(self) -> int:
        """The most that one response or one run should hold."""
        return max(1, self._total // PARTS)

    @property
    def share(self) -> int:
        """What there is for each partition."""
        return self._total // max(1, len(self._partitions))

    @property
    def _least(self) -> int:
        return min(LEAST_ASK, self.part // PARTS)

    @property
    def ask(self) -> int:
        """How much to ask for of a partition: the same for all and always, for a fetch session's sake."""
        share = self.share
        return max(1, min(self._most_of_one, self.part, max(share - share // 4, self._least)))

    def has_room(self, partition: Partition) -> bool:
        """Whether a partition may be asked for more: all of that fits into its share, or it has next to nothing."""
        return not partition.chunks or partition.buffered_bytes <= max(self.share - self.ask, self._least // 4)
