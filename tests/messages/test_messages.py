"""The declarations as a whole, and the way to them: which APIs and versions there are, what is secret, what loads."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dekaf_proto import messages
from dekaf_proto.errors import EncodeError
from dekaf_proto.messages import ApiKey, request_class, response_class
from dekaf_proto.messages.create_topics import CreatableTopicConfig, CreatableTopicConfigs
from dekaf_proto.messages.describe_configs import DescribeConfigsResourceResult, DescribeConfigsSynonym
from dekaf_proto.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from dekaf_proto.messages.sasl_authenticate import SaslAuthenticateRequest, SaslAuthenticateResponse
from dekaf_proto.wire import encode
from dekaf_proto.wire.schema import Message, Request, Response, Struct, declared_fields
from tests.strategies import class_versions, message_classes

# ------------------------------------------------------------------------------------------------------------- the APIs

# Key, name, first and last version, first flexible one: from the table of the behaviour document (1.4), which was made
# by hand, where that gives them.
TABLE = [
    (0, "Produce", 3, 13, 9),  # W27
    (1, "Fetch", 4, 18, 12),
    (2, "ListOffsets", 1, 11, 6),
    (3, "Metadata", 0, 13, 9),
    (8, "OffsetCommit", 2, 10, 8),
    (9, "OffsetFetch", 1, 10, 6),
    (10, "FindCoordinator", 0, 6, 3),
    (11, "JoinGroup", 0, 9, 6),
    (12, "Heartbeat", 0, 4, 4),
    (13, "LeaveGroup", 0, 5, 4),
    (14, "SyncGroup", 0, 5, 4),
    (16, "ListGroups", 0, 5, 3),
    (17, "SaslHandshake", 0, 1, None),  # W6
    (18, "ApiVersions", 0, 5, 3),
    (19, "CreateTopics", 2, 7, 5),
    (20, "DeleteTopics", 1, 6, 4),
    (22, "InitProducerId", 0, 6, 2),
    (23, "OffsetForLeaderEpoch", 2, 4, 4),
    (24, "AddPartitionsToTxn", 0, 5, 3),
    (25, "AddOffsetsToTxn", 0, 4, 3),
    (26, "EndTxn", 0, 5, 3),
    (28, "TxnOffsetCommit", 0, 6, 3),
    (36, "SaslAuthenticate", 0, 2, 2),
    (42, "DeleteGroups", 0, 3, 2),
    (60, "DescribeCluster", 0, 2, 0),
    (68, "ConsumerGroupHeartbeat", 0, 1, 0),
    (71, "GetTelemetrySubscriptions", 0, 0, 0),
    (72, "PushTelemetry", 0, 0, 0),
    (75, "DescribeTopicPartitions", 0, 0, 0),
]


@pytest.mark.parametrize("key,name,first,last,flexible", TABLE, ids=[row[1] for row in TABLE])
def test_versions(key: int, name: str, first: int, last: int, flexible: int | None) -> None:  # W4
    for cls in (request_class(key), response_class(key)):
        assert cls.__name__.removesuffix("Request").removesuffix("Response") == name
        assert key == cls.API_KEY
        assert (cls.VERSIONS.min, cls.VERSIONS.max, cls.VERSIONS.flexible) == (first, last, flexible)


def test_only_one_version_is_not_advertised_yet() -> None:
    unstable = {c.__name__: c.VERSIONS.unstable for c in message_classes() if c.VERSIONS.unstable is not None}
    assert unstable == {"InitProducerIdRequest": 6}  # Kafka's schemas say it of requests only


def test_requests_and_responses_are_pairs() -> None:
    assert {row[0] for row in TABLE} <= set(ApiKey)
    for key in ApiKey:
        request, response = request_class(key), response_class(key)
        assert issubclass(request, Request)
        assert issubclass(response, Response)
        assert request.API_KEY == response.API_KEY == key
        assert request.VERSIONS[:3] == response.VERSIONS[:3]
        assert request.__name__.removesuffix("Request") == response.__name__.removesuffix("Response")
        assert request.__name__ == key.name.title().replace("_", "") + "Request"


def test_how_many_there_are() -> None:
    assert len(ApiKey) == 39
    assert len(message_classes()) == 2 * 39 + 4
    assert len(list(class_versions())) == 426  # the golden vectors have six lines of each: 2,556


@pytest.mark.parametrize("find", [request_class, response_class])
@pytest.mark.parametrize("key", [-1, 4, 100])
def test_there_is_no_such_api(find: object, key: int) -> None:
    assert callable(find)
    with pytest.raises(KeyError):
        find(key)


def test_there_is_no_such_message() -> None:
    with pytest.raises(AttributeError, match=r"^module 'dekaf_proto\.messages' has no attribute 'FetchReply'$"):
        messages.FetchReply  # noqa: B018


def test_messages_load_on_first_use() -> None:
    program = """
