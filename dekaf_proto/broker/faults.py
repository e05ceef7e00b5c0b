"""Faults on order: what the broker does wrong, to which requests, how often.

    fault = broker.faults.add(api=ApiKey.FETCH, times=2, error=ErrorCode.NOT_LEADER_OR_FOLLOWER)
    ...
    assert fault.hits == 2

    error=           the innermost error code that the response has: each partition's, topic's or group's, else the
                     response's own; with `topic` and `partition` only there. What carries the error is not executed.
    top_error=       the error code of the whole response, where its version has one; nothing is executed
    throttle_time_ms what the response says
    alter=           function (request, response) -> response: anything else that a response can say
    delay=           seconds until the answer goes out; what follows on the connection waits too
    drop=            "before" it is executed or "after": the connection is closed without an answer
    silent=          "before" or "after" likewise: no answer ever, and the connection stays open
    truncate=        only so many bytes of the frame are sent, then the connection is closed
    reply=           these bytes are sent instead of the frame, whatever they are

A request takes what all the faults say that match it when it arrives, in the order in which they were added: one that
waits already is not touched. A fault counts once a request; one with an error only if the error was given to something.
After `times` it is spent. ApiVersions in a version that is not offered is answered without a look at the faults.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from dekaf_proto.errors import ErrorCode, LocalProtocolError
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.header import RequestHeader
from dekaf_proto.wire.schema import Request, Response

When = Literal["before", "after"]
T = TypeVar("T")


@dataclass(slots=True, eq=False, kw_only=True)
class Fault:
    """One fault; see the module for its effects. `hits` counts the requests that had it. ValueError for an argument
    that can't be."""

    api: ApiKey | None = None
    node: int | None = None
    times: int | None = 1
    when: Callable[[RequestHeader, Request[Response]], bool] | None = None
    topic: str | None = None
    partition: int | None = None
    error: ErrorCode | None = None
    top_error: ErrorCode | None = None
    throttle_time_ms: int | None = None
    alter: Callable[[Any, Any], Response] | None = None
    delay: float = 0.0
    drop: When | None = None
    silent: When | None = None
    truncate: int | None = None
    reply: bytes | None = None
    hits: int = 0

    def __post_init__(self) -> None:
        """What could never go wrong is refused: a test with it would pass, and prove nothing."""
        for name, kind in (("api", ApiKey), ("error", ErrorCode), ("top_error", ErrorCode)):
            given = getattr(self, name)
            if given is not None and not isinstance(given, int):
                raise TypeError(f"{name} has to be of {kind.__name__}, not {type(given).__name__} {given!r}")
        if self.api is not None and self.api not in list(ApiKey):
            raise ValueError(f"api has to be an ApiKey, not {self.api!r}")
        for name in ("drop", "silent"):
            if getattr(self, name) not in (None, *get_args(When)):
                raise ValueError(f"{name} has to be 'before' or 'after', not {getattr(self, name)!r}")
        for name, least in (("times", 1), ("delay", 0), ("truncate", 0), ("throttle_time_ms", 0)):
            given = getattr(self, name)
            if given is not None and not given >= least:
                raise ValueError(f"{name} has to be at least {least}, not {given!r}")

    @property
    def spent(self) -> bool:
        """Whether it has been used `times` times."""
        return self.times is not None and self.hits >= self.times

    def matches(self, node: int, header: RequestHeader, request: Request[Response]) -> bool:
        """Whether it concerns a request to `node`."""
        return (
            not self.spent
            and self.api in (None, header.request_api_key)
            and self.node in (None, node)
            and (self.when is None or bool(_called("when", self.when, header, request)))
        )


class Faults:
    """The faults in force, in the order in which they were added."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(
        self,
        *,
        api: ApiKey | None = None,
        node: int | None = None,
        times: int | None = 1,
        when: Callable[[RequestHeader, Request[Response]], bool] | None = None,
        topic: str | None = None,
        partition: int | None = None,
        error: ErrorCode | None = None,
        top_error: ErrorCode | None = None,
        throttle_time_ms: int | None = None,
        alter: Callable[[Any, Any], Response] | None = None,
        delay: float = 0.0,
        drop: When | None = None,
        silent: When | None = None,
        truncate: int | None = None,
        reply: bytes | None = None,
    ) -> Fault:
        """Orders a fault for the next `times` requests (None: all) of `api` to `node` for which `when` is true."""
        fault = Fault(
            api=api,
            node=node,
            times=times,
            when=when,
            topic=topic,
            partition=partition,
            error=error,
            top_error=top_error,
            throttle_time_ms=throttle_time_ms,
            alter=alter,
            delay=delay,
            drop=drop,
            silent=silent,
            truncate=truncate,
            reply=reply,
        )
        self.put(fault)
        return fault

    def put(self, fault: Fault) -> None:
        """Orders a fault that was made before."""
        if not isinstance(fault, Fault):
            raise TypeError(f"expected a Fault, not {type(fault).__name__} {fault!r}")
        self._faults.append(fault)

    def remove(self, fault: Fault) -> None:
        """Takes a fault back; nothing happens if it is not in force."""
        if fault in self._faults:
            self._faults.remove(fault)

    def clear(self) -> None:
        """Takes all faults back."""
        self._faults.clear()

    def take(self, node: int, header: RequestHeader, request: Request[Response]) -> ArmedFaults:
        """The faults for one request. Those without an error count from here on."""
        matching = [fault for fault in self._faults if fault.matches(node, header, request)]
        for fault in matching:
            if fault.error is None:
                fault.hits += 1
        self._faults = [fault for fault in self._faults if not fault.spent]
        return ArmedFaults(matching)


class ArmedFaults:
    """What is wrong with one request."""

    def __init__(self, faults: list[Fault]) -> None:
        self._faults = faults
        self._counted: list[Fault] = []
        self.delay = sum(fault.delay for fault in faults)
        self.drop = next((fault.drop for fault in faults if fault.drop), None)
        self.silent = next((fault.silent for fault in faults if fault.silent), None)
        self.truncate = next((fault.truncate for fault in faults if fault.truncate is not None), None)
        self.reply = next((fault.reply for fault in faults if fault.reply is not None), None)
        self.top_error = next((fault.top_error for fault in faults if fault.top_error is not None), ErrorCode.NONE)

    def error(self, topic: str | None = None, partition: int | None = None) -> ErrorCode:
        """The error ordered for a partition, a topic, or whatever else carries one; NONE if there is none."""
        for fault in self._faults:
            if fault.error is None or fault.topic not in (None, topic) or fault.partition not in (None, partition):
                continue
            if fault not in self._counted:
                self._counted.append(fault)
                fault.hits += 1
            return fault.error
        return ErrorCode.NONE

    def apply(self, request: Request[Response], response: Response) -> Response:
        """Alters a response."""
        for fault in self._faults:
            if fault.throttle_time_ms is not None and hasattr(response, "throttle_time_ms"):
                response.throttle_time_ms = fault.throttle_time_ms
            if fault.alter is not None:
                altered = _called("alter", fault.alter, request, response)
                if type(altered) is not type(response):
                    raise LocalProtocolError(f"a fault's `alter` has to return a response, not {altered!r}")
                response = altered
        return response


def _called(name: str, function: Callable[..., T], *arguments: object) -> T:
    """What a program's function returns. LocalProtocolError if it raises: the fault is the program's."""
    try:
        return function(*arguments)
    except Exception as error:
        raise LocalProtocolError(f"a fault's `{name}` has raised {error!r}") from error
