"""What a user can configure. Each option is one row, from which its check, its errors and docs/configuration.md derive.

Names are Kafka's in snake_case, with Java's defaults; where dekaf differs the row says so. A configuration is checked
once, when it is made, and never changes: engines and drivers read its fields and check nothing again. Options that
nothing implements yet are no fields; they are refused with `not yet supported`.

This module must not know what any option does to a connection, a fetch or a group, nor read an environment or a file.
"""

from __future__ import annotations

# ruff: noqa: RUF009 (the calls in the class are declarations, each of a dataclasses.field)
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Literal, NamedTuple, TypedDict, TypeVar

from dekaf_proto.options import INT32, INT64, KEY, Option, Options, boolean, choice, function, integer, option, text
from dekaf_proto.types import IsolationLevel

if TYPE_CHECKING:
    from datetime import datetime

    from typing_extensions import TypeVar as TypeVarWithDefault, Unpack

    from dekaf_proto.group.assignor import Assignor

    # What a deserializer makes of bytes, and bytes where there is none.
    T = TypeVarWithDefault("T", default=bytes)
    U = TypeVarWithDefault("U", default=bytes)

K = TypeVar("K")
V = TypeVar("V")


# ----------------------------------------------------------------------------------------------------------- values


class HostPort(NamedTuple):
    """Where a broker may be found: a name or an address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_SERVER: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?)\]|([\w.-]+))(?::([0-9]{1,5}))?")
_DEFAULT_PORT: Final = 9092


def parse_bootstrap_servers(servers: object) -> tuple[HostPort, ...]:
    """The brokers in `"host:port,host2:port"`, or in a sequence of such; ValueError quotes what can't be one.

    >>> parse_bootstrap_servers("kafka1:9093, kafka2, [::1]:9092")
    (HostPort(host='kafka1', port=9093), HostPort(host='kafka2', port=9092), HostPort(host='::1', port=9092))
    """
    entries: list[object]
    if isinstance(servers, str):
        entries = list(servers.split(","))
    elif isinstance(servers, Sequence) and not isinstance(servers, (bytes, bytearray)):
        entries = [part for entry in servers for part in (entry.split(",") if isinstance(entry, str) else [entry])]
    else:
        raise ValueError
    if not entries or servers == "":
        raise ValueError("names no server")
    return tuple(dict.fromkeys(map(_parse_server, entries)))  # each once, in the order given


def _parse_server(entry: object) -> HostPort:
    if isinstance(entry, HostPort):
        entry = str(entry)
    if not isinstance(entry, str):
        raise ValueError(f"{entry!r} is not a string")
    match = _SERVER.fullmatch(entry.strip())
    if match is None:
        hint = ""
        if "://" in entry:
            hint = ", without a protocol"
        elif entry.count(":") > 1:
            hint = ", an IPv6 address in brackets: [::1]:9092"
        raise ValueError(f"{entry!r} is not host:port{hint}")
    port = int(match[3] or _DEFAULT_PORT)
    if not 0 < port < 65536:
        raise ValueError(f"{entry!r} has no port from 1 to 65535")
    return HostPort(match[1] or match[2], port)


_DURATION: Final = re.compile(
    r"P(?=.)(?:([0-9]{1,19})D)?(?:T(?=.)(?:([0-9]{1,19})H)?(?:([0-9]{1,19})M)?(?:([0-9]{1,19})(?:[.,]([0-9]{0,9}))?S)?)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class OffsetReset:
    """Where a partition begins that has no committed offset, or whose offset is gone.

    `duration_ms` (kind `duration`) is how far back from now, which may be before 1970; `timestamp_ms` (kind
    `timestamp`) is Unix time.
    """

    kind: Literal["earliest", "latest", "none", "duration", "timestamp"]
    duration_ms: int | None = None
    timestamp_ms: int | None = None

    @classmethod
    def parse(cls, given: object) -> OffsetReset:
        """What a user gives for `auto_offset_reset`; ValueError says what is wrong with it.

        >>> OffsetReset.parse("by_duration:PT1H").duration_ms
        3600000
        """
        if isinstance(given, cls):
            return given
        if given == "earliest" or given == "latest" or given == "none":
            return cls(given)
        if isinstance(given, str) and given.startswith("by_duration:"):
            return cls("duration", duration_ms=_parse_duration(given.removeprefix("by_duration:")))
        from datetime import datetime, timedelta, timezone

        if not isinstance(given, datetime):
            raise ValueError
        if given.utcoffset() is None:
            raise ValueError("a datetime must say its time zone, for instance datetime.now(timezone.utc)")
        timestamp = (given - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(milliseconds=1)
        if timestamp < 0:
            raise ValueError("there are no records from before 1970")
        return cls("timestamp", timestamp_ms=timestamp)

    def __str__(self) -> str:
        return self.kind


def _parse_duration(given: str) -> int:
    """An ISO-8601 duration as Java reads it (KIP-1106), in milliseconds; what is smaller than one is cut off."""
    match = _DURATION.fullmatch(given)
    if match is None:
        raise ValueError(f"{given!r} is not a duration as in ISO-8601, not negative: PnDTnHnMn.nS, say P7D or PT1H30M")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[:4])
    fraction = int(((match[5] or "") + "000")[:3])
    duration = (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000 + fraction
    if duration > INT64:
        raise ValueError(f"{given!r} is too long")
    return duration


_JAVA_ASSIGNORS: Final[Mapping[str, str]] = {
    "org.apache.kafka.clients.consumer.RangeAssignor": "range",
    "org.apache.kafka.clients.consumer.RoundRobinAssignor": "roundrobin",
    "org.apache.kafka.clients.consumer.StickyAssignor": "sticky",
    "org.apache.kafka.clients.consumer.CooperativeStickyAssignor": "cooperative-sticky",
}


def _parse_assignors(given: object) -> tuple[str | Assignor, ...]:
    """The strategies in order of preference: names, or objects that are strategies of the user's own."""
    from dekaf_proto.group import ASSIGNORS
    from dekaf_proto.group.assignor import Assignor

    if isinstance(given, (str, Assignor)):
        given = [given]
    if not isinstance(given, Sequence) or not given:
        raise ValueError
    names = []
    for one in given:
        if not isinstance(one, Assignor) and (not isinstance(one, str) or one not in ASSIGNORS):
            hint = f"; give an object of {one.__name__}, not the class" if isinstance(one, type) else ""
            raise ValueError(f"{one!r} is none of {', '.join(ASSIGNORS)}, and no Assignor{hint}")
        names.append(one if isinstance(one, str) else one.name)
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is given twice")
    return tuple(given)


