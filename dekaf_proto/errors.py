"""Every exception that dekaf raises, and the one table of Kafka's error codes.

What a broker answers is a number; `ErrorCode` says for each number whether a retry can help, what the answer makes
stale (metadata, the coordinator) and which exception carries it to the user. Nothing else in the package keeps a list
of codes of its own: a rule that concerns a group of codes is a column here.

An exception tells what was wrong in attributes, not only in its text, and never holds a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dekaf_proto.types import TopicPartition

Invalidates = Literal["metadata", "coordinator"] | None


class KafkaError(Exception):
    """The base of everything that dekaf raises on purpose."""

    #: Whether the same call may succeed if it is made again.
    retriable: bool = False


# ---------------------------------------------------------------------------------------------- bytes and versions


class ProtocolError(KafkaError):
    """Bytes, or a value that was to become bytes, that the protocol does not allow."""


class DecodeError(ProtocolError):
    """Bytes that are not what the protocol says they are.

    `what` names the message and its version (`"FetchResponse v13"`), `path` the field
    (`"responses[2].partitions[0].records"`, empty where the message itself is meant) and `reason` what is wrong.
    """

    def __init__(self, what: str, path: str, reason: str) -> None:
        super().__init__(what, path, reason)
        self.what = what
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.what}: {self.path}: {self.reason}" if self.path else f"{self.what}: {self.reason}"


class EncodeError(ProtocolError):
    """A value that does not fit its field: wrong type, out of range, too long, or null where null is not allowed.

    The attributes are those of `DecodeError`. The text never shows the value itself, which may be a secret.
    """

    def __init__(self, what: str, path: str, reason: str) -> None:
        super().__init__(what, path, reason)
        self.what = what
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.what}: {self.path}: {self.reason}" if self.path else f"{self.what}: {self.reason}"


class FrameError(ProtocolError):
    """A frame whose announced size is negative or beyond the limit. The connection can't go on (W1, W2)."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(size, limit)
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        if self.size < 0:
            return f"a frame announces a size of {self.size} bytes"
        return f"a frame of {self.size} bytes exceeds the limit of {self.limit}"


# ------------------------------------------------------------------------------------------ connections and waiting


