"""Who gets what: each assignor's rules by example, and what must be true of any group (A1-A7)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import example, given, settings, strategies as st

from dekaf_proto.group import ASSIGNORS, uneven
from dekaf_proto.group.assignor import Assignor, GroupMember, GroupTopics, in_order
from dekaf_proto.group.claims import Claim, settle
from dekaf_proto.group.racks import racks_matter
from dekaf_proto.group.sticky import CooperativeStickyAssignor, StickyAssignor
from dekaf_proto.types import TopicPartition

STICKY = StickyAssignor()
COOPERATIVE = CooperativeStickyAssignor()


def tps(text: str) -> list[TopicPartition]:
    """The partitions that "a0 a1 b0" names."""
    return [TopicPartition(name[0], int(name[1:])) for name in text.split()]


def group(*members: GroupMember) -> list[GroupMember]:
    return list(members)


def member(id: str, topics: str, owned: str = "", generation: int = -1, rack: str | None = None) -> GroupMember:
    """A member that wants the `topics` of "ab" and says both ways what it owns."""
    told = STICKY.user_data((), tps(owned), generation) if owned else None
    return GroupMember(id, tuple(topics), tuple(tps(owned)), generation, None, rack, told)


def assign(name: str, topics: GroupTopics | dict[str, int], *members: GroupMember) -> dict[str, str]:
    """What each member gets, as "a0 a1 b0"."""
    known = topics if isinstance(topics, GroupTopics) else GroupTopics(topics)
    return shown(ASSIGNORS[name].assign(known, members))


def shown(assignment: Mapping[str, Sequence[TopicPartition]]) -> dict[str, str]:
    return {member: " ".join(f"{t}{p}" for t, p in sorted(given)) for member, given in assignment.items()}


def in_racks(**racks: str) -> GroupTopics:
    """Topics and their racks: with `a="x xy -"` a0 has a replica in x, a1 one in x and one in y, a2 none."""
    each = {topic: [tuple(rack.replace("-", "")) for rack in text.split()] for topic, text in racks.items()}
    return GroupTopics(
        {topic: len(partitions) for topic, partitions in each.items()},
        {TopicPartition(t, p): where for t, partitions in each.items() for p, where in enumerate(partitions)},
    )


# -------------------------------------------------------------------------------------------------- what all have


def test_they_are_known_by_kafkas_names() -> None:
    assert {name: (assignor.name, assignor.cooperative) for name, assignor in ASSIGNORS.items()} == {
        "range": ("range", False),
        "roundrobin": ("roundrobin", False),
        "sticky": ("sticky", False),
        "cooperative-sticky": ("cooperative-sticky", True),
    }


def test_static_members_come_first() -> None:  # G30
    static = [GroupMember("z", (), instance_id="1"), GroupMember("a", (), instance_id="2")]
    dynamic = [GroupMember("b", ()), GroupMember("y", ())]
    assert in_order([dynamic[1], static[1], dynamic[0], static[0]]) == [*static, *dynamic]


def test_an_assignor_of_ones_own_needs_no_more_than_assign() -> None:
    class Mine(Assignor):
        name = "mine"

    assert Mine().cooperative is False
    assert Mine().user_data(["a"], tps("a0"), 3) is None
    with pytest.raises(NotImplementedError, match="Mine has no method assign"):
        Mine().assign(GroupTopics({}), [])


@pytest.mark.parametrize("name", ASSIGNORS)
def test_a_group_of_nobody_and_members_that_get_nothing(name: str) -> None:
    assert assign(name, {"a": 3}) == {}
    assert assign(name, {}, member("m", "a")) == {"m": ""}
    assert assign(name, {"a": 0}, member("m", "a"), member("n", "")) == {"m": "", "n": ""}
    assert assign(name, {"a": 1}, member("m", "a"), member("n", "a")) == {"m": "a0", "n": ""}


@pytest.mark.parametrize("name", ASSIGNORS)
def test_topics_that_do_not_exist_or_that_nobody_wants_are_left_out(name: str) -> None:
    assert assign(name, {"a": 1, "b": 1}, member("m", "xa")) == {"m": "a0"}


# ------------------------------------------------------------------------------------------------------------- range


def test_range_cuts_each_topic_into_runs() -> None:  # A1
    three = [member("m", "ab"), member("n", "ab"), member("o", "a")]
    assert assign("range", {"a": 7, "b": 3}, *three) == {"m": "a0 a1 a2 b0 b1", "n": "a3 a4 b2", "o": "a5 a6"}


def test_range_goes_by_instance_id() -> None:  # A1, G30
    static = GroupMember("z", ("a",), instance_id="i")
    assert assign("range", {"a": 3}, member("m", "a"), static) == {"z": "a0 a1", "m": "a2"}


def test_range_prefers_the_members_rack() -> None:  # A1
    two = [member("m", "a", rack="x"), member("n", "a", rack="y")]
    assert assign("range", in_racks(a="y y x x"), *two) == {"m": "a2 a3", "n": "a0 a1"}
    # Room is kept: with more nearby than a member may have, the rest goes to the other one.
    assert assign("range", in_racks(a="y y y x"), *two) == {"m": "a2 a3", "n": "a0 a1"}
    # Who has no rack takes its run of what comes first.
    assert assign("range", in_racks(a="y y x x"), member("a", "a"), *two) == {"a": "a0 a1", "m": "a2", "n": "a3"}
    # What has no replica in a known rack is near nobody.
    assert assign("range", in_racks(a="- y x"), *two) == {"m": "a0 a2", "n": "a1"}


def test_range_looks_at_racks_only_in_topics_where_they_make_a_difference() -> None:  # A1
    two = [member("m", "ab", rack="x"), member("n", "ab")]
    # Nobody is near b, but n, who has no rack, is near anything.
    assert assign("range", in_racks(a="x y x", b="z z"), *two) == {"m": "a0 a2 b0", "n": "a1 b1"}


def test_range_keeps_topics_together_that_are_alike() -> None:  # A1
    two = [member("m", "abc", rack="x"), member("n", "abc", rack="y")]
    topics = in_racks(a="y x x y", b="y x y x", c="y x x")
    # a and b: 0 and 1 are near one member in both; of 2 and 3 only one half is, and they go in order.
    assert assign("range", topics, *two) == {"m": "a1 a2 b1 b2 c1 c2", "n": "a0 a3 b0 b3 c0"}


@pytest.mark.parametrize(
    "racks",
    [
        pytest.param("xy xy xy xy", id="every rack has everything"),
        pytest.param("z z z z", id="no rack is a member's"),
        pytest.param("- - - -", id="no rack is known"),
    ],
)
@pytest.mark.parametrize("name", ["range", "sticky", "cooperative-sticky"])
def test_racks_that_make_no_difference_change_nothing(name: str, racks: str) -> None:  # A1, A4
    two = [member("m", "a", rack="x"), member("n", "a", rack="y")]
    assert assign(name, in_racks(a=racks), *two) == assign(name, {"a": 4}, *two)


def test_an_empty_rack_is_none() -> None:
    assert racks_matter(["x", None], [["x"], ["y"]])
    assert not racks_matter(["", None], [["x"], ["y"], [""]])


# -------------------------------------------------------------------------------------------------------- round robin


def test_roundrobin_deals_all_topics_in_one_go() -> None:  # A2
    two = [member("n", "ab"), member("m", "ab")]
    assert assign("roundrobin", {"a": 3, "b": 3}, *two) == {"m": "a0 a2 b1", "n": "a1 b0 b2"}


def test_roundrobin_passes_over_who_does_not_want_a_topic() -> None:  # A2
    three = [member("m", "abc"), member("n", "b"), member("o", "ac")]
    assert assign("roundrobin", {"a": 1, "b": 3, "c": 2}, *three) == {"m": "a0 b1 c1", "n": "b0 b2", "o": "c0"}


# -------------------------------------------------------------------------------------------------------------- sticky


@pytest.mark.parametrize("name", ["sticky", "cooperative-sticky"])
def test_who_joins_takes_no_more_than_balance_needs(name: str) -> None:  # A4
    two = [member("m", "a", "a0 a1 a2", 1), member("n", "a", "a3 a4", 1)]
    assert assign("sticky", {"a": 5}, *two, member("o", "a")) == {"m": "a0 a1", "n": "a3 a4", "o": "a2"}


def test_as_many_as_may_keep_one_more() -> None:  # A4
    two = [member("m", "a", "a0 a1 a2 a3", 1), member("n", "a", "a4 a5 a6 a7", 1)]
    joins = member("o", "a")
    assert assign("sticky", {"a": 8}, *two, joins) == {"m": "a0 a1 a2", "n": "a4 a5 a6", "o": "a3 a7"}
    assert assign("sticky", {"a": 7}, *two, joins) == {"m": "a0 a1 a2", "n": "a4 a5", "o": "a3 a6"}
    assert assign("sticky", {"a": 9}, *two, joins) == {"m": "a0 a1 a2", "n": "a4 a5 a6", "o": "a3 a7 a8"}


def test_what_goes_first_is_what_comes_last() -> None:  # A4: sorted by partition, then topic
    two = [member("m", "ab", "a0 a1 b0 b1", 1), member("n", "ab")]
    assert assign("sticky", {"a": 2, "b": 2}, *two) == {"m": "a0 b0", "n": "a1 b1"}


def test_new_partitions_go_to_who_is_short_then_one_each() -> None:  # A4
    three = [member("m", "a", "a0 a1 a2", 1), member("n", "a", "a3", 1), member("o", "a")]
    assert assign("sticky", {"a": 8}, *three) == {"m": "a0 a1 a2", "n": "a3 a4 a7", "o": "a5 a6"}
    assert assign("sticky", {"a": 4}, *three[:2]) == {"m": "a0 a1", "n": "a2 a3"}


@pytest.mark.parametrize("name", ["sticky", "cooperative-sticky"])
def test_the_later_generation_is_believed(name: str) -> None:  # A3
    two = [member("m", "a", "a0 a1", 4), member("n", "a", "a0 a2", 5)]
    assert settle({m.id: STICKY.claim(m) for m in two}, tps("a0 a1 a2 a3")).owned == {"m": tps("a1"), "n": tps("a0 a2")}
    assert assign(name, {"a": 4}, *two) == {"m": "a1 a3", "n": "a0 a2"}
    assert assign(name, {"a": 4}, *reversed(two)) == {"m": "a1 a3", "n": "a0 a2"}


def test_of_equal_claims_none_is_believed() -> None:  # A3
    claims = {"m": Claim(tuple(tps("a0 a1")), 4), "n": Claim(tuple(tps("a1 a2")), 4), "o": Claim(tuple(tps("a2")), 5)}
    settled = settle(claims, tps("a0 a1 a2"))
    assert settled.owned == {"m": tps("a0"), "n": [], "o": tps("a2")}
    assert settled.contested == set(tps("a1"))
    assert settled.former == dict(zip(tps("a0 a1 a2"), "mmn", strict=True))


def test_claims_to_what_does_not_exist_are_passed_over() -> None:  # A3
    odd = (TopicPartition("a", -1), TopicPartition("a", 9), TopicPartition("gone", 0), TopicPartition("a", 0))
    settled = settle({"m": Claim((*odd, *odd), 1)}, tps("a0 a1"))
    assert (settled.owned, settled.contested) == ({"m": tps("a0")}, frozenset())
    for name in ASSIGNORS:
        two = [GroupMember("m", ("a",), odd, 1, user_data=STICKY.user_data((), odd, 1)), member("n", "a")]
        assert assign(name, {"a": 2}, *two) == {"m": "a0", "n": "a1"}


def test_owned_partitions_stay_in_the_rack_only() -> None:  # A4
    two = [member("m", "a", "a0 a1", 1, "x"), member("n", "a", "a2 a3", 1, "y")]
    assert assign("sticky", in_racks(a="x y x y"), *two) == {"m": "a0 a2", "n": "a1 a3"}


def test_partitions_that_few_are_near_go_first() -> None:  # A4
    two = [member("m", "a", rack="x"), member("n", "a", rack="y"), member("o", "a", rack="y")]
    # a2 is near m only, so it is placed before m is full of what others could read too.
    assert assign("sticky", in_racks(a="xy xy x"), *two) == {"m": "a2", "n": "a0", "o": "a1"}


def test_members_near_take_turns_then_may_be_larger_then_the_rest_is_dealt() -> None:  # A4
    two = [member("m", "a", rack="x"), member("n", "a", rack="x"), member("o", "a", rack="y")]
    assert assign("sticky", in_racks(a="x x x x x x y"), *two) == {"m": "a0 a2 a4", "n": "a1 a3", "o": "a5 a6"}
    assert assign("sticky", in_racks(a="x x x x y"), *two) == {"m": "a0 a2", "n": "a1 a3", "o": "a4"}
    assert assign("sticky", in_racks(a="x z x z z z y"), *two) == {"m": "a0 a1 a5", "n": "a2 a3", "o": "a4 a6"}


# ---------------------------------------------------------------------------------------- sticky, different wishes


def test_the_least_loaded_that_wants_it_gets_it() -> None:  # A5
    three = [member("m", "a"), member("n", "ab"), member("o", "b")]
    assert assign("sticky", {"a": 2, "b": 4}, *three) == {"m": "a0 a1", "n": "b1 b3", "o": "b0 b2"}


def test_a_partition_moves_only_for_better_balance() -> None:  # A5
    two = [member("m", "a", "a0 a1 a2", 1), member("n", "ab", "b0", 1)]
    assert assign("sticky", {"a": 3, "b": 1}, *two) == {"m": "a1 a2", "n": "a0 b0"}
    two = [member("m", "a", "a0 a1", 1), member("n", "ab", "b0", 1)]
    assert assign("sticky", {"a": 2, "b": 1}, *two) == {"m": "a0 a1", "n": "b0"}


def test_what_a_member_no_longer_wants_goes_to_others() -> None:  # A5
    two = [member("m", "b", "a0 b0", 1), member("n", "ab", "a1", 1)]
    assert assign("sticky", {"a": 2, "b": 2}, *two) == {"m": "b0 b1", "n": "a0 a1"}


def test_what_few_want_goes_first() -> None:  # A5
    assert assign("sticky", {"a": 2, "b": 1}, member("m", "ab"), member("n", "a")) == {"m": "a1 b0", "n": "a0"}


def test_what_is_new_moves_rather_than_what_has_an_owner() -> None:  # A5
    # b2 and b3 are dealt before a0, and o, who wants nothing else, takes that.
    three = [member("m", "b", "b0 b1", 1), member("n", "ab"), member("o", "a")]
    assert assign("sticky", {"a": 1, "b": 4}, *three) == {"m": "b0 b1", "n": "b2 b3", "o": "a0"}


def test_who_had_a_partition_before_gets_it_back() -> None:  # A5
    have = [member("m", "a", "a0 a1 a2", 5), member("n", "b", "b0", 5), member("o", "a")]
    assert assign("sticky", {"a": 3, "b": 1}, *have, member("p", "a")) == {"m": "a2", "n": "b0", "o": "a0", "p": "a1"}
    back = member("p", "a", "a0", 4)
    assert assign("sticky", {"a": 3, "b": 1}, *have, back) == {"m": "a2", "n": "b0", "o": "a1", "p": "a0"}


def test_who_had_it_before_but_does_not_want_it_does_not() -> None:  # A5: in Java it does
    have = [member("m", "a", "a0 a1 a2", 5), member("n", "ab", "b0", 5), member("o", "b", "a1", 4)]
    assert assign("sticky", {"a": 3, "b": 1}, *have) == {"m": "a1 a2", "n": "a0", "o": "b0"}


def test_the_nearest_get_it_first_where_wishes_differ() -> None:  # A5
    two = [member("m", "a", "a0 a3", 1, "x"), member("n", "ab", rack="y"), member("o", "b")]
    topics = in_racks(a="x y z y", b="y")
    # a3 is not near m any more; a2 is near nobody, and goes to who has the least.
    assert assign("sticky", topics, *two) == {"m": "a0 a2", "n": "a1 a3", "o": "b0"}
    # What is near nobody waits until the rest is placed.
    two = [member("m", "a", rack="x"), member("n", "ab", rack="y")]
    assert assign("sticky", in_racks(a="y x"), *two) == {"m": "a1", "n": "a0"}
    assert assign("sticky", in_racks(a="z x y"), *two) == {"m": "a0 a1", "n": "a2"}


def wandering() -> tuple[dict[str, int], list[GroupMember]]:
    """A group in which a partition that moves on meets another one of its topic that came the other way."""
    return {"a": 6, "b": 1}, [
        member("m", "ab", "a1 a2 a3 a4 b0", 5),
        member("n", "ab", "a2", 4),
        member("o", "a", "a0 a5", 5),
        member("p", "b"),
    ]


def test_partitions_of_a_topic_are_not_swapped() -> None:  # A5
    topics, members = wandering()
    assert assign("sticky", topics, *members) == {"m": "a3 a4", "n": "a0 a2", "o": "a1 a5", "p": "b0"}


def test_there_is_an_end_without_detours_too(monkeypatch: pytest.MonkeyPatch) -> None:  # A5
    class Strict(uneven._Uneven):
        def distribute(self) -> dict[str, list[TopicPartition]]:
            self._detours = 0
            return super().distribute()

    monkeypatch.setattr(uneven, "_Uneven", Strict)
    topics, members = wandering()
    got = assign("sticky", topics, *members)
    assert sorted(len(given.split()) for given in got.values()) == [1, 2, 2, 2]


# -------------------------------------------------------------------------------------------------- cooperative sticky


def test_what_another_still_has_is_given_to_nobody_yet() -> None:  # A6
    two = [member("m", "a", "a0 a1 a2", 1), member("n", "a")]
    assert assign("sticky", {"a": 4}, *two) == {"m": "a0 a1", "n": "a2 a3"}
    assert assign("cooperative-sticky", {"a": 4}, *two) == {"m": "a0 a1", "n": "a3"}
    again = [member("m", "a", "a0 a1", 2), member("n", "a", "a3", 2)]
    assert assign("cooperative-sticky", {"a": 4}, *again) == {"m": "a0 a1", "n": "a2 a3"}


def test_it_is_given_to_nobody_either_where_wishes_differ() -> None:  # A6
    two = [member("m", "a", "a0 a1 a2", 1), member("n", "ab", "b0", 1)]
    assert assign("cooperative-sticky", {"a": 3, "b": 1}, *two) == {"m": "a1 a2", "n": "b0"}


def test_what_several_say_to_have_is_given_to_nobody_yet() -> None:  # A3, A6
    two = [member("m", "a", "a0 a1", 4), member("n", "a", "a1", 4)]
    assert assign("sticky", {"a": 2}, *two) == {"m": "a0", "n": "a1"}
    assert assign("cooperative-sticky", {"a": 2}, *two) == {"m": "a0", "n": ""}


def test_a_claim_of_old_does_not_keep_a_partition_from_its_owner() -> None:  # A6
    two = [member("m", "a", "a0 a1", 3), member("n", "a", "a1", 4)]
    assert assign("cooperative-sticky", {"a": 2}, *two) == {"m": "a0", "n": "a1"}


# ----------------------------------------------------------------------------------------------------------- user data


def test_what_sticky_sends_along() -> None:  # A7
    assert STICKY.user_data(("a",), (), -1) is None
    data = STICKY.user_data(("a",), tps("b1 a2 a0"), 7)
    a = bytes.fromhex("0001 61 00000002 00000000 00000002")
    assert data == b"\0\0\0\2" + a + bytes.fromhex("0001 62 00000001 00000001") + b"\0\0\0\7"
    claim = STICKY.claim(GroupMember("m", ("a",), user_data=data))
    assert claim == Claim(tuple(tps("a0 a2 b1")), 7)


def test_what_older_ones_sent_along_has_no_generation() -> None:  # A7
    data = STICKY.user_data((), tps("a0"), 7)
    assert data is not None
    assert STICKY.claim(GroupMember("m", (), user_data=data[:-4])) == Claim(tuple(tps("a0")), -1)


@pytest.mark.parametrize("data", [None, b"", b"garbage", b"\xff" * 4, b"\0\0\0\1", b"\0\0\0\1\0\1a\0\0\0\2\0\0\0\0"])
def test_garbage_claims_nothing(data: bytes | None) -> None:  # A7
    assert STICKY.claim(GroupMember("m", (), tuple(tps("a0")), 3, user_data=data)) == Claim((), -1)


def test_a_generation_below_none_is_none() -> None:
    assert STICKY.claim(GroupMember("m", (), user_data=struct.pack(">ii", 0, -7))).generation == -1
    assert COOPERATIVE.claim(GroupMember("m", (), user_data=struct.pack(">i", -7))).generation == -1


def test_what_cooperative_sticky_sends_along() -> None:  # A7
    assert COOPERATIVE.user_data(("a",), tps("a0"), 7) == b"\0\0\0\7"
    assert COOPERATIVE.user_data(("a",), (), -1) == b"\xff\xff\xff\xff"


def test_the_generation_of_the_subscription_goes_before_user_data() -> None:  # A7
    owned = tuple(tps("a0"))
    for generation, data, expected in ((5, b"\0\0\0\7", 5), (-1, b"\0\0\0\7", 7), (-1, b"\0", -1), (-1, None, -1)):
        assert COOPERATIVE.claim(GroupMember("m", (), owned, generation, user_data=data)) == Claim(owned, expected)


# ------------------------------------------------------------------------------------------------------- of any group

TOPICS = ("a", "b", "c", "d")
RACKS = ("x", "y", "z")

claimed = st.builds(TopicPartition, st.sampled_from((*TOPICS, "gone")), st.integers(-1, 9))


@st.composite
def members_of(draw: st.DrawFn, same: bool) -> list[GroupMember]:
    """Up to eight members with all kinds of claims, right and wrong."""
    wishes = st.lists(st.sampled_from((*TOPICS, "missing")), unique=True).map(tuple)
    wish = draw(wishes)
    members = []
    for id in draw(st.permutations([f"m{i}" for i in range(draw(st.integers(1, 8)))])):
        owned = tuple(draw(st.lists(claimed, max_size=12, unique=True)))
        generation = draw(st.integers(-1, 2))
        told = draw(st.just(STICKY.user_data((), owned, max(generation, 0))) | st.none() | st.binary(max_size=30))
        rack = draw(st.none() | st.sampled_from(RACKS))
        instance = draw(st.none() | st.just(id[::-1]))
        members.append(GroupMember(id, wish if same else draw(wishes), owned, generation, instance, rack, told))
    return members


@st.composite
def topics_of(draw: st.DrawFn) -> GroupTopics:
    counts = draw(st.dictionaries(st.sampled_from(TOPICS), st.integers(0, 10)))
    known = draw(st.booleans())
    racks = st.lists(st.sampled_from(RACKS), max_size=3, unique=True).map(tuple)
    return GroupTopics(
        counts, {TopicPartition(t, p): draw(racks) for t, n in counts.items() for p in range(n)} if known else {}
    )


def check_valid(topics: GroupTopics, members: list[GroupMember], got: Mapping[str, Sequence[TopicPartition]]) -> int:
    """Each gets only what exists and what it wants, and nothing is given twice; returns how many were given."""
    assert set(got) == {m.id for m in members}
    given_out = [partition for partitions in got.values() for partition in partitions]
    assert len(set(given_out)) == len(given_out)
    for m in members:
        for partition in got[m.id]:
            assert partition.topic in m.topics
            assert 0 <= partition.partition < topics.partitions[partition.topic]
    return len(given_out)


def wanted_of(topics: GroupTopics, members: list[GroupMember]) -> int:
    return sum(n for topic, n in topics.partitions.items() if any(topic in m.topics for m in members))


@pytest.mark.parametrize("name", ASSIGNORS)
@pytest.mark.parametrize("same", [True, False])
def test_every_partition_goes_to_one_member_that_wants_it(name: str, same: bool) -> None:
    @given(topics_of(), members_of(same))
    @settings(max_examples=40)
    def check(topics: GroupTopics, members: list[GroupMember]) -> None:
        got = ASSIGNORS[name].assign(topics, members)
        given_out = check_valid(topics, members, got)
        if name != "cooperative-sticky":
            assert given_out == wanted_of(topics, members)
        # The order in which the members joined makes no difference.
        assert shown(ASSIGNORS[name].assign(topics, members[::-1])) == shown(got)

    check()


@given(topics_of(), members_of(True))
def test_sizes_differ_by_one_where_all_want_the_same(topics: GroupTopics, members: list[GroupMember]) -> None:  # A4
    for name in ("roundrobin", "sticky"):
        sizes = [len(partitions) for partitions in ASSIGNORS[name].assign(topics, members).values()]
        assert max(sizes) - min(sizes) <= 1
    for topic in topics.partitions:
        runs = [[p for t, p in sorted(got) if t == topic] for got in RANGE.assign(topics, members).values()]
        assert max(map(len, runs)) - min(map(len, runs)) <= 1


RANGE = ASSIGNORS["range"]


@given(topics_of(), members_of(False))
@settings(max_examples=200)
def test_nobody_could_give_one_to_who_has_two_fewer(topics: GroupTopics, members: list[GroupMember]) -> None:  # A5
    got = STICKY.assign(topics, members)
    for m in members:
        for partition in got[m.id]:
            for other in members:
                assert partition.topic not in other.topics or len(got[other.id]) + 2 > len(got[m.id])


def rejoined(
    assignor: Assignor, members: Sequence[GroupMember], got: Mapping[str, Sequence[TopicPartition]], generation: int
) -> list[GroupMember]:
    """The members as they join after they got that."""
    return [
        GroupMember(
            id=m.id,
            topics=m.topics,
            owned=tuple(got[m.id]),
            generation=generation,
            rack=m.rack,
            user_data=assignor.user_data(m.topics, got[m.id], generation),
        )
        for m in members
    ]


@pytest.mark.parametrize("assignor", [STICKY, COOPERATIVE], ids=lambda assignor: assignor.name)
@pytest.mark.parametrize("same", [True, False])
def test_it_comes_to_rest(assignor: StickyAssignor | CooperativeStickyAssignor, same: bool) -> None:  # A4-A6
    @given(topics_of(), members_of(same))
    @settings(max_examples=40)
    def check(topics: GroupTopics, members: list[GroupMember]) -> None:
        before: Mapping[str, Sequence[TopicPartition]] = {}
        for generation in range(30 if topics.racks else 6):
            got = assignor.assign(topics, members)
            check_valid(topics, members, got)
            if generation and shown(got) == shown(before):
                break
            members = rejoined(assignor, members, got, 3 + generation)
            before = got
        else:
            raise AssertionError("still moving")
        assert sum(map(len, got.values())) == wanted_of(topics, members)

    check()


def test_sticky_does_not_swap_for_ever() -> None:  # A6
    """m5 is the only one near to half of them, and m0 to none of what it wants: each rebalance would move a0 and b3."""
    topics = in_racks(a="- - - - x x x", b="x x - -")
    members = [member("m0", "b", "b0 b1 b2", 1, "y"), member("m1", "ab", "a1 a2 a3 b3", 1)]
    members.append(member("m5", "ab", "a0 a4 a5 a6", 1, "x"))
    seen = []
    for generation in range(2, 6):
        got = STICKY.assign(topics, members)
        seen.append(shown(got))
        members = rejoined(STICKY, members, got, generation)
    assert seen[1] == seen[2] == seen[3]


def test_what_would_go_in_circles_is_cut_short() -> None:
    """m and n, whose racks have few of their partitions, would change a0 and c1 with o for ever."""
    topics = in_racks(a="xz - y xy y z y z", c="- yz yz yz z z x", d="- z xz y")
    members = [member("m", "ac", "c2 c3 c4 c6", 1, "x"), member("n", "da", "a2 a3 a4 a6", 1, "y")]
    members += [member("o", "acd", "a5 a7 c0 c1", 1), member("p", "d", "d0 d1 d2 d3", 1, "y")]
    seen = []
    for generation in range(2, 12):
        got = COOPERATIVE.assign(topics, members)
        seen.append(shown(got))
        members = rejoined(COOPERATIVE, members, got, generation)
    assert seen[-1] == seen[-2]
    assert sum(map(len, got.values())) == 19


def test_sticky_keeps_all_of_what_was_balanced() -> None:  # A4, A5
    @given(topics_of(), members_of(False))
    def check(topics: GroupTopics, members: list[GroupMember]) -> None:
        known = GroupTopics(topics.partitions)
        got = STICKY.assign(known, members)
        assert shown(STICKY.assign(known, rejoined(STICKY, members, got, 7))) == shown(got)

    check()


@given(st.integers(1, 30), st.integers(2, 8), st.data())
@example(8, 3, None)
def test_no_more_moves_than_must(partitions: int, size: int, data: st.DataObject | None) -> None:  # A4
    topics = GroupTopics({"a": partitions})
    members = [member(f"m{i}", "a") for i in range(size)]
    members = rejoined(STICKY, members, STICKY.assign(topics, members), 1)
    leaves = data.draw(st.integers(0, size - 1)) if data else 0
    gone = len(members.pop(leaves).owned)
    got = STICKY.assign(topics, members)
    assert sum(len(set(got[m.id]) - set(m.owned)) for m in members) == gone
    # Who joins gets its share, and nothing moves between the others.
    before = {m.id: set(m.owned) for m in rejoined(STICKY, members, got, 2)}
    got = STICKY.assign(topics, [*rejoined(STICKY, members, got, 2), member("new", "a")])
    assert all(set(got[id]) <= owned for id, owned in before.items())


@given(topics_of(), members_of(False))
def test_two_that_never_both_have_it(topics: GroupTopics, members: list[GroupMember]) -> None:  # A6
    members = rejoined(COOPERATIVE, members, STICKY.assign(topics, members), 1)
    owners = {partition: m.id for m in members for partition in m.owned}
    wish = members[0].topics
    changed = [member("new", "abcd"), GroupMember("late", wish), *members[1:]]
    got = COOPERATIVE.assign(topics, changed)
    still = {m.id for m in changed}
    for id, partitions in got.items():
        for partition in partitions:
            assert owners.get(partition) in {None, id} or owners[partition] not in still
