"""One connection to one broker, without the socket: h11's shape.

The caller writes what `data_to_send` and `send` return, hands in what it reads to `receive_data`, and takes events
until `next_event` says NEED_DATA. The connection agrees on versions first (W20-W24); then it numbers requests, picks
the version of each, and finds for each frame the request that it answers: a broker answers in order, so a frame that
answers anything but the oldest request breaks the protocol (W7).

    NEGOTIATING ──versions──▶ READY
         │ ▲                    │
         └─┘ retry              ├──close──▶ CLOSED
                                └──fault──▶ ERROR      (from every state)

A caller that gives up on a request does nothing here: the request keeps its place, and its late answer is matched.

Not here: addresses, time-outs, retries, and what the messages mean.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, Generic, TypeVar

from dekaf_proto.errors import ErrorCode, KafkaError, LocalProtocolError, ProtocolError, UnsupportedVersionError
from dekaf_proto.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from dekaf_proto.wire import MAX_FRAME_SIZE, FrameReader, decode_response, encode_request, response_class
from dekaf_proto.wire.schema import Buffer, Request, Response

S = TypeVar("S", bound=Response)

SOFTWARE_NAME: Final = "dekaf"
#: Above this the ids are left to requests of an authentication that happens in between (W9).
MAX_CORRELATION_ID: Final = 2**31 - 9


class State(Enum):
    NEGOTIATING = auto()
    READY = auto()
    CLOSED = auto()
    ERROR = auto()


class Input(Enum):
    """What moves a connection from state to state."""

    RETRY = auto()  # the broker is too old for our ApiVersions
    VERSIONS = auto()  # the broker told its versions
    CLOSE = auto()
    FAULT = auto()


TRANSITIONS: Final[dict[tuple[State, Input], State]] = {
    (State.NEGOTIATING, Input.RETRY): State.NEGOTIATING,
    (State.NEGOTIATING, Input.VERSIONS): State.READY,
    (State.NEGOTIATING, Input.CLOSE): State.CLOSED,
    (State.NEGOTIATING, Input.FAULT): State.ERROR,
    (State.READY, Input.CLOSE): State.CLOSED,
    (State.READY, Input.FAULT): State.ERROR,
    (State.ERROR, Input.CLOSE): State.CLOSED,
}


# ----------------------------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Ready:
    """The versions are agreed on; requests may be sent."""

    finalized_features: dict[str, int]
    finalized_features_epoch: int
    #: For how long the broker wants to be left alone (W31).
    throttle_time_ms: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to the request that `send` gave `correlation_id`, and the version that both were in."""

    correlation_id: int
    version: int
    response: Response


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """Nothing more will come; `error` says why, None after `close`."""

    error: KafkaError | None


class NeedData(Enum):
    """The one value that stands for: nothing until more is received."""

    NEED_DATA = auto()


NEED_DATA: Final = NeedData.NEED_DATA
ConnectionEvent = Ready | Answer | ConnectionClosed | NeedData


@dataclass(frozen=True, slots=True)
class ByVersion(Generic[S]):
    """A request that looks different from version to version: `build` makes it once the version is known."""

    cls: type[Request[S]]
    build: Callable[[int], Request[S]]


AnyRequest = Request[Any] | ByVersion[Any]


@dataclass(frozen=True, slots=True)
class _InFlight:
    correlation_id: int
    version: int
    response: type[Response]