def _assignors_from_text(text: str) -> object:
    names = [name.strip() for name in text.split(",")]
    return [_JAVA_ASSIGNORS.get(name, name) for name in names]


# ---------------------------------------------------------------------------------------------------------- consumer


class ConsumerOptions(TypedDict, total=False):
    """The types in which a consumer's options are given, for type checkers; the deserializers come separately."""

    bootstrap_servers: str | Sequence[str] | Sequence[HostPort]
    client_id: str
    client_rack: str
    security_protocol: Literal["PLAINTEXT"]
    group_id: str | None
    group_protocol: Literal["classic"]
    partition_assignment_strategy: str | Assignor | Sequence[str | Assignor]
    group_instance_id: str | None
    session_timeout_ms: int
    heartbeat_interval_ms: int
    max_poll_interval_ms: int
    exclude_internal_topics: bool
    auto_offset_reset: str | datetime | OffsetReset
    enable_auto_commit: bool
    auto_commit_interval_ms: int
    enable_auto_offset_store: bool
    recommit_interval_ms: int
    delivery: Literal["at_least_once", "at_most_once"]
    acknowledgement_mode: Literal["implicit", "explicit"]
    max_unacknowledged_records: int
    revocation_drain_ms: int
    isolation_level: Literal["read_uncommitted", "read_committed"] | IsolationLevel
    max_poll_records: int
    check_crcs: bool
    fetch_min_bytes: int
    fetch_max_wait_ms: int
    fetch_max_bytes: int
    max_partition_fetch_bytes: int
    fetch_max_buffered_bytes: int
    max_decompressed_batch_bytes: int
    receive_message_max_bytes: int
    allow_auto_create_topics: bool
    metadata_max_age_ms: int
    metadata_recovery_strategy: Literal["rebootstrap", "none"]
    metadata_recovery_rebootstrap_trigger_ms: int
    metadata_cluster_check_enable: bool
    request_timeout_ms: int
    default_api_timeout_ms: int
    close_timeout_ms: int
    retry_backoff_ms: int
    retry_backoff_max_ms: int
    reconnect_backoff_ms: int
    reconnect_backoff_max_ms: int
    socket_connection_setup_timeout_ms: int
    socket_connection_setup_timeout_max_ms: int
    connections_max_idle_ms: int