import sys
import dekaf_proto.messages as messages
assert "dekaf_proto.messages.fetch" not in sys.modules
assert "FetchRequest" in dir(messages)
assert "dekaf_proto.messages.fetch" not in sys.modules
assert messages.FetchRequest.__module__ == "dekaf_proto.messages.fetch"
assert "dekaf_proto.messages.metadata" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# ------------------------------------------------------------------------------------------------ the structures inside


def structures(cls: type[Struct]) -> Iterator[type[Struct]]:
    yield cls
    for field in declared_fields(cls):
        if field.struct is not None:
            yield from structures(field.struct)


def test_a_structure_that_two_messages_share_is_flexible_in_the_same_versions() -> None:
    # The codec keeps one plan for a structure in a version, whichever message it is in.
    flexible: dict[type[Struct], int | None] = {}
    for cls in message_classes():
        for struct in structures(cls):
            assert flexible.setdefault(struct, cls.VERSIONS.flexible) == cls.VERSIONS.flexible, struct


def test_every_element_of_an_array_takes_a_byte_or_more() -> None:
    # Which is why a count that exceeds the bytes left is refused (W16).
    for cls, version in class_versions():
        if cls.VERSIONS.is_flexible(version):
            continue  # an empty section of tagged fields is a byte
        for struct in structures(cls):
            for field in declared_fields(struct):
                if field.kind == "array" and field.struct is not None and version in field.versions:
                    assert any(version in inner.versions for inner in declared_fields(field.struct)), field.struct


def test_what_may_be_none_may_be_so_in_all_later_versions() -> None:
    """Else the encoder's "may not be None before version 1" would be half of the truth."""
    found: dict[tuple[type[Struct], str], list[bool]] = {}

    def look(cls: type[Struct], version: int) -> None:
        for field in declared_fields(cls):
            if version in field.versions:
                found.setdefault((cls, field.name), []).append(version in field.nullable)
                if field.struct is not None:
                    look(field.struct, version)

    for cls in message_classes():
        for version in range(cls.VERSIONS.min, cls.VERSIONS.max + 1):
            look(cls, version)
    assert [where for where, nullable in found.items() if nullable != sorted(nullable)] == []
    assert found[messages.MetadataRequest, "topics"] == [False] + [True] * 13  # so there is something to look at


def test_tagged_fields() -> None:  # W18
    for cls in message_classes():
        for struct in structures(cls):
            tags = [field.tag for field in declared_fields(struct) if field.tag is not None]
            assert len(tags) == len(set(tags)), struct
            for field in declared_fields(struct):
                if field.tag is not None:
                    assert cls.VERSIONS.flexible is not None
                    assert field.versions.first >= cls.VERSIONS.flexible, (struct, field.name)
                    # None stands for a structure at its default: there would be no telling it from a null one.
                    assert field.kind != "struct" or field.nullable.first > field.nullable.last, (struct, field.name)


def test_every_message_can_be_made_without_arguments() -> None:
    for cls in message_classes():
        assert cls() == cls()
        assert repr(cls()) == f"{cls.__name__}()"
        assert encode(cls(), cls.VERSIONS.max) == encode(cls(), cls.VERSIONS.max)


def test_the_client_id_keeps_its_long_length() -> None:  # W3
    kept = [(cls, f.name) for cls in message_classes() for f in declared_fields(cls) if not f.compact]
    assert kept == [(messages.RequestHeader, "client_id")]


# -------------------------------------------------------------------------------------------------------------- secrets


@pytest.mark.parametrize(
    "struct",
    [
        SaslAuthenticateRequest(auth_bytes=b"hunter2"),
        SaslAuthenticateResponse(auth_bytes=b"hunter2"),
        AlterableConfig("sasl.jaas.config", 0, "hunter2"),
        CreatableTopicConfig("some.password", "hunter2"),
        CreatableTopicConfigs("some.password", "hunter2"),
        DescribeConfigsResourceResult("some.password", "hunter2"),
        DescribeConfigsSynonym("some.password", "hunter2"),
    ],
    ids=lambda struct: type(struct).__name__,
)
def test_a_secret_is_not_shown(struct: Struct) -> None:
    assert "hunter2" not in repr(struct)
    assert "=..." in repr(struct)


def test_nothing_else_looks_like_a_secret() -> None:
    suspicious = {"value", "auth_bytes", "password", "salt", "salted_password", "token", "secret", "hmac"}
    shown = {
        (struct.__name__, field.name)
        for cls in message_classes()
        for struct in structures(cls)
        for field in dataclasses.fields(struct)
        if field.name in suspicious and field.repr
    }
    assert shown == set()


def test_a_secret_is_not_in_the_text_of_an_error() -> None:
    entry = AlterableConfig("sasl.jaas.config", 0, "hunter2\ud800")
    message: Message = IncrementalAlterConfigsRequest([AlterConfigsResource(2, "orders", [entry])])
    with pytest.raises(EncodeError) as caught:
        encode(message, 1)
    text = r"IncrementalAlterConfigsRequest v1: resources[0].configs[0].value: can't be written as UTF-8: "
    assert str(caught.value) == text + "surrogates not allowed"
