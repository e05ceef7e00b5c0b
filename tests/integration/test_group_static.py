"""Static members (G28, G29): a restart that the group does not notice, and two programs with one name."""

from __future__ import annotations

import pytest

from tests.integration.groups import Group, Part, Process
from tests.integration.kafka import KafkaCluster

LONG = 60_000


def parts_of(member: Process) -> list[Part]:
    """Of which records it has handled."""
    return sorted({(row[2], row[3]) for row in member.rows_of("handled")})


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
@pytest.mark.parametrize("how", ["closed", "killed"])
def test_a_restart_without_a_rebalance(kafka: KafkaCluster, topic: str, strategy: str, how: str) -> None:
    options = {"partition_assignment_strategy": strategy, "session_timeout_ms": LONG}
    with Group(kafka, topic, partitions=4, **options) as group:
        # The first one leads the group. It, and one that does not, is started again.
        first, second = group.join(group_instance_id="one"), group.join(group_instance_id="two")
        group.produce(20)
        group.settle([first, second])
        generation = max(first.generation, second.generation)
        for name, old, other in (("one", first, second), ("two", second, first)):
            had, told = old.owns(), len(other.rows())
            if how == "closed":
                group.end([old])
            else:
                old.kill()
            # G29: it has said no goodbye.
            assert {each["instance"] for each in kafka.describe_group(group.id)["members"]} == {"one", "two"}
            new = group.join(group_instance_id=name)
            group.wait("the new one to have what the old one had", lambda new=new, had=had: new.owns() == had)
            group.produce(20)
            group.wait("all records to be handled", group.is_handled)
            assert parts_of(new) == had
            assert new.generation == generation  # G13: nothing is shared out anew
            assert {row[1] for row in other.rows()[told:]} <= {"handled", "commits"}
            if name == "one":
                first = new
            else:
                second = new
        group.end([first, second])
        group.check()


def test_two_programs_with_one_name(kafka: KafkaCluster, topic: str) -> None:
    with Group(kafka, topic, partitions=2, session_timeout_ms=LONG) as group:
        old = group.join(group_instance_id="one")
        old.may_fail = True
        group.produce(20)
        group.settle([old])
        new = group.join(group_instance_id="one")
        group.wait("the old one to be told", lambda: not old.alive)
        (failed,) = old.rows_of("failed")
        assert failed[2] == "FencedInstanceIdError"
        assert "another member of group" in failed[3]
        assert "'one'" in failed[3]
        assert [row[1] for row in old.rows() if row[1] in ("lost", "revoked")] == ["lost"]
        group.produce(20)
        group.settle([new])
        group.end([new])
        group.check()
