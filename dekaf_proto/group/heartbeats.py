"""Heartbeats of a member, one series for each generation (G14, G19), and the watch over the program (G21)."""

from __future__ import annotations

import logging
from typing import Final, Protocol

from dekaf_proto.client import Client
from dekaf_proto.errors import ErrorCode, KafkaError
from dekaf_proto.group.member import GroupMetadata
from dekaf_proto.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from dekaf_proto.metadata import Metadata
from dekaf_proto.node import NodeKey
from dekaf_proto.operation import Call, Flow, Wait

log = logging.getLogger("dekaf.group")

#: When the first heartbeat of a generation is sent, in seconds; the steps double from there.
_FIRST_HEARTBEAT: Final = 0.1


class Beating(Protocol):
    """The member, as its heartbeats see it."""

    @property
    def identity(self) -> GroupMetadata:
        """Who it is."""

    def slow_at(self) -> float:
        """When its program is too slow, if it does nothing until then."""

    def too_slow(self) -> None:
        """It is."""

    def rebalancing(self) -> None:
        """The group rebalances."""

    def generation_refused(self, code: ErrorCode, sent: GroupMetadata) -> bool:
        """The coordinator has gone on without it."""

    def judge(self, number: int, doing: str) -> None:
        """What every answer may hold: raises."""

    def coordinator_lost(self, code: ErrorCode) -> None:
        """Another node is the coordinator."""

    def fail(self, error: Exception) -> None:
        """Nothing that waiting mends."""


class Heartbeats:
    """The heartbeats of one member. What they learn they tell it."""

    def __init__(self, client: Client, metadata: Metadata, group_id: str, member: Beating) -> None:
        self._client = client
        self._metadata = metadata
        self._group_id = group_id
        self._member = member
        #: Stands for the present series.
        self._heart: object = None

    def start(self) -> None:
        """A generation has begun."""
        self._heart = heart = object()
        self._client.runner.start_background(self._beat(heart), "heartbeats")

    def stop(self) -> None:
        """It has ended, or a join speaks for itself."""
        self._heart = None

    def _beat(self, heart: object) -> Flow[None]:
        member, config = self._member, self._client.config
        interval, session = config.heartbeat_interval_ms / 1000, config.session_timeout_ms / 1000
        heard = self._client.now
        # The next rebalance often comes soon after one, as others join or give something up: ask more often at first.
        step = min(_FIRST_HEARTBEAT, interval)
        due = heard + step
        failures = 0

        def ended() -> bool:
            return self._heart is not heart

        while not ended():
            yield Wait(ended, min(due, member.slow_at()))
            if ended():
                return
            if self._client.now >= member.slow_at():
                member.too_slow()
                return
            if self._client.now < due:
                continue
            try:
                coordinator = yield from self._metadata.coordinator(self._group_id)
                if ended():
                    return
                left = max(heard + session - self._client.now, interval)
                number = yield from self._send(coordinator, min(left, config.request_timeout_ms / 1000))
                if ended():
                    return
                if number == ErrorCode.NONE:
                    heard = self._client.now
                    failures = 0
                    step = min(2 * step, interval)
                    due = heard + step
                    continue
                if self._heard(number):
                    return
                if number == ErrorCode.REBALANCE_IN_PROGRESS:
                    heard = self._client.now
                    due = heard + interval
                    continue
            except KafkaError as error:
                if ended():
                    return
                if not error.retriable:
                    member.fail(error)
                    return
                log.info("group %s: heartbeat: %s", self._group_id, error)
            failures += 1
            if self._client.now >= heard + session:
                member.coordinator_lost(ErrorCode.COORDINATOR_NOT_AVAILABLE)
                heard = self._client.now
            due = self._client.now + min(self._client.backoff(failures), interval)

    def _send(self, coordinator: NodeKey, timeout: float) -> Flow[int]:
        sent = self._member.identity
        request = HeartbeatRequest(
            group_id=self._group_id,
            generation_id=sent.generation_id,
            member_id=sent.member_id,
            group_instance_id=sent.group_instance_id,
        )
        response: HeartbeatResponse = yield Call(coordinator, request, None, timeout)
        return response.error_code

    def _heard(self, number: int) -> bool:
        """What the coordinator has said instead of yes; whether that is the end of this generation."""
        code = ErrorCode.of(number)
        if code is ErrorCode.REBALANCE_IN_PROGRESS:
            self._member.rebalancing()
            return False
        if code in (ErrorCode.ILLEGAL_GENERATION, ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID):
            self._member.generation_refused(code, self._member.identity)
            return True
        if code.invalidates == "coordinator":
            self._member.coordinator_lost(code)
        elif not code.retriable:
            self._member.judge(number, "a heartbeat to")
        return False
