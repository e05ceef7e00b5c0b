"""`dekaf demo` on a real Kafka: the whole story, and no topic left behind."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.integration.groups import ROOT
from tests.integration.kafka import JavaError, KafkaCluster, wait_until


def test_the_demo(kafka: KafkaCluster) -> None:
    command = [sys.executable, "-m", "dekaf_sync", "demo", "--plain", "--speed", "5", "--orders", "100"]
    done = subprocess.run(
        [*command, "--bootstrap-servers", kafka.bootstrap],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    story, _, summary = done.stdout.partition("\n\n")
    made = re.search(rf"Topic '(dekaf-demo-[\w-]+)' of {re.escape(kafka.bootstrap)}, made for this", story)
    assert made
    assert "'automatic' is KILLED" in story
    assert "100 orders in 4 partitions; 0 of them were lost." in summary
    assert "All of this was checked" in summary

    def gone() -> bool:
        try:
            kafka.describe_topic(made[1])
        except JavaError as error:
            return error.kind == "UnknownTopicOrPartitionException"
        return False

    wait_until("the topic to be gone", gone)
