"""Which versions of which APIs the broker offers: its own, those of a Kafka release, or what a test wants.

The table gives the highest version of each API in each release; what the broker advertises never exceeds what it can
do, so that a client may believe it (W26).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from dekaf_proto.messages import ApiKey, request_class

#: Inclusive range of versions.
VersionRange = tuple[int, int]

RELEASES: Final = ("2.1", "2.3", "2.4", "2.5", "2.8", "3.0", "3.3", "3.6", "3.7", "3.9", "4.0", "4.1", "4.2", "4.4")

_HIGHEST: Final[Mapping[ApiKey, tuple[int, ...]]] = {
    ApiKey.PRODUCE: (7, 7, 8, 8, 9, 9, 9, 9, 10, 11, 12, 13, 13, 13),
    ApiKey.FETCH: (10, 11, 11, 11, 12, 12, 13, 15, 16, 17, 17, 18, 18, 18),
    ApiKey.LIST_OFFSETS: (4, 5, 5, 5, 6, 7, 7, 8, 8, 9, 10, 10, 11, 11),
    ApiKey.METADATA: (7, 8, 9, 9, 11, 11, 12, 12, 12, 12, 13, 13, 13, 13),
    ApiKey.OFFSET_COMMIT: (6, 7, 8, 8, 8, 8, 8, 8, 9, 9, 9, 9, 10, 10),
    ApiKey.OFFSET_FETCH: (5, 5, 6, 7, 7, 8, 8, 8, 9, 9, 9, 9, 10, 10),
    ApiKey.FIND_COORDINATOR: (2, 2, 3, 3, 3, 4, 4, 4, 4, 6, 6, 6, 6, 6),
    ApiKey.JOIN_GROUP: (3, 5, 6, 7, 7, 7, 9, 9, 9, 9, 9, 9, 9, 9),
    ApiKey.HEARTBEAT: (2, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4),
    ApiKey.LEAVE_GROUP: (2, 2, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5),
    ApiKey.SYNC_GROUP: (2, 3, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5),
    ApiKey.DESCRIBE_GROUPS: (2, 3, 5, 5, 5, 5, 5, 5, 5, 5, 6, 6, 6, 6),
    ApiKey.API_VERSIONS: (2, 2, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 5),
    ApiKey.CREATE_TOPICS: (3, 3, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7),
    ApiKey.DELETE_TOPICS: (3, 3, 4, 4, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6),
    ApiKey.CREATE_PARTITIONS: (1, 1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3),
    ApiKey.LIST_GROUPS: (2, 2, 3, 3, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5),
    ApiKey.DELETE_GROUPS: (1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3),
    ApiKey.OFFSET_DELETE: (-1, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    ApiKey.DESCRIBE_CLUSTER: (-1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2),
    ApiKey.DESCRIBE_TOPIC_PARTITIONS: (-1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0),
    ApiKey.DESCRIBE_CONFIGS: (2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4),
    ApiKey.INIT_PRODUCER_ID: (1, 1, 2, 3, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5),
    ApiKey.OFFSET_FOR_LEADER_EPOCH: (2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4),
    ApiKey.ADD_PARTITIONS_TO_TXN: (1, 1, 1, 1, 3, 3, 3, 4, 4, 5, 5, 5, 5, 5),
    ApiKey.ADD_OFFSETS_TO_TXN: (1, 1, 1, 1, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4),
    ApiKey.END_TXN: (1, 1, 1, 1, 3, 3, 3, 3, 3, 4, 5, 5, 5, 5),
    ApiKey.TXN_OFFSET_COMMIT: (2, 2, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5, 6),
}


def offered_versions(
    apis: Iterable[ApiKey], release: str | None, overrides: Mapping[ApiKey, VersionRange | None] | None
) -> dict[ApiKey, VersionRange]:
    """The versions to advertise for `apis`, those that can be answered.

    `release` limits them to a Kafka release ("2.4"); `overrides` has the last word, None takes an API away. Raises
    ValueError for an unknown release and for versions that the broker does not have.
    """
    if release is not None and release not in RELEASES:
        raise ValueError(f"no table for release {release!r}: {', '.join(RELEASES)}")
    offered: dict[ApiKey, VersionRange] = {}
    for api in apis:
        lowest, newest = _own_versions(api)
        highest = newest if release is None else _HIGHEST[api][RELEASES.index(release)]
        if highest >= lowest:  # -1 for what that release does not have
            offered[api] = (lowest, highest)
    for api, wanted in (overrides or {}).items():
        if wanted is None:
            offered.pop(api, None)
        elif api not in offered:
            raise ValueError(f"the broker does not know {api.name}")
        else:
            lowest, newest = _own_versions(api)
            if not lowest <= wanted[0] <= wanted[1] <= newest:
                raise ValueError(f"{api.name} has versions {lowest}-{newest}, not {wanted[0]}-{wanted[1]}")
            offered[api] = wanted
    return dict(sorted(offered.items()))


def _own_versions(api: ApiKey) -> VersionRange:
    """Those that can be answered; of unstable ones, which Kafka does not advertise either, there are none."""
    own = request_class(api).VERSIONS
    return own.min, own.max if own.unstable is None else own.unstable - 1
