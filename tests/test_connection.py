"""One connection: its table, the negotiation, correlation, and what it does with bytes that make no sense."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import pairwise, product

import pytest
from hypothesis import given, strategies as st

from dekaf_proto.connection import (
    MAX_CORRELATION_ID,
    NEED_DATA,
    TRANSITIONS,
    Answer,
    BrokerConnection,
    ByVersion,
    ConnectionClosed,
    ConnectionEvent,
    Input,
    Ready,
    State,
)
from dekaf_proto.errors import (
    DecodeError,
    FrameError,
    LocalProtocolError,
    ProtocolError,
    RebootstrapRequiredError,
    UnsupportedVersionCodeError,
    UnsupportedVersionError,
)
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.api_versions import (
    ApiVersion,
    ApiVersionsRequest,
    ApiVersionsResponse,
    FinalizedFeatureKey,
)
from dekaf_proto.messages.header import RequestHeader
from dekaf_proto.messages.init_producer_id import InitProducerIdRequest
from dekaf_proto.messages.list_offsets import ListOffsetsRequest, ListOffsetsResponse
from dekaf_proto.messages.metadata import MetadataRequest, MetadataResponse
from dekaf_proto.messages.produce import ProduceRequest
from dekaf_proto.wire import FrameReader, decode_request, encode_response
from dekaf_proto.wire.schema import Request, Response

RANGES = {ApiKey.METADATA: (0, 13), ApiKey.LIST_OFFSETS: (1, 11), ApiKey.API_VERSIONS: (0, 5)}


class Far:
    """The other end, which says what a test wants."""

    def __init__(self, connection: BrokerConnection) -> None:
        self.connection = connection
        self.reader = FrameReader()

    def take(self, data: bytes) -> tuple[RequestHeader, Request[Response]]:
        """The one request in `data`."""
        self.reader.receive_data(data)
        frame = self.reader.next_frame()
        assert frame is not None
        assert self.reader.buffered == 0
        return decode_request(frame)

    def asked_versions(self) -> tuple[RequestHeader, ApiVersionsRequest]:
        header, request = self.take(self.connection.data_to_send())
        assert isinstance(request, ApiVersionsRequest)
        return header, request

    def answer(self, response: Response, version: int, correlation_id: int) -> ConnectionEvent:
        self.connection.receive_data(encode_response(response, version, correlation_id))
        return self.connection.next_event()


def versions(ranges: dict[ApiKey, tuple[int, int]] | None = None, **fields: object) -> ApiVersionsResponse:
    keys = [ApiVersion(key, low, high) for key, (low, high) in (RANGES if ranges is None else ranges).items()]
    return ApiVersionsResponse(api_keys=keys, **fields)  # type: ignore[arg-type]


def connected(ranges: dict[ApiKey, tuple[int, int]] | None = None) -> tuple[BrokerConnection, Far]:
    """A connection that is READY."""
    connection = BrokerConnection(client_id="test")
    far = Far(connection)
    header, _ = far.asked_versions()
    event = far.answer(versions(ranges), header.request_api_version, header.correlation_id)
    assert isinstance(event, Ready)
    assert connection.state is State.READY
    return connection, far


# ------------------------------------------------------------------------------------------------------------ the table


@pytest.mark.parametrize("state, what", list(product(State, Input)))
def test_every_pair_of_the_table(state: State, what: Input) -> None:
    connection = BrokerConnection()
    connection.state = state
    if (state, what) in TRANSITIONS:
        connection._move(what)
        assert connection.state is TRANSITIONS[state, what]
    else:
        with pytest.raises(LocalProtocolError, match=f"{what.name} is not possible when {state.name}"):
            connection._move(what)
        assert connection.state is state


def test_the_table_leads_everywhere_and_ends_in_closed() -> None:
    reached = {State.NEGOTIATING}
    while True:
        more = reached | {after for (before, _), after in TRANSITIONS.items() if before in reached}
        if more == reached:
            break
        reached = more
    assert reached == set(State)
    assert all(before is not State.CLOSED for before, _ in TRANSITIONS)


# ---------------------------------------------------------------------------------------------------------- negotiation


def test_the_first_request_asks_for_versions_in_the_highest_that_we_know() -> None:  # W20, W23
    connection = BrokerConnection(client_id="me", software_version="1.2")
    header, request = Far(connection).asked_versions()
    assert header == RequestHeader(ApiKey.API_VERSIONS, ApiVersionsRequest.VERSIONS.max, 0, "me")
    assert (request.client_software_name, request.client_software_version) == ("dekaf", "1.2")
    assert connection.data_to_send() == b""  # said once
    assert connection.next_event() is NEED_DATA
    assert connection.in_flight == 1


@pytest.mark.parametrize(
    "cluster_id, node_id, sent",
    [("c", 3, ("c", 3)), ("c", 0, ("c", 0)), ("c", -1, (None, -1)), (None, 3, (None, -1)), (None, -1, (None, -1))],
)
def test_who_is_meant_is_said_whole_or_not_at_all(
    cluster_id: str | None, node_id: int, sent: tuple[str | None, int]
) -> None:  # W24
    _, request = Far(BrokerConnection(cluster_id=cluster_id, node_id=node_id)).asked_versions()
    assert (request.cluster_id, request.node_id) == sent


def test_ready_tells_the_finalized_features_and_the_throttle() -> None:  # W25, W31
    connection = BrokerConnection()
    far = Far(connection)
    far.asked_versions()
    event = far.answer(
        versions(
            throttle_time_ms=70,
            finalized_features=[FinalizedFeatureKey("transaction.version", 2, 1)],
            finalized_features_epoch=17,
        ),
        5,
        0,
    )
    assert event == Ready({"transaction.version": 2}, 17, 70)


@pytest.mark.parametrize(
    "refusal, then",
    [
        (versions({ApiKey.API_VERSIONS: (0, 3)}, error_code=35), 3),  # from 2.4 on the range is named
        (versions({}, error_code=35), 0),  # older ones name nothing
        (versions({ApiKey.METADATA: (0, 3)}, error_code=35), 0),
        (versions({ApiKey.API_VERSIONS: (0, 99)}, error_code=35), 4),  # that can't be: go down all the same
        (versions({ApiKey.API_VERSIONS: (0, 5)}, error_code=35), 4),
        (versions({ApiKey.API_VERSIONS: (-3, -2)}, error_code=35), 0),
    ],
)
def test_an_older_broker_is_asked_again_on_the_same_connection(refusal: ApiVersionsResponse, then: int) -> None:  # W21
    connection = BrokerConnection(cluster_id="c", node_id=1)
    far = Far(connection)
    far.asked_versions()
    assert far.answer(refusal, 0, 0) is NEED_DATA
    assert connection.state is State.NEGOTIATING
    header, request = far.asked_versions()
    assert (header.request_api_version, header.correlation_id) == (then, 1)
    assert request.cluster_id is None
    assert isinstance(far.answer(versions(), then, 1), Ready)


def test_the_keys_of_a_refusal_are_not_the_brokers_versions() -> None:  # W22
    connection = BrokerConnection()
    far = Far(connection)
    far.asked_versions()
    far.answer(versions({ApiKey.API_VERSIONS: (0, 3), ApiKey.METADATA: (0, 1)}, error_code=35), 0, 0)
    far.asked_versions()
    far.answer(versions({ApiKey.LIST_OFFSETS: (1, 5)}), 3, 1)
    assert connection.version_of(ListOffsetsRequest) == 5
    with pytest.raises(UnsupportedVersionError):
        connection.version_of(MetadataRequest)


def test_a_refusal_of_version_0_is_the_end() -> None:  # W21
    connection = BrokerConnection()
    far = Far(connection)
    far.asked_versions()
    far.answer(versions({}, error_code=35), 0, 0)
    far.asked_versions()
    event = far.answer(versions({}, error_code=35), 0, 1)
    assert isinstance(event, ConnectionClosed)
    assert isinstance(event.error, UnsupportedVersionCodeError)
    assert connection.state is State.ERROR


def test_refusals_without_end_come_to_an_end() -> None:
    connection = BrokerConnection()
    far = Far(connection)
    for correlation_id in range(10):
        if connection.state is not State.NEGOTIATING:
            break
        far.asked_versions()
        far.answer(versions({ApiKey.API_VERSIONS: (0, 9)}, error_code=35), 0, correlation_id)
    assert connection.state is State.ERROR


@pytest.mark.parametrize("code, error", [(129, RebootstrapRequiredError), (42, Exception), (777, Exception)])
def test_any_other_error_closes(code: int, error: type[Exception]) -> None:  # W21, W24
    connection = BrokerConnection()
    far = Far(connection)
    far.asked_versions()
    event = far.answer(versions({}, error_code=code), 5, 0)
    assert isinstance(event, ConnectionClosed)
    assert isinstance(event.error, error)
    assert "ApiVersions" in str(event.error)
    assert connection.next_event() == event  # again and again


# ------------------------------------------------------------------------------------------------------------- versions


@pytest.mark.parametrize(
    "theirs, limit, version",
    [((0, 13), None, 13), ((0, 99), None, 13), ((0, 7), None, 7), ((0, 13), 9, 9), ((13, 20), None, 13)],
)
def test_the_highest_common_version(theirs: tuple[int, int], limit: int | None, version: int) -> None:  # W29
    connection, _ = connected({ApiKey.METADATA: theirs})
    assert connection.version_of(MetadataRequest, limit) == version


@pytest.mark.parametrize(
    "theirs, limit, text",
    [
        ((14, 20), None, "the broker 14-20"),
        ((14, 14), None, "the broker 14-14"),
        ((8, 13), 7, "of at most 7"),
        (None, None, "the broker none"),
        ((3, 1), None, "the broker none"),
    ],
)
def test_no_common_version(theirs: tuple[int, int] | None, limit: int | None, text: str) -> None:  # W28, W26
    connection, _ = connected({} if theirs is None else {ApiKey.METADATA: theirs})
    with pytest.raises(UnsupportedVersionError, match=text) as caught:
        connection.send(MetadataRequest(), limit)
    assert caught.value.needed == "0-13"
    assert connection.in_flight == 0
    assert connection.state is State.READY  # the others are not concerned


def test_what_our_minimum_excludes_is_not_sent() -> None:  # W27
    connection, _ = connected({ApiKey.PRODUCE: (0, 2)})
    with pytest.raises(UnsupportedVersionError):
        connection.version_of(ProduceRequest)


def test_an_unstable_version_is_not_used() -> None:
    unstable = InitProducerIdRequest.VERSIONS.unstable
    assert unstable is not None
    connection, _ = connected({ApiKey.INIT_PRODUCER_ID: (0, unstable)})
    assert connection.version_of(InitProducerIdRequest) == unstable - 1


def test_a_request_that_depends_on_the_version() -> None:
    connection, far = connected({ApiKey.METADATA: (0, 9)})
    built = []

    def build(version: int) -> MetadataRequest:
        built.append(version)
        return MetadataRequest(topics=[])

    correlation_id, data = connection.send(ByVersion(MetadataRequest, build))
    header, _ = far.take(data)
    assert (built, header.request_api_version, header.correlation_id) == ([9], 9, correlation_id)


def test_a_request_that_can_not_be_built_leaves_nothing_behind() -> None:
    connection, _ = connected()

    def build(version: int) -> MetadataRequest:
        raise UnsupportedVersionError("no", "14")

    with pytest.raises(UnsupportedVersionError, match="no"):
        connection.send(ByVersion(MetadataRequest, build))
    assert connection.in_flight == 0
    assert connection.send(MetadataRequest())[0] == 1


def test_nothing_is_sent_before_the_versions_are_known_or_after_the_end() -> None:
    connection = BrokerConnection()
    with pytest.raises(LocalProtocolError, match="NEGOTIATING"):
        connection.send(MetadataRequest())
    connection.close()
    with pytest.raises(LocalProtocolError, match="CLOSED"):
        connection.send(MetadataRequest())


# ------------------------------------------------------------------------------------------------------------ responses


def test_responses_are_matched_in_order_each_with_its_own_version() -> None:  # W7, W30
    connection, _ = connected()
    first, _ = connection.send(MetadataRequest(), 4)
    second, _ = connection.send(ListOffsetsRequest())
    third, _ = connection.send(MetadataRequest())
    assert (first, second, third) == (1, 2, 3)
    assert connection.in_flight == 3
    data = [
        encode_response(MetadataResponse(cluster_id="a"), 4, first),
        encode_response(ListOffsetsResponse(throttle_time_ms=3), 11, second),
        encode_response(MetadataResponse(cluster_id="b"), 13, third),
    ]
    connection.receive_data(b"".join(data))
    events = [connection.next_event() for _ in range(4)]
    assert events == [
        Answer(first, 4, MetadataResponse(cluster_id="a")),
        Answer(second, 11, ListOffsetsResponse(throttle_time_ms=3)),
        Answer(third, 13, MetadataResponse(cluster_id="b")),
        NEED_DATA,
    ]
    assert connection.in_flight == 0


def test_correlation_ids_wrap_and_leave_room_for_authentication() -> None:  # W9
    connection, far = connected()
    connection._next_id = MAX_CORRELATION_ID
    assert connection.send(MetadataRequest())[0] == MAX_CORRELATION_ID == 2**31 - 1 - 8
    assert connection.send(MetadataRequest())[0] == 0
    assert isinstance(far.answer(MetadataResponse(), 13, MAX_CORRELATION_ID), Answer)
    assert isinstance(far.answer(MetadataResponse(), 13, 0), Answer)


def closed(connection: BrokerConnection) -> ProtocolError:
    event = connection.next_event()
    assert isinstance(event, ConnectionClosed)
    assert isinstance(event.error, ProtocolError)
    assert connection.state is State.ERROR
    return event.error


def test_an_answer_out_of_turn_breaks_the_protocol() -> None:  # W7
    connection, _ = connected()
    connection.send(MetadataRequest())
    connection.send(MetadataRequest())
    connection.receive_data(encode_response(MetadataResponse(), 13, 2))
    assert str(closed(connection)) == "a response has correlation id 2, not 1"


def test_an_answer_that_nobody_asked_for() -> None:
    connection, _ = connected()
    connection.receive_data(encode_response(MetadataResponse(), 13, 1))
    assert str(closed(connection)) == "a response with correlation id 1 came unasked"


@pytest.mark.parametrize(
    "data, error, text",
    [
        (b"\xff\xff\xff\xff", FrameError, "-1 bytes"),
        (b"HTTP/1.1 400 Bad Request", FrameError, "exceeds the limit"),  # W2
        (b"\0\0\0\0", ProtocolError, "correlation id 0, not 1"),
        (b"\0\0\0\1\1", ProtocolError, "correlation id"),
        (b"\0\0\0\4\0\0\0\1", DecodeError, "MetadataResponse v13|ResponseHeader"),
    ],
)
def test_bytes_that_make_no_sense(data: bytes, error: type[Exception], text: str) -> None:
    connection, _ = connected()
    connection.send(MetadataRequest())
    connection.receive_data(data)
    found = closed(connection)
    assert isinstance(found, error)
    assert re.search(text, str(found)), found


def test_the_largest_frame_is_a_setting() -> None:  # W2
    connection = BrokerConnection(max_frame_size=10)
    connection.receive_data((11).to_bytes(4, "big"))
    assert isinstance(closed(connection), FrameError)


def test_what_came_before_the_fault_is_given_first_and_nothing_after_it() -> None:
    connection, _ = connected()
    connection.send(MetadataRequest())
    good = encode_response(MetadataResponse(cluster_id="a"), 13, 1)
    connection.receive_data(good + b"\xff\xff\xff\xff" + good)
    assert isinstance(connection.next_event(), Answer)
    closed(connection)
    connection.receive_data(good * 1000)
    assert connection._frames.buffered <= len(good)  # not kept: nobody will ever read it


def test_close() -> None:
    connection, _ = connected()
    connection.close()
    connection.close()
    assert connection.next_event() == ConnectionClosed(None)
    broken = BrokerConnection()
    broken.receive_data(b"\xff\xff\xff\xff")
    error = closed(broken)
    broken.close()
    assert broken.state is State.CLOSED
    assert broken.next_event() == ConnectionClosed(error)


# ----------------------------------------------------------------------------------------------------------- properties


def events_of(pieces: list[bytes]) -> tuple[list[ConnectionEvent], bytes]:
    """What a connection with two requests makes of bytes that come in these pieces, and what it wrote."""
    connection = BrokerConnection()
    events: list[ConnectionEvent] = []
    written = b""
    for piece in pieces:
        connection.receive_data(piece)
        while (event := connection.next_event()) is not NEED_DATA:
            written += connection.data_to_send()
            events.append(event)
            if isinstance(event, ConnectionClosed):
                return events, written
            if isinstance(event, Ready):
                for request in (MetadataRequest(), MetadataRequest(topics=[])):
                    with suppress(UnsupportedVersionError):
                        written += connection.send(request)[1]
        written += connection.data_to_send()
    return events, written


STREAM = b"".join(
    [
        encode_response(versions({ApiKey.API_VERSIONS: (0, 3)}, error_code=35), 0, 0),
        encode_response(versions(), 3, 1),
        encode_response(MetadataResponse(cluster_id="x"), 13, 2),
        encode_response(MetadataResponse(cluster_id="y"), 13, 3),
    ]
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)] or [b""]


def test_whole_input_is_byte_by_byte() -> None:
    whole = events_of([STREAM])
    assert [type(event) for event in whole[0]] == [Ready, Answer, Answer]
    assert events_of([STREAM[i : i + 1] for i in range(len(STREAM))]) == whole


@given(
    st.lists(st.integers(0, len(STREAM) - 1), max_size=20),
    st.lists(st.tuples(st.integers(0, len(STREAM) - 1), st.integers(0, 255)), max_size=3),
)
def test_whole_input_is_any_pieces_also_when_it_is_damaged(places: list[int], damage: list[tuple[int, int]]) -> None:
    data = bytearray(STREAM)
    for place, byte in damage:
        data[place] = byte
    whole, in_pieces = events_of([bytes(data)]), events_of(cut(bytes(data), places))
    assert repr(whole) == repr(in_pieces)  # errors are compared by what they say


@given(st.binary(max_size=200), st.booleans())
def test_no_input_raises(data: bytes, ready: bool) -> None:
    connection = connected()[0] if ready else BrokerConnection()
    if ready:
        connection.send(MetadataRequest())
    connection.receive_data(data)
    for _ in range(10):
        connection.next_event()
