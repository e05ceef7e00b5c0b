"""Options: what each takes and refuses, what the errors say, and the reference that is made from them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dekaf_proto.config import ConsumerConfig, ConsumerOptions, HostPort, OffsetReset, parse_bootstrap_servers
from dekaf_proto.errors import ConfigurationError, KafkaError
from dekaf_proto.group.assignor import Assignor
from dekaf_proto.options import INT32, INT64, KEY, Option, Options, text
from dekaf_proto.records.compression import MAX_DECOMPRESSED_SIZE
from dekaf_proto.types import IsolationLevel
from tools import make_config_docs

SERDES = "org.apache.kafka.common.serialization."


def make(**options: Any) -> ConsumerConfig[Any, Any]:
    return ConsumerConfig(**{"bootstrap_servers": "localhost", **options})


def refusal(**options: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        make(**options)
    return str(caught.value)


def read(properties: Mapping[str, object]) -> ConsumerConfig[Any, Any]:
    return ConsumerConfig.from_properties({"bootstrap.servers": "localhost", **properties})


def misread(properties: Mapping[str, object]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(properties)
    return str(caught.value)


# --------------------------------------------------------------------------------------------------------- defaults


def test_defaults_are_those_of_javas_consumer() -> None:
    expected = {
        "client_id": "dekaf",
        "client_rack": "",
        "security_protocol": "PLAINTEXT",
        "group_id": None,
        "group_protocol": "classic",
        "partition_assignment_strategy": ("range", "cooperative-sticky"),
        "group_instance_id": None,
        "session_timeout_ms": 45_000,
        "heartbeat_interval_ms": 3_000,
        "max_poll_interval_ms": 300_000,
        "exclude_internal_topics": True,
        "auto_offset_reset": OffsetReset("latest"),
        "enable_auto_commit": True,
        "auto_commit_interval_ms": 5000,
        "enable_auto_offset_store": True,
        "recommit_interval_ms": 0,
        "delivery": "at_least_once",
        "acknowledgement_mode": "implicit",
        "max_unacknowledged_records": 10_000,
        "revocation_drain_ms": 5_000,
        "isolation_level": IsolationLevel.READ_UNCOMMITTED,
        "key_deserializer": None,
        "value_deserializer": None,
        "max_poll_records": 500,
        "check_crcs": True,
        "fetch_min_bytes": 1,
        "fetch_max_wait_ms": 500,
        "fetch_max_bytes": 52428800,
        "max_partition_fetch_bytes": 1048576,
        "fetch_max_buffered_bytes": 32 * 1024 * 1024,
        "max_decompressed_batch_bytes": MAX_DECOMPRESSED_SIZE,
        "receive_message_max_bytes": 100_000_000,
        "allow_auto_create_topics": True,
        "metadata_max_age_ms": 300000,
        "metadata_recovery_strategy": "rebootstrap",
        "metadata_recovery_rebootstrap_trigger_ms": 300000,
        "metadata_cluster_check_enable": True,
        "request_timeout_ms": 30000,
        "default_api_timeout_ms": 60000,
        "close_timeout_ms": 30000,
        "retry_backoff_ms": 100,
        "retry_backoff_max_ms": 1000,
        "reconnect_backoff_ms": 50,
        "reconnect_backoff_max_ms": 1000,
        "socket_connection_setup_timeout_ms": 10000,
        "socket_connection_setup_timeout_max_ms": 30000,
        "connections_max_idle_ms": 540000,
    }
    assert ConsumerConfig.defaults() == expected
    assert list(ConsumerConfig.options()) == ["bootstrap_servers", *expected]
    config = make(group_id="billing")
    assert {name: getattr(config, name) for name in expected} == expected | {"group_id": "billing"}


def test_every_default_is_allowed_as_a_value() -> None:
    defaults = ConsumerConfig.defaults()
    for name, option in ConsumerConfig.options().items():
        if name in defaults:
            assert option.check(name, defaults[name]) is defaults[name], name


def test_type_checkers_see_the_same_options() -> None:
    assert [*ConsumerOptions.__annotations__] == [
        name for name in ConsumerConfig.options() if not name.endswith("_deserializer")
    ]


def test_bootstrap_servers_are_required() -> None:
    with pytest.raises(ConfigurationError) as caught:
        ConsumerConfig()
    assert str(caught.value) == 'bootstrap_servers: is required: "host:port,host2:port" or a sequence of such'
    assert caught.value.given == ""
    with pytest.raises(ConfigurationError, match=r"^bootstrap\.servers: is required"):
        ConsumerConfig.from_properties({})


# -------------------------------------------------------------------------------------------------------- each kind

INTEGERS = {  # option -> lowest, highest
    "session_timeout_ms": (1, INT32),
    "heartbeat_interval_ms": (1, INT32),
    "max_poll_interval_ms": (1, INT32),
    "recommit_interval_ms": (0, INT64),
    "max_unacknowledged_records": (1, INT32),
    "revocation_drain_ms": (0, INT32),
    "auto_commit_interval_ms": (1, INT32),
    "max_poll_records": (1, INT32),
    "fetch_min_bytes": (1, INT32),
    "fetch_max_wait_ms": (1, INT32),
    "fetch_max_bytes": (1, INT32),
    "max_partition_fetch_bytes": (1, INT32),
    "fetch_max_buffered_bytes": (1, INT64),
    "max_decompressed_batch_bytes": (1, INT32),
    "receive_message_max_bytes": (1000, INT32),
    "metadata_max_age_ms": (1, INT64),
    "metadata_recovery_rebootstrap_trigger_ms": (0, INT64),
    "request_timeout_ms": (1, INT32),
    "default_api_timeout_ms": (1, INT32),
    "close_timeout_ms": (0, INT32),
    "retry_backoff_ms": (0, INT64),
    "retry_backoff_max_ms": (0, INT64),
    "reconnect_backoff_ms": (0, INT64),
    "reconnect_backoff_max_ms": (0, INT64),
    "socket_connection_setup_timeout_ms": (1, INT64),
    "socket_connection_setup_timeout_max_ms": (1, INT64),
    "connections_max_idle_ms": (1, INT64),
}
BOOLEANS = [
    "exclude_internal_topics",
    "enable_auto_commit",
    "enable_auto_offset_store",
    "check_crcs",
    "allow_auto_create_topics",
    "metadata_cluster_check_enable",
]


def test_every_option_belongs_to_a_test() -> None:
    own = {
        "bootstrap_servers",
        "client_id",
        "client_rack",
        "security_protocol",
        "group_id",
        "group_protocol",
        "partition_assignment_strategy",
        "group_instance_id",
        "delivery",
        "acknowledgement_mode",
        "auto_offset_reset",
        "isolation_level",
        "key_deserializer",
        "value_deserializer",
        "metadata_recovery_strategy",
    }
    assert own | INTEGERS.keys() | {*BOOLEANS} == ConsumerConfig.options().keys()


@pytest.mark.parametrize("name", INTEGERS)
def test_integers(name: str) -> None:
    low, high = INTEGERS[name]
    option = ConsumerConfig.options()[name]  # alone: as part of a whole the extremes contradict other options
    assert option.check(name, low) == low
    assert option.check(name, high) == high
    unit = "ms" if name.endswith("_ms") else "bytes" if name.endswith("_bytes") else "records"
    for wrong in (low - 1, high + 1, True, 1.0, "5", None):
        assert refusal(**{name: wrong}) == f"{name}={wrong!r}: must be an integer from {low} to {high} ({unit})"


@pytest.mark.parametrize("name", BOOLEANS)
def test_booleans(name: str) -> None:
    for right in (True, False):
        assert getattr(make(group_id="billing", **{name: right}), name) is right
    for wrong in (1, 0, "true", None):
        assert refusal(**{name: wrong}) == f"{name}={wrong!r}: must be True or False"


@pytest.mark.parametrize(
    "name, right, wrong, allowed",
    [
        ("client_id", ["billing-1"], ["", None, b"x"], "a string that is not empty"),
        ("client_rack", ["", "eu-1a"], [None, 1], "a string"),
        ("group_id", [None, "billing"], ["", 7], "a string that is not empty, or None"),
        ("security_protocol", ["PLAINTEXT"], ["plaintext", None], '"PLAINTEXT"'),
        ("group_protocol", ["classic"], ["streams", None], '"classic"'),
        ("metadata_recovery_strategy", ["rebootstrap", "none"], ["no", None, []], '"rebootstrap" or "none"'),
    ],
)
def test_strings(name: str, right: list[object], wrong: list[object], allowed: str) -> None:
    for value in right:
        assert getattr(make(**{name: value}), name) == value
    for value in wrong:
        assert refusal(**{name: value}) == f"{name}={value!r}: must be {allowed}"


def test_isolation_level() -> None:
    assert make(isolation_level="read_committed").isolation_level is IsolationLevel.READ_COMMITTED
    assert make(isolation_level=IsolationLevel.READ_COMMITTED).isolation_level is IsolationLevel.READ_COMMITTED
    for wrong in (1, "READ_COMMITTED", None):
        expected = f'isolation_level={wrong!r}: must be "read_uncommitted" or "read_committed"'
        assert refusal(isolation_level=wrong) == expected


@pytest.mark.parametrize("name", ["key_deserializer", "value_deserializer"])
def test_deserializers(name: str) -> None:
    assert getattr(make(**{name: json.loads}), name) is json.loads
    assert getattr(make(**{name: None}), name) is None
    assert refusal(**{name: "json"}) == (
        f"{name}='json': must be a callable that takes bytes, or None"
        " (from_properties also knows Java's ByteArrayDeserializer and StringDeserializer)"
    )


if TYPE_CHECKING:  # mypy is the test

    def types_of_keys_and_values_follow_from_the_deserializers() -> None:
        from typing_extensions import assert_type

        assert_type(ConsumerConfig(bootstrap_servers="a"), ConsumerConfig[bytes | None, bytes | None])
        decoded = ConsumerConfig(bootstrap_servers="a", key_deserializer=bytes.decode, value_deserializer=len)
        assert_type(decoded, ConsumerConfig[str | None, int | None])
        assert_type(decoded.replace(group_id="g"), ConsumerConfig[str | None, int | None])
        ConsumerConfig(gruop_id="g")  # type: ignore[call-arg]


# ---------------------------------------------------------------------------------------------------------- servers


@pytest.mark.parametrize(
    "given, servers",
    [
        ("localhost", [("localhost", 9092)]),
        ("kafka-1.example.com.:1", [("kafka-1.example.com.", 1)]),
        (" a:1 , b_2:65535", [("a", 1), ("b_2", 65535)]),
        ("127.0.0.1:9093,[::1],[fe80::1%eth0]:9094", [("127.0.0.1", 9093), ("::1", 9092), ("fe80::1%eth0", 9094)]),
        (["a:1", "b:2,c:3"], [("a", 1), ("b", 2), ("c", 3)]),
        (("a:1", HostPort("::1", 2)), [("a", 1), ("::1", 2)]),
        ("a:1,b:2,a:1", [("a", 1), ("b", 2)]),
    ],
)
def test_bootstrap_servers(given: Any, servers: list[tuple[str, int]]) -> None:
    assert parse_bootstrap_servers(given) == tuple(HostPort(*server) for server in servers)
    assert make(bootstrap_servers=given).bootstrap_servers == tuple(servers)


@pytest.mark.parametrize(
    "given, reason",
    [
        ("", "names no server"),
        ([], "names no server"),
        (" ", "' ' is not host:port"),
        ("a:1,", "'' is not host:port"),
        ([""], "'' is not host:port"),
        ("a b:1", "'a b:1' is not host:port"),
        ("a:port", "'a:port' is not host:port"),
        ("a:", "'a:' is not host:port"),
        (":9092", "':9092' is not host:port"),
        ("a:0", "'a:0' has no port from 1 to 65535"),
        ("a:1,b:65536", "'b:65536' has no port from 1 to 65535"),
        ("a:999999", "'a:999999' is not host:port"),
        ("PLAINTEXT://a:1", "'PLAINTEXT://a:1' is not host:port, without a protocol"),
        ("::1", "'::1' is not host:port, an IPv6 address in brackets: [::1]:9092"),
        ("[a]:1", "'[a]:1' is not host:port"),
        (["a", 7], "7 is not a string"),
        ([b"a"], "b'a' is not a string"),
        (None, 'must be "host:port,host2:port" or a sequence of such'),
        (b"a:1", 'must be "host:port,host2:port" or a sequence of such'),
        ({"a:1"}, 'must be "host:port,host2:port" or a sequence of such'),
    ],
)
def test_malformed_bootstrap_servers_are_quoted(given: object, reason: str) -> None:
    assert refusal(bootstrap_servers=given) == f"bootstrap_servers={given!r}: {reason}"


def test_addresses_are_shown_as_they_are_written() -> None:
    assert [str(server) for server in parse_bootstrap_servers("a:1,[::1]")] == ["a:1", "[::1]:9092"]


# ------------------------------------------------------------------------------------------------------------ reset


@pytest.mark.parametrize("kind", ["earliest", "latest", "none"])
def test_reset_by_name(kind: Any) -> None:
    assert make(auto_offset_reset=kind).auto_offset_reset == OffsetReset(kind)
    assert str(OffsetReset(kind)) == kind


@pytest.mark.parametrize(
    "duration, ms",
    [
        ("PT1H", 3_600_000),
        ("P7D", 604_800_000),
        ("P1DT2H3M4.5S", 93_784_500),
        ("PT0S", 0),
        ("PT0.0019S", 1),
        ("PT1,25S", 1_250),
        ("PT1.S", 1_000),
        ("pt90m", 5_400_000),
        ("PT9223372036854775.807S", INT64),
    ],
)
def test_reset_by_duration(duration: str, ms: int) -> None:
    reset = make(auto_offset_reset=f"by_duration:{duration}").auto_offset_reset
    assert reset == OffsetReset("duration", duration_ms=ms)


@pytest.mark.parametrize("duration", ["", "P", "PT", "P1DT", "1H", "P1H", "PT-1H", "-PT1H", "P1Y", "P1W", "PT1H "])
def test_reset_by_what_is_no_duration(duration: str) -> None:
    assert refusal(auto_offset_reset=f"by_duration:{duration}") == (
        f"auto_offset_reset='by_duration:{duration}': {duration!r} is not a duration as in ISO-8601, not negative:"
        " PnDTnHnMn.nS, say P7D or PT1H30M"
    )


def test_reset_by_too_long_a_duration() -> None:
    duration = "PT9223372036854775.808S"
    assert refusal(auto_offset_reset=f"by_duration:{duration}").endswith(f": {duration!r} is too long")


def test_reset_to_a_datetime() -> None:
    when = datetime(2024, 1, 2, 3, 4, 5, 6999, tzinfo=timezone(timedelta(hours=2)))
    reset = make(auto_offset_reset=when).auto_offset_reset
    assert reset == OffsetReset("timestamp", timestamp_ms=1_704_157_445_006)
    assert make(auto_offset_reset=reset).auto_offset_reset is reset
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    assert make(auto_offset_reset=epoch).auto_offset_reset.timestamp_ms == 0


def test_reset_to_a_datetime_without_a_zone_or_without_records() -> None:
    assert refusal(auto_offset_reset=datetime(2024, 1, 1)).endswith(
        ": a datetime must say its time zone, for instance datetime.now(timezone.utc)"
    )
    early = datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc)
    assert refusal(auto_offset_reset=early).endswith(": there are no records from before 1970")


@pytest.mark.parametrize("given", ["smallest", "by_duration", 0, None])
def test_reset_to_anything_else(given: object) -> None:
    assert refusal(auto_offset_reset=given) == (
        f'auto_offset_reset={given!r}: must be "earliest", "latest", "none", "by_duration:" and an ISO-8601 duration,'
        " or a datetime with a time zone"
    )


# ---------------------------------------------------------------------------------------------------- cross-checks


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"retry_backoff_ms": 1001}, "retry_backoff_max_ms=1000: must be at least retry_backoff_ms, which is 1001"),
        (
            {"reconnect_backoff_max_ms": 49},
            "reconnect_backoff_max_ms=49: must be at least reconnect_backoff_ms, which is 50",
        ),
        (
            {"socket_connection_setup_timeout_ms": 30001},
            "socket_connection_setup_timeout_max_ms=30000: must be at least socket_connection_setup_timeout_ms,"
            " which is 30001",
        ),
        (
            {"fetch_max_wait_ms": 30000},
            "fetch_max_wait_ms=30000: must be less than request_timeout_ms, which is 30000",
        ),
        (
            {"request_timeout_ms": 60001},
            "request_timeout_ms=60001: must be at most default_api_timeout_ms, which is 60000",
        ),
        (
            {"receive_message_max_bytes": 33554432},
            "receive_message_max_bytes=33554432: must be more than the smaller of fetch_max_bytes and"
            " fetch_max_buffered_bytes, which is 33554432",
        ),
        ({"enable_auto_commit": True}, "enable_auto_commit=True: needs a group_id"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, object], expected: str) -> None:
    assert refusal(**options) == expected


def test_options_that_agree() -> None:
    make(retry_backoff_ms=1000, reconnect_backoff_max_ms=50, socket_connection_setup_timeout_ms=30000)
    make(request_timeout_ms=60000, fetch_max_wait_ms=59999)
    make(receive_message_max_bytes=1001, fetch_max_bytes=1000)


def test_a_call_may_be_shorter_than_its_requests() -> None:
    assert make(default_api_timeout_ms=5000).default_api_timeout_ms == 5000


def test_without_a_group_nothing_is_committed_by_itself() -> None:
    config = make()
    assert config.enable_auto_commit is False
    assert config.replace(group_id="billing").enable_auto_commit is True
    assert make(enable_auto_commit=False).replace(group_id="billing").enable_auto_commit is False
    assert make(enable_auto_commit=True, group_id="billing").enable_auto_commit is True


# ------------------------------------------------------------------------------------------------------ other names


@pytest.mark.parametrize(
    "name, expected",
    [
        ("gruop_id", "gruop_id: unknown option, did you mean group_id?"),
        ("fetch_min_byte", "fetch_min_byte: unknown option, did you mean fetch_min_bytes?"),
        ("max_poll_interval", "max_poll_interval: unknown option, did you mean max_poll_interval_ms?"),
        ("GROUP_ID", "GROUP_ID: unknown option, write group_id"),
        ("group.id", "group.id: unknown option, write group_id (ConsumerConfig.from_properties takes Java's names)"),
        ("brokers", "brokers: unknown option, use bootstrap_servers"),
        ("fetch_wait_max_ms", "fetch_wait_max_ms: unknown option, use fetch_max_wait_ms"),
        ("fetch.wait.max.ms", "fetch.wait.max.ms: unknown option, use fetch_max_wait_ms"),
        ("api_version", "api_version: unknown option: versions are agreed on with each broker"),
        ("xyzzy", "xyzzy: unknown option"),
        ("_given", "_given: unknown option"),
    ],
)
def test_unknown_options(name: str, expected: str) -> None:
    assert refusal(**{name: "what nobody should see"}) == expected


@pytest.mark.parametrize(
    "name",
    [
        "ssl_cafile",
        "sasl_password",
        "sasl.jaas.config",
        "group_remote_assignor",
        "interceptors",
    ],
)
def test_options_of_later_versions(name: str) -> None:
    assert refusal(**{name: "what nobody should see"}) == f"{name}: not yet supported"


def test_values_of_later_versions() -> None:
    for name in ("SSL", "SASL_PLAINTEXT", "SASL_SSL"):
        expected = f"security_protocol='{name}': not yet supported; for now it must be \"PLAINTEXT\""
        assert refusal(security_protocol=name) == expected
    expected = "group_protocol='consumer': not yet supported; for now it must be \"classic\""
    assert refusal(group_protocol="consumer") == expected


def test_every_hint_points_at_an_option_or_explains() -> None:
    known = ConsumerConfig.options().keys()
    for name, hint in ConsumerConfig._HINTS.items():
        assert name not in known
        assert hint in known or " " in hint


# ----------------------------------------------------------------------------------------------------------- groups


class Mine(Assignor):
    name = "mine"


@pytest.mark.parametrize(
    "given, names",
    [
        ("sticky", ["sticky"]),
        (["roundrobin", "range"], ["roundrobin", "range"]),
        (("cooperative-sticky",), ["cooperative-sticky"]),
        (Mine(), ["mine"]),
        ([Mine(), "range"], ["mine", "range"]),
    ],
)
def test_assignment_strategies(given: Any, names: list[str]) -> None:
    found = read({"bootstrap.servers": "a", "partition.assignment.strategy": given}).partition_assignment_strategy
    assert [one if isinstance(one, str) else one.name for one in found] == names


def test_assignment_strategies_by_javas_names() -> None:
    package = "org.apache.kafka.clients.consumer"
    given = f"{package}.RangeAssignor, {package}.CooperativeStickyAssignor,{package}.StickyAssignor"
    config = read({"bootstrap.servers": "a", "partition.assignment.strategy": given})
    assert config.partition_assignment_strategy == ("range", "cooperative-sticky", "sticky")


@pytest.mark.parametrize(
    "given, reason",
    [
        ("rang", "'rang' is none of range, roundrobin, sticky, cooperative-sticky, and no Assignor"),
        (Mine, "must be"),
        ([Mine], "and no Assignor; give an object of Mine, not the class"),
        ([], 'must be "range"'),
        (7, 'must be "range"'),
        (["range", "range"], "range is given twice"),
    ],
)
def test_wrong_assignment_strategies(given: Any, reason: str) -> None:
    assert reason in refusal(partition_assignment_strategy=given)


def test_heartbeats_come_before_the_session_ends() -> None:
    expected = "heartbeat_interval_ms=3000: must be less than session_timeout_ms, which is 3000"
    assert refusal(session_timeout_ms=3000) == expected


@pytest.mark.parametrize(
    "options, expected",
    [
        (
            {"acknowledgement_mode": "explicit", "enable_auto_offset_store": False},
            "acknowledgement_mode='explicit': does not go with enable_auto_offset_store=False: "
            "both say what is finished",
        ),
        (
            {"delivery": "at_most_once", "acknowledgement_mode": "explicit"},
            "delivery='at_most_once': does not go with acknowledgement_mode='explicit': records are committed first",
        ),
        (
            {"delivery": "at_most_once", "enable_auto_offset_store": False},
            "delivery='at_most_once': does not go with enable_auto_offset_store=False: records are committed first",
        ),
        (
            {"delivery": "at_most_once", "enable_auto_commit": False},
            "delivery='at_most_once': does not go with enable_auto_commit=False: records are committed first",
        ),
    ],
)
def test_only_one_decides_what_is_committed(options: dict[str, Any], expected: str) -> None:
    assert refusal(group_id="g", **options) == expected


def test_at_most_once_needs_a_group() -> None:
    assert "does not go with group_id=None" in refusal(delivery="at_most_once")


# ------------------------------------------------------------------------------------------------- Java's properties


def test_properties_are_read_as_java_reads_them() -> None:
    config = read(
        {
            "group.id": "billing",
            "enable.auto.commit": "FALSE",
            "auto.commit.interval.ms": " 1000 ",
            "auto.offset.reset": "by_duration:PT1H",
            "isolation.level": "read_committed",
            "client.rack": "",
            "check.crcs": "true",
            "fetch.min.bytes": 7,
            "key.deserializer": f"{SERDES}ByteArrayDeserializer",
            "value.deserializer": f"{SERDES}StringDeserializer",
            "security.protocol": "PLAINTEXT",
        }
    )
    assert config == make(
        group_id="billing",
        enable_auto_commit=False,
        auto_commit_interval_ms=1000,
        auto_offset_reset="by_duration:PT1H",
        isolation_level="read_committed",
        fetch_min_bytes=7,
        value_deserializer=bytes.decode,
    )
    assert config.value_deserializer is not None
    assert config.value_deserializer("grüße".encode()) == "grüße"
    assert read({"value.deserializer": json.loads}).value_deserializer is json.loads


@pytest.mark.parametrize(
    "properties, expected",
    [
        ({"fetch.min.bytes": "many"}, f"fetch.min.bytes='many': must be an integer from 1 to {INT32} (bytes)"),
        ({"fetch.min.bytes": "-1"}, f"fetch.min.bytes=-1: must be an integer from 1 to {INT32} (bytes)"),
        ({"fetch.min.bytes": "9" * 20}, f"fetch.min.bytes='{'9' * 20}': must be an integer from 1 to {INT32} (bytes)"),
        ({"check.crcs": "1"}, "check.crcs='1': must be True or False"),
        ({"group.id": None, "enable.auto.commit": "true"}, "enable.auto.commit=True: needs a group.id"),
        ({"retry.backoff.ms": "2000"}, "retry.backoff.max.ms=1000: must be at least retry.backoff.ms, which is 2000"),
        ({"gruop.id": "x"}, "gruop.id: unknown option, did you mean group.id?"),
        ({"group_id": "x"}, "group_id: unknown option, write group.id"),
        ({"metadata.broker.list": "x"}, "metadata.broker.list: unknown option, use bootstrap.servers"),
        ({"ssl.cafile": "1"}, "ssl.cafile: not yet supported"),
        ({"ssl.keystore.password": "secret"}, "ssl.keystore.password: not yet supported"),
        (
            {"key.deserializer": f"{SERDES}IntegerDeserializer"},
            f"key.deserializer='{SERDES}IntegerDeserializer': must be a callable that takes bytes, or None"
            " (from_properties also knows Java's ByteArrayDeserializer and StringDeserializer)",
        ),
    ],
)
def test_errors_about_properties_use_javas_names(properties: dict[str, object], expected: str) -> None:
    assert misread(properties) == expected


# ---------------------------------------------------------------------------------------------------- as a value


def test_a_configuration_is_a_value() -> None:
    config = make(group_id="billing", value_deserializer=json.loads)
    same = make(group_id="billing", value_deserializer=json.loads, fetch_min_bytes=1)
    assert config == same
    assert hash(config) == hash(same)
    assert config != make()
    copy = pickle.loads(pickle.dumps(config))
    assert copy == config
    assert repr(copy) == repr(config)
    with pytest.raises(FrozenInstanceError):
        config.group_id = "audit"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        config.group = "audit"  # type: ignore[attr-defined]
    assert not hasattr(config, "__dict__")


def test_the_types_of_keys_and_values_may_be_said() -> None:
    config = ConsumerConfig[str, bytes](bootstrap_servers="localhost", key_deserializer=bytes.decode)
    assert config == ConsumerConfig(bootstrap_servers="localhost", key_deserializer=bytes.decode)


def test_replace_checks_again() -> None:
    config = make(group_id="billing", value_deserializer=json.loads, auto_offset_reset="earliest")
    audit = config.replace(group_id="audit", bootstrap_servers="b:1")
    assert audit == make(
        group_id="audit", bootstrap_servers="b:1", value_deserializer=json.loads, auto_offset_reset="earliest"
    )
    assert config.group_id == "billing"
    with pytest.raises(ConfigurationError, match=r"^retry_backoff_max_ms=1: must be at least"):
        config.replace(retry_backoff_max_ms=1)


def test_repr_shows_what_was_given() -> None:
    config = make(fetch_min_bytes=7, isolation_level="read_committed")
    assert repr(config) == (
        "ConsumerConfig(bootstrap_servers=(HostPort(host='localhost', port=9092),),"
        f" isolation_level={IsolationLevel.READ_COMMITTED!r}, fetch_min_bytes=7)"
    )


def test_errors_quote_long_values_in_part() -> None:
    shown = refusal(fetch_min_bytes="x" * 1000)
    assert shown.startswith(f"fetch_min_bytes='{'x' * 99}...: must be")


def test_the_error_says_what_it_is_about() -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(check_crcs=1)
    error = caught.value
    assert isinstance(error, KafkaError)
    assert not error.retriable
    assert (error.option, error.given, error.reason) == ("check_crcs", "1", "must be True or False")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def parse_token(given: object) -> str:
    raise ValueError(f"{given!r} is not a token")


@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False)
class Secretive(Options):
    password: str | None = text(None, "Proves who we are.", secret=True)
    token: str = field(default="", metadata={KEY: Option("a token", parse_token, "Likewise.", secret=True)})
    _given: frozenset[str] = field(compare=False)

    def __init__(self, **options: object) -> None:
        self._fill(options, str)


def test_secrets_are_never_shown() -> None:
    config = Secretive(password="hunter2")
    assert config.password == "hunter2"
    assert repr(config) == "Secretive(password=***)"
    with pytest.raises(ConfigurationError) as caught:
        Secretive(password=b"hunter2")
    assert str(caught.value) == "password: must be a string that is not empty, or None"
    with pytest.raises(ConfigurationError) as caught:
        Secretive(token="hunter2")
    assert str(caught.value) == "token: must be a token"
    with pytest.raises(ConfigurationError) as caught:
        Secretive(pasword="hunter2")
    assert "hunter2" not in str(caught.value.args)


# ------------------------------------------------------------------------------------------------------- around it


def test_the_reference_is_current() -> None:
    assert make_config_docs.main(["--check"]) == 0, "run tools/make_config_docs.py"


def test_a_reference_that_is_not_current_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_config_docs, "TARGET", tmp_path / "docs" / "configuration.md")
    assert make_config_docs.main(["--check"]) == 1
    assert capsys.readouterr().err == "configuration.md is not what tools/make_config_docs.py writes\n"
    assert make_config_docs.main([]) == 0
    assert make_config_docs.main(["--check"]) == 0


def test_the_reference_has_every_option_once() -> None:
    text = make_config_docs.document()
    for name, option in ConsumerConfig.options().items():
        assert text.count(f"\n| `{name}` |") == 1
        assert option.doc.endswith(".")