class BrokerConnection:
    """The client's end of a connection.

    `client_id` goes into each request. With `cluster_id` and `node_id` (both or neither) a broker can say that it is
    not the one meant (W24). `max_frame_size`, in bytes, bounds what the broker may send at once.
    """

    def __init__(
        self,
        *,
        client_id: str | None = None,
        software_version: str = "0",
        cluster_id: str | None = None,
        node_id: int = -1,
        max_frame_size: int = MAX_FRAME_SIZE,
    ) -> None:
        self._client_id = client_id
        self._software_version = software_version
        self._identity = (cluster_id, node_id) if cluster_id is not None and node_id >= 0 else (None, -1)
        self._frames = FrameReader(max_frame_size)
        self._in_flight: deque[_InFlight] = deque()
        self._next_id = 0
        self._versions: dict[int, tuple[int, int]] = {}
        self._error: KafkaError | None = None
        self._to_send: list[bytes] = []
        self.state = State.NEGOTIATING
        self._ask_versions(ApiVersionsRequest.VERSIONS.max)

    @property
    def in_flight(self) -> int:
        """How many requests have no answer yet."""
        return len(self._in_flight)

    def data_to_send(self) -> bytes:
        """What the connection itself has to say: its negotiation. Empty most of the time."""
        data = b"".join(self._to_send)
        self._to_send.clear()
        return data

    def version_of(self, request: type[Request[Any]], max_version: int | None = None) -> int:
        """The highest version that both ends speak, of at most `max_version` (W29).

        UnsupportedVersionError if there is none; LocalProtocolError before the connection is READY.
        """
        if self.state is not State.READY:
            raise LocalProtocolError(f"the versions are not known, the connection is {self.state.name}")
        ours = request.VERSIONS
        low, high = self._versions.get(request.API_KEY, (1, 0))
        version = min(ours.max if ours.unstable is None else ours.unstable - 1, high)
        if max_version is not None:
            version = min(version, max_version)
        if version < max(low, ours.min):
            theirs = f"{low}-{high}" if low <= high else "none"
            wanted = f" of at most {max_version}" if max_version is not None else ""
            raise UnsupportedVersionError(
                f"{request.__name__}: we speak versions {ours}{wanted}, the broker {theirs}", str(ours)
            )
        return version

    def send(self, request: AnyRequest, max_version: int | None = None) -> tuple[int, bytes]:
        """Takes a request on its way: its correlation id, and the bytes to write.

        Raises what `version_of` and the encoder raise; then nothing has happened.
        """
        version = self.version_of(request.cls if isinstance(request, ByVersion) else type(request), max_version)
        if isinstance(request, ByVersion):
            request = request.build(version)
        correlation_id = self._next_id
        data = encode_request(request, version, correlation_id, self._client_id)
        self._took(correlation_id, version, response_class(type(request)))
        return correlation_id, data

    def receive_data(self, data: Buffer) -> None:
        """Takes the next bytes from the broker."""
        if self.state is State.NEGOTIATING or self.state is State.READY:
            self._frames.receive_data(data)

    def close(self) -> None:
        """The connection was closed, by whichever end."""
        if self.state is not State.CLOSED:
            self._move(Input.CLOSE)

    def next_event(self) -> ConnectionEvent:
        """What happened next, NEED_DATA if nothing more has. Never raises for what the broker sent."""
        if self.state is State.CLOSED or self.state is State.ERROR:
            return ConnectionClosed(self._error)
        try:
            while (frame := self._frames.next_frame()) is not None:
                event = self._take_frame(frame)
                if event is not None:
                    return event
        except ProtocolError as error:
            self._error = error
            self._move(Input.FAULT)
            return ConnectionClosed(error)
        return NEED_DATA

    # ------------------------------------------------------------------------------------------------------ within

    def _move(self, what: Input) -> None:
        try:
            self.state = TRANSITIONS[self.state, what]
        except KeyError:
            raise LocalProtocolError(f"{what.name} is not possible when {self.state.name}") from None

    def _took(self, correlation_id: int, version: int, response: type[Response]) -> None:
        self._in_flight.append(_InFlight(correlation_id, version, response))
        self._next_id = 0 if correlation_id >= MAX_CORRELATION_ID else correlation_id + 1

    def _take_frame(self, frame: bytes) -> ConnectionEvent | None:
        correlation_id = int.from_bytes(frame[:4], "big", signed=True)
        if not self._in_flight:
            raise ProtocolError(f"a response with correlation id {correlation_id} came unasked")
        oldest = self._in_flight[0]
        if correlation_id != oldest.correlation_id or len(frame) < 4:
            raise ProtocolError(f"a response has correlation id {correlation_id}, not {oldest.correlation_id}")
        _, response = decode_response(oldest.response, oldest.version, frame)
        self._in_flight.popleft()
        if self.state is State.NEGOTIATING:
            assert isinstance(response, ApiVersionsResponse)
            return self._negotiate(oldest.version, response)
        return Answer(correlation_id, oldest.version, response)

    def _ask_versions(self, version: int) -> None:
        cluster_id, node_id = self._identity if version >= 5 else (None, -1)
        request = ApiVersionsRequest(
            client_software_name=SOFTWARE_NAME,
            client_software_version=self._software_version,
            cluster_id=cluster_id,
            node_id=node_id,
        )
        self._to_send.append(encode_request(request, version, self._next_id, self._client_id))
        self._took(self._next_id, version, ApiVersionsResponse)

    def _negotiate(self, asked: int, response: ApiVersionsResponse) -> ConnectionEvent | None:
        code = response.error_code
        if code == ErrorCode.UNSUPPORTED_VERSION and asked > 0:
            reported = [api.max_version for api in response.api_keys if api.api_key == ApiVersionsRequest.API_KEY]
            self._move(Input.RETRY)
            self._ask_versions(max(0, min(asked - 1, *reported)) if reported else 0)
            return None
        if code != ErrorCode.NONE:
            self._error = ErrorCode.of(code).exception(code, "in answer to ApiVersions")
            self._move(Input.FAULT)
            return ConnectionClosed(self._error)
        self._versions = {api.api_key: (api.min_version, api.max_version) for api in response.api_keys}
        self._move(Input.VERSIONS)
        features = {f.name: f.max_version_level for f in response.finalized_features}
        # Before version 2 the broker has waited itself.
        throttle_ms = response.throttle_time_ms if asked >= 2 else 0
        return Ready(features, response.finalized_features_epoch, throttle_ms)