class ConnectionLostError(KafkaError):
    """A broker could not be reached, or the connection broke before it answered (W11).

    Nothing is known about whether the broker did what it was asked. `causes` says, for each address that was tried,
    what went wrong there.
    """

    retriable = True

    def __init__(self, broker: str, causes: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(broker, tuple(causes))
        self.broker = broker
        self.causes = tuple(causes)

    def __str__(self) -> str:
        causes = "; ".join(f"{address}: {cause}" for address, cause in self.causes)
        return f"{self.broker} is not reachable ({causes})" if causes else f"{self.broker} is not reachable"


class KafkaTimeoutError(KafkaError):
    """An operation did not finish in its time; `last_error` is what it was last held up by, if anything."""

    retriable = True

    def __init__(self, operation: str, seconds: float, last_error: Exception | None = None) -> None:
        super().__init__(operation, seconds, last_error)
        self.operation = operation
        self.seconds = seconds
        self.last_error = last_error

    def __str__(self) -> str:
        text = f"{self.operation} did not finish in {self.seconds:g} s"
        return f"{text}: {self.last_error}" if self.last_error is not None else text


class OperationCancelledError(KafkaError):
    """The operation was cancelled before it was done."""


class NoGroupError(KafkaError):
    """A call about committed offsets of a consumer without a `group_id`."""

    def __str__(self) -> str:
        return "this consumer has no group_id, so there is nowhere to commit to and nothing committed"


class ClosedError(KafkaError):
    """The client is closed."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "the client is closed"


class LocalProtocolError(KafkaError):
    """A call that the present state does not allow: a mistake in the calling program, or in a driver."""


class WakeupError(KafkaError):
    """`wakeup()` was called: raised by the call that waited then, or by the next one that may wait."""

    def __str__(self) -> str:
        return "woken up by wakeup()"


class ConcurrentUseError(KafkaError):
    """A client that one thread is using was called by a second one."""


class ForkedError(KafkaError):
    """A client was used in a forked process: its connections and its thread are the parent's."""


class InternalError(KafkaError):
    """A bug in dekaf, after which the client can't go on. `__cause__` is what happened."""


# ---------------------------------------------------------------------------------------------- offsets and positions


class PartitionError(KafkaError):
    """Something about one partition or several: `partitions` names them."""

    def __init__(self, message: str, partitions: Iterable[TopicPartition]) -> None:
        self.partitions = tuple(partitions)
        super().__init__(message, self.partitions)
        self._message = message

    def __str__(self) -> str:
        return self._message


class NotAssignedError(PartitionError):
    """A call about a partition that this consumer does not have."""


class NoOffsetForPartitionError(PartitionError):
    """There is no committed offset, and `auto_offset_reset` is `none`. A seek brings the partitions to life."""


class OffsetOutOfRangeError(PartitionError):
    """The offset to read is not in the log (any more, or yet), and `auto_offset_reset` is `none`.

    `offsets` are the positions; a seek brings the partitions back to life.
    """

    def __init__(self, offsets: Mapping[TopicPartition, int]) -> None:
        where = ", ".join(f"{tp} at {offset}" for tp, offset in offsets.items())
        super().__init__(f"the log does not have the offset to read: {where}", offsets)
        self.offsets = dict(offsets)
        self.args = (self.offsets,)  # what pickle makes it of again


class LogTruncationError(PartitionError):
    """The log was cut off below the position and has other records there now (KIP-320); no reset policy to go by.

    `divergent_offset` is the first offset that differs, None if unknown.
    """

    def __init__(self, tp: TopicPartition, position: int, divergent_offset: int | None) -> None:
        at = "" if divergent_offset is None else f" from offset {divergent_offset} on"
        super().__init__(f"{tp}: the log has changed{at}, the position was {position}", [tp])
        self.args = (tp, position, divergent_offset)
        self.position = position
        self.divergent_offset = divergent_offset


class NoProgressError(PartitionError):
    """The broker sent data without one whole batch: asking again would bring the same (B20)."""

    def __init__(self, tp: TopicPartition, offset: int, size: int) -> None:
        super().__init__(f"{tp}: {size} bytes at offset {offset} hold no whole record batch", [tp])
        self.args = (tp, offset, size)
        self.offset = offset


class CommitError(PartitionError):
    """A commit that the broker refused for some partitions; `errors` says why for each. Others may be stored (P5)."""

    def __init__(self, errors: Mapping[TopicPartition, BrokerError]) -> None:
        why = ", ".join(f"{tp}: {error}" for tp, error in errors.items())
        super().__init__(f"not committed: {why}", errors)
        self.errors = dict(errors)
        self.args = (self.errors,)
        self.retriable = all(error.retriable for error in errors.values())


class AssignorError(KafkaError):
    """A partition assignment strategy failed, or gave an assignment that can't be used. `name` is the strategy's."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"the partition assignment strategy {self.name}: {self.reason}"


class UnsupportedVersionError(KafkaError):
    """A version, or a field, that the protocol version in use does not have (`needed` says which one has it)."""

    def __init__(self, message: str, needed: str = "") -> None:
        super().__init__(message, needed)
        self.needed = needed

    def __str__(self) -> str:
        return str(self.args[0])


class CorruptRecordError(KafkaError):
    """Record data that can't be trusted: a wrong checksum, a length that lies, a codec that fails.

    `topic`, `partition` and `offset` name the batch (`offset` is its base offset, or -1 where not even that could be
    read); the position is not moved, so that the program decides whether to seek past it. `next_offset` is where the
    batch ends, the place to seek to; -1 if its header can't be believed, as after a wrong checksum.
    """

    def __init__(self, topic: str, partition: int, offset: int, reason: str, next_offset: int = -1) -> None:
        super().__init__(topic, partition, offset, reason, next_offset)
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.reason = reason
        self.next_offset = next_offset

    def __str__(self) -> str:
        where = f"{self.topic}-{self.partition}"
        at = f"batch at offset {self.offset}" if self.offset >= 0 else "batch"
        return f"{where}: {at}: {self.reason}"


class DeserializationError(KafkaError):
    """A deserializer failed on a record's key or value (`field`); what it raised is `cause`, and `__cause__`.

    The position stays before the record: going on raises the same again until the program seeks, to `next_offset` if
    it wants to leave the record out.
    """

    def __init__(self, topic: str, partition: int, offset: int, field: str, cause: Exception) -> None:
        super().__init__(topic, partition, offset, field, cause)
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.next_offset = offset + 1
        self.field = field
        self.cause = cause
        self.__cause__ = cause  # a compiled `raise ... from` does not set it

    def __str__(self) -> str:
        # Not the cause's text: it may show the data.
        what = type(self.cause).__name__
        return f"{self.topic}-{self.partition}: the {self.field} of the record at offset {self.offset}: {what}"


class RecordTooLargeError(KafkaError):
    """A record that no batch of the configured size can hold."""


# --------------------------------------------------------------------------------------------------- configuration


class ConfigurationError(KafkaError):
    """An option that is unknown, not yet supported, or given a value that is not allowed.

    `option` is its name as it was written, `given` the value as Python shows it (empty where there is none to show, as
    for every secret) and `reason` what is wrong or what is allowed.
    """

    def __init__(self, option: str, reason: str, given: str = "") -> None:
        super().__init__(option, reason, given)
        self.option = option
        self.reason = reason
        self.given = given

    def __str__(self) -> str:
        return f"{self.option}={self.given}: {self.reason}" if self.given else f"{self.option}: {self.reason}"


# ------------------------------------------------------------------------------------------------ a broker's answers


class BrokerError(KafkaError):
    """An error code in a broker's answer.

    `code` is the number as the broker sent it, also where this version of dekaf does not know it; `name` is Kafka's
    name for it and `error_code` the row of the table. `message` is what the broker added, if it did.
    """

    def __init__(self, code: int, message: str | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.error_code = ErrorCode.of(code)
        self.retriable = self.error_code.retriable

    @property
    def name(self) -> str:
        """Kafka's name of the code, `UNKNOWN_SERVER_ERROR` where dekaf does not know it."""
        return self.error_code.name

    def __str__(self) -> str:
        known = f"{self.name} ({self.code})"
        return f"{known}: {self.message}" if self.message else known


class UnknownTopicError(BrokerError):
    """The broker does not know the topic, the partition or the topic id (3, 100, 103)."""


class InvalidTopicError(BrokerError):
    """The name can't be a topic's name (17)."""


class LeaderError(BrokerError):
    """The broker asked is not, or not yet, the one that can answer for the partition (5, 6, 9, 74, 75)."""


class OffsetOutOfRangeCodeError(BrokerError):
    """The offset is outside the log (1)."""


class CoordinatorError(BrokerError):
    """The group's or transaction's coordinator is loading, absent or elsewhere (14, 15, 16)."""


class RequestTimedOutError(BrokerError):
    """The broker did not finish in the time that the request gave it (7)."""


class CorruptMessageError(BrokerError):
    """The broker found a checksum or a format wrong (2, 87)."""


class MessageTooLargeError(BrokerError):
    """More bytes than the topic takes (10, 18)."""


class RebalanceError(BrokerError):
    """The member no longer belongs to the generation in which it spoke: normal in a rebalance (22, 25, 27)."""


class IllegalGenerationError(RebalanceError):
    """The group has moved on to a newer generation (22)."""


class UnknownMemberIdError(RebalanceError):
    """The group has removed this member (25)."""


class RebalanceInProgressError(RebalanceError):
    """The group is rebalancing; go on polling, then try again (27)."""


class CommitFailedError(RebalanceError):
    """The member does not own the partitions any more: somebody else goes on from what was committed before.

    `cause` says how it lost them, and `since` when that was, in Unix time, 0 if that is not known. It is no use to try
    again.
    """

    def __init__(self, cause: str, since: float, partitions: Sequence[TopicPartition] = (), code: int = 25) -> None:
        super().__init__(code, None)
        self.args = (cause, since, partitions, code)
        self.cause = cause
        self.since = since
        self.partitions = tuple(partitions)
        self.retriable = False

    def __str__(self) -> str:
        from datetime import datetime, timezone

        names = ", ".join(map(str, self.partitions)) or "its partitions"
        when = datetime.fromtimestamp(self.since, timezone.utc).isoformat(" ", "milliseconds")
        owns = f"own {names} any more, since {when}" if self.since else f"own {names}"
        return (
            f"the commit was refused: this member does not {owns}, because {self.cause}. "
            "Whoever owns them now reads on from the last commit; go on polling"
        )


class FencedInstanceIdError(BrokerError):
    """Another member uses the same `group_instance_id` (82). Fatal: two programs run under one name."""


class MemberEpochError(BrokerError):
    """The member's epoch in the consumer protocol is fenced or stale (110, 113)."""


class UnstableOffsetCommitError(BrokerError):
    """A transaction that commits offsets for these partitions is not finished (88)."""


class AuthorizationError(BrokerError):
    """The user may not do this (29, 30, 31, 53, 65)."""


class TopicAuthorizationError(AuthorizationError):
    """No access to the topic (29)."""


class GroupAuthorizationError(AuthorizationError):
    """No access to the group (30)."""


class ClusterAuthorizationError(AuthorizationError):
    """No access to the cluster (31)."""


class TransactionalIdAuthorizationError(AuthorizationError):
    """No access to the transactional id (53)."""


class AuthenticationError(BrokerError):
    """The broker did not accept who we say we are (33, 34, 58)."""


class UnsupportedVersionCodeError(BrokerError):
    """The broker does not know the version of the request (35)."""


class TopicAlreadyExistsError(BrokerError):
    """A topic of this name exists (36)."""


class ProducerFencedError(BrokerError):
    """A newer producer uses the same transactional id, or the epoch is old (47, 90). Fatal for this producer."""


class SequenceError(BrokerError):
    """An idempotent producer's sequence has a gap, or the broker has forgotten it (45, 46, 59)."""


class TransactionError(BrokerError):
    """The transaction can't go on as asked (48, 49, 50, 51, 52, 105)."""


class TransactionAbortableError(BrokerError):
    """The transaction has to be aborted; the producer can then go on (120)."""


class FetchSessionError(BrokerError):
    """The broker does not know the fetch session, or its epoch (70, 71, 106)."""


class RebootstrapRequiredError(BrokerError):
    """The cluster behind the addresses has changed: start again from the bootstrap addresses (129)."""


class ErrorCode(IntEnum):
    """Kafka's error codes, as of 4.4: number, whether a retry may help, what it makes stale, exception.

    `retriable` and `invalidates` follow Java's classification (`RetriableException`, `InvalidMetadataException`,
    `RefreshRetriableException`).
    """

    retriable: bool
    invalidates: Invalidates
    exception: type[BrokerError]

    def __new__(
        cls,
        code: int,
        retriable: bool = False,
        invalidates: Invalidates = None,
        exception: type[BrokerError] = BrokerError,
    ) -> ErrorCode:
        member = int.__new__(cls, code)
        member._value_ = code
        member.retriable = retriable
        member.invalidates = invalidates
        member.exception = exception
        return member

    @classmethod
    def of(cls, code: int) -> ErrorCode:
        """The row for `code`; an unknown number is treated as UNKNOWN_SERVER_ERROR (appendix A)."""
        try:
            return cls(code)
        except ValueError:
            return cls.UNKNOWN_SERVER_ERROR

    # name = number, retriable, what it invalidates, exception
    UNKNOWN_SERVER_ERROR = -1
    NONE = 0
    OFFSET_OUT_OF_RANGE = 1, False, None, OffsetOutOfRangeCodeError
    CORRUPT_MESSAGE = 2, True, None, CorruptMessageError
    UNKNOWN_TOPIC_OR_PARTITION = 3, True, "metadata", UnknownTopicError
    INVALID_FETCH_SIZE = 4
    LEADER_NOT_AVAILABLE = 5, True, "metadata", LeaderError
    NOT_LEADER_OR_FOLLOWER = 6, True, "metadata", LeaderError
    REQUEST_TIMED_OUT = 7, True, None, RequestTimedOutError
    BROKER_NOT_AVAILABLE = 8
    REPLICA_NOT_AVAILABLE = 9, True, "metadata", LeaderError
    MESSAGE_TOO_LARGE = 10, False, None, MessageTooLargeError
    STALE_CONTROLLER_EPOCH = 11
    OFFSET_METADATA_TOO_LARGE = 12
    NETWORK_EXCEPTION = 13, True, "metadata"
    COORDINATOR_LOAD_IN_PROGRESS = 14, True, None, CoordinatorError
    COORDINATOR_NOT_AVAILABLE = 15, True, "coordinator", CoordinatorError
    NOT_COORDINATOR = 16, True, "coordinator", CoordinatorError
    INVALID_TOPIC_EXCEPTION = 17, False, None, InvalidTopicError
    RECORD_LIST_TOO_LARGE = 18, False, None, MessageTooLargeError
    NOT_ENOUGH_REPLICAS = 19, True
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20, True
    INVALID_REQUIRED_ACKS = 21
    ILLEGAL_GENERATION = 22, False, None, IllegalGenerationError
    INCONSISTENT_GROUP_PROTOCOL = 23
    INVALID_GROUP_ID = 24
    UNKNOWN_MEMBER_ID = 25, False, None, UnknownMemberIdError
    INVALID_SESSION_TIMEOUT = 26
    REBALANCE_IN_PROGRESS = 27, False, None, RebalanceInProgressError
    INVALID_COMMIT_OFFSET_SIZE = 28
    TOPIC_AUTHORIZATION_FAILED = 29, False, None, TopicAuthorizationError
    GROUP_AUTHORIZATION_FAILED = 30, False, None, GroupAuthorizationError
    CLUSTER_AUTHORIZATION_FAILED = 31, False, None, ClusterAuthorizationError
    INVALID_TIMESTAMP = 32
    UNSUPPORTED_SASL_MECHANISM = 33, False, None, AuthenticationError
    ILLEGAL_SASL_STATE = 34, False, None, AuthenticationError
    UNSUPPORTED_VERSION = 35, False, None, UnsupportedVersionCodeError
    TOPIC_ALREADY_EXISTS = 36, False, None, TopicAlreadyExistsError
    INVALID_PARTITIONS = 37
    INVALID_REPLICATION_FACTOR = 38
    INVALID_REPLICA_ASSIGNMENT = 39
    INVALID_CONFIG = 40
    NOT_CONTROLLER = 41, True
    INVALID_REQUEST = 42
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43
    POLICY_VIOLATION = 44
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45, False, None, SequenceError
    DUPLICATE_SEQUENCE_NUMBER = 46, False, None, SequenceError
    INVALID_PRODUCER_EPOCH = 47, False, None, ProducerFencedError
    INVALID_TXN_STATE = 48, False, None, TransactionError
    INVALID_PRODUCER_ID_MAPPING = 49, False, None, TransactionError
    INVALID_TRANSACTION_TIMEOUT = 50, False, None, TransactionError
    CONCURRENT_TRANSACTIONS = 51, True, None, TransactionError
    TRANSACTION_COORDINATOR_FENCED = 52, False, None, TransactionError
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53, False, None, TransactionalIdAuthorizationError
    SECURITY_DISABLED = 54
    OPERATION_NOT_ATTEMPTED = 55
    KAFKA_STORAGE_ERROR = 56, True, "metadata"
    LOG_DIR_NOT_FOUND = 57
    SASL_AUTHENTICATION_FAILED = 58, False, None, AuthenticationError
    UNKNOWN_PRODUCER_ID = 59, False, None, SequenceError
    REASSIGNMENT_IN_PROGRESS = 60
    DELEGATION_TOKEN_AUTH_DISABLED = 61
    DELEGATION_TOKEN_NOT_FOUND = 62
    DELEGATION_TOKEN_OWNER_MISMATCH = 63
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED = 64
    DELEGATION_TOKEN_AUTHORIZATION_FAILED = 65, False, None, AuthorizationError
    DELEGATION_TOKEN_EXPIRED = 66
    INVALID_PRINCIPAL_TYPE = 67
    NON_EMPTY_GROUP = 68
    GROUP_ID_NOT_FOUND = 69
    FETCH_SESSION_ID_NOT_FOUND = 70, True, None, FetchSessionError
    INVALID_FETCH_SESSION_EPOCH = 71, True, None, FetchSessionError
    LISTENER_NOT_FOUND = 72, True, "metadata"
    TOPIC_DELETION_DISABLED = 73
    FENCED_LEADER_EPOCH = 74, True, "metadata", LeaderError
    UNKNOWN_LEADER_EPOCH = 75, True, None, LeaderError
    UNSUPPORTED_COMPRESSION_TYPE = 76
    STALE_BROKER_EPOCH = 77
    OFFSET_NOT_AVAILABLE = 78, True
    MEMBER_ID_REQUIRED = 79
    PREFERRED_LEADER_NOT_AVAILABLE = 80, True, "metadata"
    GROUP_MAX_SIZE_REACHED = 81
    FENCED_INSTANCE_ID = 82, False, None, FencedInstanceIdError
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83, True, "metadata"
    ELECTION_NOT_NEEDED = 84, True, "metadata"
    NO_REASSIGNMENT_IN_PROGRESS = 85
    GROUP_SUBSCRIBED_TO_TOPIC = 86
    INVALID_RECORD = 87, False, None, CorruptMessageError
    UNSTABLE_OFFSET_COMMIT = 88, True, None, UnstableOffsetCommitError
    THROTTLING_QUOTA_EXCEEDED = 89, True
    PRODUCER_FENCED = 90, False, None, ProducerFencedError
    RESOURCE_NOT_FOUND = 91
    DUPLICATE_RESOURCE = 92
    UNACCEPTABLE_CREDENTIAL = 93
    INCONSISTENT_VOTER_SET = 94
    INVALID_UPDATE_VERSION = 95
    FEATURE_UPDATE_FAILED = 96
    PRINCIPAL_DESERIALIZATION_FAILURE = 97
    SNAPSHOT_NOT_FOUND = 98
    POSITION_OUT_OF_RANGE = 99
    UNKNOWN_TOPIC_ID = 100, True, "metadata", UnknownTopicError
    DUPLICATE_BROKER_REGISTRATION = 101
    BROKER_ID_NOT_REGISTERED = 102
    INCONSISTENT_TOPIC_ID = 103, True, "metadata", UnknownTopicError
    INCONSISTENT_CLUSTER_ID = 104
    TRANSACTIONAL_ID_NOT_FOUND = 105, False, None, TransactionError
    FETCH_SESSION_TOPIC_ID_ERROR = 106, True, None, FetchSessionError
    INELIGIBLE_REPLICA = 107
    NEW_LEADER_ELECTED = 108
    OFFSET_MOVED_TO_TIERED_STORAGE = 109
    FENCED_MEMBER_EPOCH = 110, False, None, MemberEpochError
    UNRELEASED_INSTANCE_ID = 111
    UNSUPPORTED_ASSIGNOR = 112
    STALE_MEMBER_EPOCH = 113, False, None, MemberEpochError
    MISMATCHED_ENDPOINT_TYPE = 114
    UNSUPPORTED_ENDPOINT_TYPE = 115
    UNKNOWN_CONTROLLER_ID = 116
    UNKNOWN_SUBSCRIPTION_ID = 117
    TELEMETRY_TOO_LARGE = 118
    INVALID_REGISTRATION = 119
    TRANSACTION_ABORTABLE = 120, False, None, TransactionAbortableError
    INVALID_RECORD_STATE = 121
    SHARE_SESSION_NOT_FOUND = 122, True
    INVALID_SHARE_SESSION_EPOCH = 123, True
    FENCED_STATE_EPOCH = 124
    INVALID_VOTER_KEY = 125
    DUPLICATE_VOTER = 126
    VOTER_NOT_FOUND = 127
    INVALID_REGULAR_EXPRESSION = 128
    REBOOTSTRAP_REQUIRED = 129, False, None, RebootstrapRequiredError
    STREAMS_INVALID_TOPOLOGY = 130
    STREAMS_INVALID_TOPOLOGY_EPOCH = 131
    STREAMS_TOPOLOGY_FENCED = 132
    SHARE_SESSION_LIMIT_REACHED = 133, True
    GROUP_DELETION_FAILED = 134
    STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED = 135
    CONTROLLER_ID_NOT_REGISTERED = 136


def broker_error(code: int, message: str | None = None) -> BrokerError:
    """The exception for an error code of a broker's answer.

    >>> broker_error(16)
    CoordinatorError(16, None)
    >>> str(broker_error(16))
    'NOT_COORDINATOR (16)'
    """
    return ErrorCode.of(code).exception(code, message)
