"""Membership of a consumer group: who is in it, who gets which partitions."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from dekaf_proto.group.assignor import Assignor
from dekaf_proto.group.range_assignor import RangeAssignor
from dekaf_proto.group.roundrobin import RoundRobinAssignor
from dekaf_proto.group.sticky import CooperativeStickyAssignor, StickyAssignor

#: Kafka's own assignors, by what `partition_assignment_strategy` calls them.
ASSIGNORS: Final[Mapping[str, Assignor]] = MappingProxyType(
    {
        assignor.name: assignor
        for assignor in (RangeAssignor(), RoundRobinAssignor(), StickyAssignor(), CooperativeStickyAssignor())
    }
)
