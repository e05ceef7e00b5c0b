"""FindCoordinator, OffsetCommit and OffsetFetch, for programs that are in no group."""

from __future__ import annotations

import pytest

from dekaf_proto.broker import Broker, CommittedOffset
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey, FindCoordinatorRequest, OffsetCommitRequest, OffsetFetchRequest
from dekaf_proto.messages.offset_commit import OffsetCommitRequestPartition, OffsetCommitRequestTopic
from dekaf_proto.messages.offset_fetch import (
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)
from dekaf_proto.types import TopicPartition, Uuid
from tests.broker.peer import Peer

T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)


def cluster(nodes: int = 1) -> Peer:
    peer = Peer(Broker(nodes=nodes))
    peer.broker.create_topic("t", 2)
    peer.broker.move_coordinator("g", 0)
    return peer


# --------------------------------------------------------------------------------------------------- FindCoordinator


@pytest.mark.parametrize("version", range(7))
def test_the_coordinator(version: int) -> None:  # G1
    peer = cluster(3)
    peer.broker.move_coordinator("g", 2)
    if version < 4:
        response = peer.ask(FindCoordinatorRequest(key="g"), version)
        found = (response.error_code, response.node_id, response.host, response.port)
        assert found == (0, 2, "127.0.0.1", 9094)
    else:
        response = peer.ask(FindCoordinatorRequest(coordinator_keys=["g", "h"]), version, node=1)
        found_all = [(c.key, c.error_code, c.error_message) for c in response.coordinators]
        assert found_all == [("g", 0, ""), ("h", 0, "")]
        first = response.coordinators[0]
        assert (first.node_id, first.host, first.port) == (2, "127.0.0.1", 9094)


def test_coordinators_are_spread_and_move_when_a_node_stops() -> None:  # G3
    peer = cluster(3)
    names = [f"group-{number}" for number in range(30)]
    before = {name: peer.broker.coordinator(name) for name in names}
    assert {*before.values()} == {0, 1, 2}
    peer.broker.stop_node(1, peer.now)
    after = {name: peer.broker.coordinator(name) for name in names}
    assert {*after.values()} == {0, 2}
    assert all(after[name] == node for name, node in before.items() if node != 1)
    peer.broker.move_coordinator("g", 1)
    assert peer.broker.coordinator("g") in (0, 2)
    with pytest.raises(KeyError):
        peer.broker.move_coordinator("g", 7)


def test_transactional_ids_have_coordinators_and_share_groups_have_none() -> None:
    peer = cluster()
    assert peer.ask(FindCoordinatorRequest(coordinator_keys=["x"], key_type=1), 6).coordinators[0].error_code == 0
    [answer] = peer.ask(FindCoordinatorRequest(coordinator_keys=["x"], key_type=2), 6).coordinators
    assert (answer.error_code, answer.node_id) == (ErrorCode.INVALID_REQUEST, -1)


def test_there_may_be_no_coordinator() -> None:  # G3
    peer = cluster()
    peer.broker.faults.add(api=ApiKey.FIND_COORDINATOR, error=ErrorCode.COORDINATOR_NOT_AVAILABLE)
    response = peer.ask(FindCoordinatorRequest(key="g"), 3)
    assert (response.error_code, response.node_id, response.port) == (ErrorCode.COORDINATOR_NOT_AVAILABLE, -1, -1)
    assert response.error_message == "COORDINATOR_NOT_AVAILABLE"


# ------------------------------------------------------------------------------------------------------ OffsetCommit


def commit(
    peer: Peer,
    version: int,
    offsets: dict[TopicPartition, CommittedOffset],
    *,
    group: str = "g",
    generation: int = -1,
    member: str = "",
    node: int = 0,
    topic_id: Uuid | None = None,
) -> list[int]:
    """Commits, and returns the error codes."""
    topics = []
    for partition, committed in offsets.items():
        known = peer.broker.topic_id(partition.topic) if partition.topic in peer.broker.topics else Uuid.ZERO
        asked = OffsetCommitRequestPartition(
            partition.partition, committed.offset, committed.leader_epoch, committed.metadata
        )
        topics.append(OffsetCommitRequestTopic(partition.topic, topic_id or known, [asked]))
    request = OffsetCommitRequest(group, generation, member, topics=topics)
    response = peer.ask(request, version, node=node)
    if version < 10:
        assert [topic.name for topic in response.topics] == [partition.topic for partition in offsets]
    return [partition.error_code for topic in response.topics for partition in topic.partitions]


