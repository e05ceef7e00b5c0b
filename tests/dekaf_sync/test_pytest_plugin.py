"""The plugin, in runs of pytest of its own; in this process, which is quick."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dekaf_sync import Consumer, EmbeddedBroker

pytest_plugins = ["pytester"]

#: The runs in this process put sys.modules back: what is not loaded by now would be loaded by each of them anew.
LOADED = (Consumer, EmbeddedBroker)
#: The plugin by name: where dekaf is not installed, there is no entry point that pytest could find.
PLUGIN = ("-p", "dekaf_sync._pytest", "-p", "no:cacheprovider", "--strict-markers")


def test_a_broker_for_each_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from dekaf_sync import Consumer

        def test_one(dekaf_broker):
            dekaf_broker.create_topic("orders")
            dekaf_broker.append("orders", 0, [b"two teas"])
            assert dekaf_broker.topics == ["orders"]

        def test_another(dekaf_broker):
            assert dekaf_broker.topics == []
            assert dekaf_broker.nodes == [0]

        @pytest.mark.dekaf_broker(nodes=3, topics={"orders": 2})
        class TestMarked:
            def test_of_the_class(self, dekaf_broker):
                assert dekaf_broker.nodes == [0, 1, 2]
                with Consumer(bootstrap_servers=dekaf_broker.bootstrap_servers) as consumer:
                    assert len(consumer.partitions_for("orders")) == 2

            @pytest.mark.dekaf_broker(nodes=2)
            def test_of_its_own(self, dekaf_broker):
                assert dekaf_broker.nodes == [0, 1]

        @pytest.mark.dekaf_broker(2, topics={"orders": 1})
        def test_nodes_alone(dekaf_broker):
            assert (dekaf_broker.nodes, dekaf_broker.topics) == ([0, 1], ["orders"])
        """
    )
    pytester.runpytest_inprocess(*PLUGIN).assert_outcomes(passed=5)


def test_a_mark_with_topics_in_the_place_of_nodes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.dekaf_broker({"orders": 2})
        def test_it(dekaf_broker):
            assert False
        """
    )
    result = pytester.runpytest_inprocess(*PLUGIN)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*nodes have to be a number, at least 1, or different numbers from 0 on, not*orders*"])


def test_a_test_that_fails_leaves_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import threading

        def test_fails(dekaf_broker):
            assert False

        def test_after_it():
            assert not [thread for thread in threading.enumerate() if "embedded broker" in thread.name]
        """
    )
    pytester.runpytest_inprocess(*PLUGIN).assert_outcomes(passed=1, failed=1)


def test_options_that_do_not_exist_are_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.dekaf_broker(node=3)
        def test_it(dekaf_broker): ...
        """
    )
    result = pytester.runpytest_inprocess(*PLUGIN)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*unexpected keyword argument 'node'*"])


def test_importing_it_imports_nothing_of_dekaf() -> None:
    program = "import pytest, sys, dekaf_sync._pytest; print(sorted(m for m in sys.modules if m.startswith('dekaf_')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['dekaf_sync', 'dekaf_sync._pytest']"


def test_the_tests_of_the_documentation(pytester: pytest.Pytester) -> None:
    """Those that docs/testing.md shows; tools/check_docs.py runs its other blocks."""
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    pytester.makepyfile("\n".join(block for block in blocks if "def bill" in block or "def test_" in block))
    pytester.runpytest_inprocess(*PLUGIN).assert_outcomes(passed=4)