_JAVA_DESERIALIZERS: Final[Mapping[str, Callable[[bytes], object] | None]] = {
    "org.apache.kafka.common.serialization.ByteArrayDeserializer": None,
    "org.apache.kafka.common.serialization.StringDeserializer": bytes.decode,
}


@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False)
class ConsumerConfig(Options, Generic[K, V]):
    """All options of a consumer, checked. `K` and `V` are the types of its records' keys and values.

    A key or a value of null stays None and is given to no deserializer, hence the `| None`. Raises ConfigurationError
    for an option that is unknown or not yet supported, and for a value that is not allowed.

    >>> config = ConsumerConfig(bootstrap_servers="localhost", group_id="billing", value_deserializer=bytes.decode)
    >>> config.bootstrap_servers
    (HostPort(host='localhost', port=9092),)
    >>> config.replace(group_id="audit").group_id
    'audit'
    >>> ConsumerConfig(bootstrap_servers="localhost", fetch_min_byte=1)
    Traceback (most recent call last):
    dekaf_proto.errors.ConfigurationError: fetch_min_byte: unknown option, did you mean fetch_min_bytes?
    """

    bootstrap_servers: tuple[HostPort, ...] = field(
        metadata={
            KEY: Option(
                allowed='"host:port,host2:port" or a sequence of such',
                read=parse_bootstrap_servers,
                doc="Brokers to start from; one that answers tells about all the others. An IPv6 address stands in "
                "brackets, the port is 9092 unless given.",
                section="Connecting",
            )
        }
    )
    client_id: str = text("dekaf", "The program's name in the brokers' logs, metrics and quotas.")
    client_rack: str = text(
        "", "Where the program runs; brokers may then let it read from a follower that is near.", kip=392
    )
    security_protocol: Literal["PLAINTEXT"] = choice(
        "PLAINTEXT",
        {"PLAINTEXT": "PLAINTEXT"},
        "How connections are secured.",
        later=("SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    )
    group_id: str | None = text(
        None,
        "The group whose committed offsets are used. Without one nothing can be committed.",
        section="Group and offsets",
    )
    group_protocol: Literal["classic"] = choice(
        "classic", {"classic": "classic"}, "How the members of a group agree.", later=("consumer",), kip=848
    )
    partition_assignment_strategy: tuple[str | Assignor, ...] = option(
        ("range", "cooperative-sticky"),
        '"range", "roundrobin", "sticky", "cooperative-sticky", an Assignor of your own, or several of them',
        _parse_assignors,
        "How partitions are shared out, the preferred way first; the group takes one that all members know. Only if "
        "all that are named can do so (`cooperative-sticky` can), members go on reading in a rebalance what they keep.",
        kip=429,
        from_text=_assignors_from_text,
    )
    group_instance_id: str | None = text(
        None,
        "Makes this a static member: a name that no other member has, under which a restart within "
        "`session_timeout_ms` takes over without a rebalance.",
        kip=345,
    )
    session_timeout_ms: int = integer(
        45_000, 1, INT32, "ms", "A member that the group's coordinator has not heard of for this long is removed."
    )
    heartbeat_interval_ms: int = integer(
        3_000, 1, INT32, "ms", "How often it is told that the member lives. Must be less than `session_timeout_ms`."
    )
    max_poll_interval_ms: int = integer(
        300_000,
        1,
        INT32,
        "ms",
        "A member whose program asks for no further record for this long leaves the group. In a rebalance the "
        "others wait for it as long.",
        kip=62,
    )
    exclude_internal_topics: bool = boolean(True, "A pattern does not match Kafka's internal topics.")
    auto_offset_reset: OffsetReset = option(
        OffsetReset("latest"),
        '"earliest", "latest", "none", "by_duration:" and an ISO-8601 duration, or a datetime with a time zone',
        OffsetReset.parse,
        "Where to begin in a partition that has no committed offset, or whose offset is gone: its first record, its "
        "end, or the first record not older than the duration or the datetime. `none`: that is an error.",
        kip=1106,
        from_text=str.strip,
    )
    enable_auto_commit: bool = boolean(
        True,
        "Commit by itself what the program has finished. Without a `group_id` it is False, and an error to ask for.",
    )
    auto_commit_interval_ms: int = integer(
        5_000, 1, INT32, "ms", "How often that is done. What was finished since is redelivered after a crash."
    )
    enable_auto_offset_store: bool = boolean(
        True, "What is finished is due for the next commit. False: only what was given to `store_offsets` is."
    )
    recommit_interval_ms: int = integer(
        0,
        0,
        INT64,
        "ms",
        "How often confirmed offsets are committed again though nothing has changed, so that the brokers do not forget "
        "those of idle partitions. 0: never.",
    )
    delivery: Literal["at_least_once", "at_most_once"] = choice(
        "at_least_once",
        {"at_least_once": "at_least_once", "at_most_once": "at_most_once"},
        "Commit what is finished, or commit records before they are given, `max_poll_records` at a time: then a crash "
        "loses some, and none is given twice.",
    )
    acknowledgement_mode: Literal["implicit", "explicit"] = choice(
        "implicit",
        {"implicit": "implicit", "explicit": "explicit"},
        "What finishes a record: asking for the next one, or `acknowledge`, in any order and from any thread.",
    )
    max_unacknowledged_records: int = integer(
        10_000, 1, INT32, "records", "No more than this are given without being acknowledged."
    )
    revocation_drain_ms: int = integer(
        5_000,
        0,
        INT32,
        "ms",
        "How long a partition that is taken away waits for the acknowledgement of records that are being worked on.",
    )
    isolation_level: IsolationLevel = choice(
        IsolationLevel.READ_UNCOMMITTED,
        {level.name.lower(): level for level in IsolationLevel},
        "Whether records of transactions are given at once, or only when committed; then no partition is read past its "
        "first open transaction.",
        kip=98,
        section="Records",
    )
    key_deserializer: Callable[[bytes], object] | None = function(
        "Makes a record's key of its bytes; null stays None. Without it keys are bytes.", _JAVA_DESERIALIZERS
    )
    value_deserializer: Callable[[bytes], object] | None = function(
        "Makes a record's value of its bytes; null stays None. Without it values are bytes.", _JAVA_DESERIALIZERS
    )
    max_poll_records: int = integer(500, 1, INT32, "records", "The most records that one poll gives.")
    check_crcs: bool = boolean(True, "Compare the checksum of each batch before any of its records is given.")
    fetch_min_bytes: int = integer(
        1, 1, INT32, "bytes", "A broker waits with its response until it has this much.", section="Fetching"
    )
    fetch_max_wait_ms: int = integer(
        500, 1, INT32, "ms", "The longest that it waits for `fetch_min_bytes`. Must be less than `request_timeout_ms`."
    )
    fetch_max_bytes: int = integer(
        52_428_800, 1, INT32, "bytes", "The most that a response holds; one larger first batch may exceed it.", kip=74
    )
    max_partition_fetch_bytes: int = integer(
        1_048_576, 1, INT32, "bytes", "The most that it holds of one partition, with the same exception."
    )
    fetch_max_buffered_bytes: int = integer(
        33_554_432, 1, INT64, "bytes", "The most that is fetched ahead of the program; it bounds a consumer's memory."
    )
    max_decompressed_batch_bytes: int = integer(
        134_217_728, 1, INT32, "bytes", "A compressed batch that holds more than this is treated as corrupt."
    )
    receive_message_max_bytes: int = integer(
        100_000_000,
        1_000,
        INT32,
        "bytes",
        "A larger response is taken for junk and its connection is closed. Must be more than the smaller of "
        "`fetch_max_bytes` and `fetch_max_buffered_bytes`.",
    )
    allow_auto_create_topics: bool = boolean(
        True, "Asking for a topic that does not exist may create it, if brokers do so.", kip=361, section="Metadata"
    )
    metadata_max_age_ms: int = integer(
        300_000, 1, INT64, "ms", "Topics, partitions and leaders are asked for again when this time has passed."
    )
    metadata_recovery_strategy: Literal["rebootstrap", "none"] = choice(
        "rebootstrap",
        {"rebootstrap": "rebootstrap", "none": "none"},
        "When no known broker can be reached: start from `bootstrap_servers` again, or go on trying.",
        kip=899,
    )
    metadata_recovery_rebootstrap_trigger_ms: int = integer(
        300_000, 0, INT64, "ms", "Start again also when metadata was asked for in vain for this long.", kip=1102
    )
    metadata_cluster_check_enable: bool = boolean(
        True, "A broker that belongs to another cluster than before refuses, and is left.", kip=1242
    )
    request_timeout_ms: int = integer(
        30_000,
        1,
        INT32,
        "ms",
        "A request without a response for this long fails and may be retried; its connection is closed. If given, it "
        "must be at most `default_api_timeout_ms`.",
        section="Time",
    )
    default_api_timeout_ms: int = integer(
        60_000, 1, INT32, "ms", "How long a call without a timeout of its own may take, retries included.", kip=266
    )
    close_timeout_ms: int = integer(
        30_000, 0, INT32, "ms", "How long `close` without a timeout of its own, or the end of a `with`, may take."
    )
    retry_backoff_ms: int = integer(
        100, 0, INT64, "ms", "The wait before a retry. It doubles with each failure in a row, give or take 20 %."
    )
    retry_backoff_max_ms: int = integer(
        1_000, 0, INT64, "ms", "The longest such wait. Must be at least `retry_backoff_ms`.", kip=580
    )
    reconnect_backoff_ms: int = integer(
        50, 0, INT64, "ms", "The wait before a broker is connected to again. It doubles likewise."
    )
    reconnect_backoff_max_ms: int = integer(
        1_000, 0, INT64, "ms", "The longest such wait. Must be at least `reconnect_backoff_ms`.", kip=144
    )
    socket_connection_setup_timeout_ms: int = integer(
        10_000, 1, INT64, "ms", "How long connecting to one address may take. It doubles likewise.", kip=601
    )
    socket_connection_setup_timeout_max_ms: int = integer(
        30_000, 1, INT64, "ms", "The longest of those. Must be at least `socket_connection_setup_timeout_ms`.", kip=601
    )
    connections_max_idle_ms: int = integer(
        540_000, 1, INT64, "ms", "A connection that was not used for this long is closed."
    )
    _given: frozenset[str] = field(compare=False)

    _LATER: ClassVar[tuple[str, ...]] = (
        "ssl_",
        "sasl_",
        "group_remote_assignor",
        "interceptors",
        "interceptor_classes",
        "enable_metrics_push",
    )
    _HINTS: ClassVar[Mapping[str, str]] = {
        "brokers": "bootstrap_servers",
        "hosts": "bootstrap_servers",
        "metadata_broker_list": "bootstrap_servers",
        "group": "group_id",
        "rack_id": "client_rack",
        "fetch_wait_max_ms": "fetch_max_wait_ms",
        "fetch_message_max_bytes": "max_partition_fetch_bytes",
        "queued_max_messages_kbytes": "fetch_max_buffered_bytes",
        "queued_min_messages": "fetch_max_buffered_bytes",
        "socket_timeout_ms": "request_timeout_ms",
        "topic_metadata_refresh_interval_ms": "metadata_max_age_ms",
        "consumer_timeout_ms": "pass a timeout to poll, or iterate over records(until_end=True)",
        "enable_partition_eof": "records(until_end=True) ends at the end",
        "api_version": "versions are agreed on with each broker",
        "api_version_request": "versions are agreed on with each broker",
        "client_dns_lookup": "every address of a name is tried",
        "receive_buffer_bytes": "the operating system sizes a socket's buffers",
        "send_buffer_bytes": "the operating system sizes a socket's buffers",
        "metric_reporters": "call metrics()",
        "loop": "a driver finds its own loop",
    }

    def __init__(
        self: ConsumerConfig[T | None, U | None],
        *,
        key_deserializer: Callable[[bytes], T] | None = None,
        value_deserializer: Callable[[bytes], U] | None = None,
        **options: Unpack[ConsumerOptions],
    ) -> None:
        given = {**options, "key_deserializer": key_deserializer, "value_deserializer": value_deserializer}
        self._fill({name: value for name, value in given.items() if name in options or value is not None}, str)

    @classmethod
    def from_properties(cls, properties: Mapping[str, object]) -> ConsumerConfig[Any, Any]:
        """The same from Java's names: `{"bootstrap.servers": "localhost:9092", "enable.auto.commit": "false"}`.

        Values may be text, as in a `.properties` file, or what the constructor takes. Of Java's deserializers,
        ByteArrayDeserializer and StringDeserializer are known (the latter refuses what is not UTF-8); which types come
        out only the properties know, hence the `Any`. Raises ConfigurationError.
        """
        return cls._from_properties(properties)

    def replace(self, **options: Unpack[ConsumerOptions]) -> ConsumerConfig[K, V]:
        """A copy with other `options`, checked as a whole again. The deserializers stay. Raises ConfigurationError."""
        return self._replaced(options)

    def _check(self, spell: Callable[[str], str]) -> None:
        for low, high in (
            ("retry_backoff_ms", "retry_backoff_max_ms"),
            ("reconnect_backoff_ms", "reconnect_backoff_max_ms"),
            ("socket_connection_setup_timeout_ms", "socket_connection_setup_timeout_max_ms"),
        ):
            if getattr(self, high) < getattr(self, low):
                raise self._refuse(high, f"must be at least {spell(low)}, which is {getattr(self, low)}", spell)
        if self.fetch_max_wait_ms >= self.request_timeout_ms:
            reason = f"must be less than {spell('request_timeout_ms')}, which is {self.request_timeout_ms}"
            raise self._refuse("fetch_max_wait_ms", reason, spell)
        # A call may well give up before its request does, so a short default_api_timeout_ms alone is right.
        if "request_timeout_ms" in self._given and self.request_timeout_ms > self.default_api_timeout_ms:
            reason = f"must be at most {spell('default_api_timeout_ms')}, which is {self.default_api_timeout_ms}"
            raise self._refuse("request_timeout_ms", reason, spell)
        response = min(self.fetch_max_bytes, self.fetch_max_buffered_bytes)
        if self.receive_message_max_bytes <= response:
            names = f"{spell('fetch_max_bytes')} and {spell('fetch_max_buffered_bytes')}"
            reason = f"must be more than the smaller of {names}, which is {response}"
            raise self._refuse("receive_message_max_bytes", reason, spell)
        if self.heartbeat_interval_ms >= self.session_timeout_ms:
            reason = f"must be less than {spell('session_timeout_ms')}, which is {self.session_timeout_ms}"
            raise self._refuse("heartbeat_interval_ms", reason, spell)
        self._check_modes(spell)
        if self.group_id is None and self.enable_auto_commit:
            if "enable_auto_commit" in self._given:
                raise self._refuse("enable_auto_commit", f"needs a {spell('group_id')}", spell)
            object.__setattr__(self, "enable_auto_commit", False)

    def _check_modes(self, spell: Callable[[str], str]) -> None:
        """Who decides what is committed: only one can."""
        explicit = self.acknowledgement_mode == "explicit"
        if explicit and not self.enable_auto_offset_store:
            reason = f"does not go with {spell('enable_auto_offset_store')}=False: both say what is finished"
            raise self._refuse("acknowledgement_mode", reason, spell)
        if self.delivery == "at_most_once":
            for name, wrong in (
                ("acknowledgement_mode", explicit),
                ("enable_auto_offset_store", not self.enable_auto_offset_store),
                ("enable_auto_commit", not self.enable_auto_commit),
                ("group_id", self.group_id is None),
            ):
                if wrong:
                    reason = f"does not go with {spell(name)}={getattr(self, name)!r}: records are committed first"
                    raise self._refuse("delivery", reason, spell)