@pytest.mark.parametrize("version", range(2, 11))
def test_offsets_are_stored(version: int) -> None:  # P1
    peer = cluster()
    offsets = {T0: CommittedOffset(42, 3 if version >= 6 else -1, "note"), T1: CommittedOffset(7, -1, None)}
    assert commit(peer, version, offsets) == [0, 0]
    offsets[T1] = CommittedOffset(7, -1, "")  # no metadata are empty ones
    assert peer.broker.committed("g") == offsets
    assert peer.broker.committed("h") == {}
    offsets[T0] = CommittedOffset(-5, metadata="what")
    assert commit(peer, version, {T0: offsets[T0]}) == [0]  # P2: the broker takes it as it is
    assert peer.broker.committed("g") == offsets


def test_each_partition_has_its_own_answer() -> None:  # P5
    peer = cluster()
    unknown = TopicPartition("t", 9)
    elsewhere = TopicPartition("nowhere", 0)
    long = CommittedOffset(2, metadata="x" * 4097)  # P1
    found = commit(peer, 8, {unknown: CommittedOffset(1), T0: CommittedOffset(1), T1: long, elsewhere: long})
    assert found == [3, 0, ErrorCode.OFFSET_METADATA_TOO_LARGE, 3]
    assert peer.broker.committed("g") == {T0: CommittedOffset(1)}
    assert commit(peer, 10, {T0: CommittedOffset(1)}, topic_id=Uuid(b"\x01" * 16)) == [ErrorCode.UNKNOWN_TOPIC_ID]


def test_who_may_commit() -> None:  # P4, K20
    peer = cluster(2)
    one = {T0: CommittedOffset(1)}
    assert commit(peer, 8, one, node=1) == [ErrorCode.NOT_COORDINATOR]
    assert commit(peer, 8, one, generation=1, member="m") == [ErrorCode.ILLEGAL_GENERATION]
    assert commit(peer, 9, one, generation=1, member="m") == [ErrorCode.GROUP_ID_NOT_FOUND]
    assert peer.broker.committed("g") == {}
    assert commit(peer, 8, one) == [0]
    assert commit(peer, 8, one, generation=1, member="m") == [ErrorCode.UNKNOWN_MEMBER_ID]


@pytest.mark.parametrize(
    "metadata, error",
    [("é" * 4096, 0), ("é" * 4097, 12), ("\U0001f600" * 2048, 0), ("\U0001f600" * 2048 + "x", 12)],
)
def test_the_limit_of_metadata_is_one_of_characters(metadata: str, error: int) -> None:  # P1
    assert commit(cluster(), 8, {T0: CommittedOffset(1, metadata=metadata)}) == [error]


def test_a_group_without_a_name_has_offsets() -> None:  # P4
    peer = cluster(2)
    node = peer.broker.coordinator("")
    assert node is not None
    assert commit(peer, 8, {T0: CommittedOffset(3)}, group="", node=1 - node) == [ErrorCode.NOT_COORDINATOR]
    assert commit(peer, 8, {T0: CommittedOffset(3)}, group="", node=node) == [0]
    groups = [OffsetFetchRequestGroup("", topics=None)]
    [answer] = peer.ask(OffsetFetchRequest(groups=groups), 9, node=node).groups
    assert answer.topics[0].partitions[0].committed_offset == 3


def test_topics_without_partitions_have_no_answer() -> None:
    assert cluster().ask(OffsetCommitRequest("g", topics=[OffsetCommitRequestTopic("t")]), 9).topics == []


def test_a_refused_commit_changes_nothing() -> None:
    peer = cluster()
    peer.broker.faults.add(api=ApiKey.OFFSET_COMMIT, partition=1, error=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
    assert commit(peer, 8, {T0: CommittedOffset(1), T1: CommittedOffset(1)}) == [0, 14]
    assert peer.broker.committed("g") == {T0: CommittedOffset(1)}


def test_offsets_from_the_same_process() -> None:
    peer = cluster()
    peer.broker.commit("g", {T0: 5, T1: CommittedOffset(6, 1, "x")})
    peer.broker.commit("g", {T0: -1})
    assert peer.broker.committed("g") == {T1: CommittedOffset(6, 1, "x")}


# ------------------------------------------------------------------------------------------------------- OffsetFetch

Answer = tuple[str | Uuid, int, int, int, str | None, int]


def fetch_offsets(
    peer: Peer,
    version: int,
    wanted: dict[str | Uuid, list[int]] | None,
    *,
    group: str = "g",
    node: int = 0,
    error: int = 0,
) -> list[Answer]:
    """(topic, partition, offset, epoch, metadata, error), and the group's error compared."""
    found: list[Answer] = []
    if version < 8:
        old = None
        if wanted is not None:
            old = [OffsetFetchRequestTopic(str(name), indexes) for name, indexes in wanted.items()]
        response = peer.ask(OffsetFetchRequest(group, old), version, node=node)
        assert response.error_code == error or version < 2
        for topic in response.topics:
            for p in topic.partitions:
                entry = (p.partition_index, p.committed_offset, p.committed_leader_epoch, p.metadata, p.error_code)
                found.append((topic.name, *entry))
        return found
    new = None
    if wanted is not None:
        new = [
            OffsetFetchRequestTopics(key, Uuid.ZERO, indexes)
            if isinstance(key, str)
            else OffsetFetchRequestTopics("", key, indexes)
            for key, indexes in wanted.items()
        ]
    request = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group, topics=new)], require_stable=True)
    [answer] = peer.ask(request, version, node=node).groups
    assert (answer.group_id, answer.error_code) == (group, error)
    for topics in answer.topics:
        for q in topics.partitions:
            last = (q.partition_index, q.committed_offset, q.committed_leader_epoch, q.metadata, q.error_code)
            found.append((topics.name if version < 10 else topics.topic_id, *last))
    return found


@pytest.mark.parametrize("version", range(1, 11))
def test_stored_offsets_are_read(version: int) -> None:  # P15, P16
    peer = cluster()
    peer.broker.commit("g", {T0: CommittedOffset(42, 3, "note")})
    key: str | Uuid = "t" if version < 10 else peer.broker.topic_id("t")
    epoch = 3 if version >= 5 else -1
    stored = (key, 0, 42, epoch, "note", 0)
    assert fetch_offsets(peer, version, {key: [0, 1]}) == [stored, (key, 1, -1, -1, "", 0)]
    assert fetch_offsets(peer, version, {key: [0]}, group="unknown") == [(key, 0, -1, -1, "", 0)]
    if version < 10:
        assert fetch_offsets(peer, version, {"nowhere": [0]}) == [("nowhere", 0, -1, -1, "", 0)]
    else:
        other = Uuid(b"\x01" * 16)
        assert fetch_offsets(peer, version, {other: [0]}) == [(other, 0, -1, -1, "", ErrorCode.UNKNOWN_TOPIC_ID)]
    if version >= 2:
        assert fetch_offsets(peer, version, None) == [stored]
        assert fetch_offsets(peer, version, None, group="unknown") == []
    assert fetch_offsets(peer, version, {}) == []


def test_all_offsets_of_a_group_whose_topic_is_gone() -> None:
    peer = cluster()
    peer.broker.commit("g", {T1: 1, T0: 2, TopicPartition("s", 0): 3})
    names = [(answer[0], answer[1]) for answer in fetch_offsets(peer, 9, None)]
    assert names == [("s", 0), ("t", 0), ("t", 1)]
    assert [answer[2] for answer in fetch_offsets(peer, 10, None)] == [2, 1]


@pytest.mark.parametrize("version", range(1, 11))
def test_errors_of_the_group(version: int) -> None:  # P18
    peer = cluster(2)
    key: str | Uuid = "t" if version < 10 else peer.broker.topic_id("t")
    found = fetch_offsets(peer, version, {key: [0]}, node=1, error=ErrorCode.NOT_COORDINATOR)
    assert found == ([("t", 0, -1, -1, "", ErrorCode.NOT_COORDINATOR)] if version == 1 else [])
    peer.broker.faults.add(api=ApiKey.OFFSET_FETCH, top_error=ErrorCode.GROUP_AUTHORIZATION_FAILED)
    fetch_offsets(peer, version, {key: [0]}, error=ErrorCode.GROUP_AUTHORIZATION_FAILED)


def test_errors_of_partitions() -> None:  # P17
    peer = cluster()
    peer.broker.commit("g", {T0: 1, T1: 2})
    peer.broker.faults.add(api=ApiKey.OFFSET_FETCH, partition=0, error=ErrorCode.UNSTABLE_OFFSET_COMMIT)
    assert fetch_offsets(peer, 7, {"t": [0, 1]}) == [("t", 0, -1, -1, "", 88), ("t", 1, 2, -1, "", 0)]


def test_several_groups() -> None:
    peer = cluster()
    peer.broker.commit("g", {T0: 1})
    peer.broker.commit("h", {T0: 2})
    groups = [OffsetFetchRequestGroup(name, topics=None) for name in ("h", "g", "")]
    answer = peer.ask(OffsetFetchRequest(groups=groups), 9).groups
    assert [(group.group_id, group.error_code) for group in answer] == [("h", 0), ("g", 0), ("", 0)]
    assert [group.topics[0].partitions[0].committed_offset for group in answer[:2]] == [2, 1]
