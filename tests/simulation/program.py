"""A program around one consumer engine: what a user would write, as a generator that yields what it waits for.

It yields seconds to sleep, or an Operation. `World` wakes it. A crash is that it is never woken again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from random import Random
from typing import TYPE_CHECKING, Any

from dekaf_proto.config import ConsumerConfig
from dekaf_proto.consumer import Consumer, FetchedRecords
from dekaf_proto.consumer.batch import Batch
from dekaf_proto.errors import ClosedError, FencedInstanceIdError, KafkaError, KafkaTimeoutError, RebalanceError
from dekaf_proto.events import Failed, PartitionsAssigned, PartitionsLost, PartitionsRevoked, Rebalance
from dekaf_proto.operation import Operation
from dekaf_proto.types import TopicPartition
from tests.simulation.history import AnyRecord
from tests.simulation.plan import API_TIMEOUT, CLOSE_TIMEOUT, POLL_INTERVAL, SLOW, Member, Mode

if TYPE_CHECKING:
    from tests.simulation.world import World

UNIX_OFFSET = 1_700_000_000.0

Steps = Generator["float | Operation[Any]", None, None]


class Program:
    """One process."""

    def __init__(self, world: World, member: Member, number: int) -> None:
        self.world = world
        self.member = member
        self.name = f"{member.name}.{number}"
        self.random = Random(f"program {world.plan.seed} {self.name}")
        config = ConsumerConfig(
            bootstrap_servers=world.network.bootstrap_servers(), client_id=self.name, **member.options
        )
        self.consumer: Consumer[Any, Any] = Consumer(config, seed=self.random.getrandbits(32), unix_offset=UNIX_OFFSET)
        world.network.add(self.consumer)
        self.alive = True
        #: While its process is stopped: what is to be done when it goes on.
        self.frozen: list[Callable[[], None]] | None = None
        self.stops = 0
        #: It is to end: the loop is left, the consumer closed.
        self.leaving = False
        #: It subscribes to these next.
        self.topics = member.topics
        #: It is to unsubscribe for so long.
        self.away = 0.0
        #: How many records its workers have.
        self.working = 0
        #: How long it does nothing the next time that it works.
        self.pause = 0.0
        self.rests = False
        #: When it began its last pause.
        self.rested_at = -POLL_INTERVAL
        #: It is to be killed when it has to give something up, before it has done so.
        self.dies_when_revoked = False
        #: What it has, and the offset that it has to be given next.
        self.owned: dict[TopicPartition, int] = {}
        #: Which life of them it knows.
        self.lives: dict[TopicPartition, int] = {}
        #: Of these it may have to begin before that: it was put out and does not know it yet.
        self.unsure: set[TopicPartition] = set()
        #: Its operations that are not done, and when they have to be.
        self.operations: list[tuple[Operation[Any], float]] = []
        self._subscribed: list[str] = []
        self._in_hand: list[AnyRecord] = []
        self._steps = self._life()
        self._waiting: Operation[Any] | None = None
        self._idle: Operation[Any] | None = None
        self.note("starts, " + member.mode.name)
        self._go_on()

    def __repr__(self) -> str:
        return f"<{self.name} {'leaving ' if self.leaving else ''}waits for {self._waiting}, has {self.owned}>"

    @property
    def now(self) -> float:
        """What its own clock says."""
        return self.world.network.time(self.consumer)

    def note(self, what: str) -> None:
        self.world.history.note(self.world.network.now, self.name, what)

    @property
    def has_news(self) -> bool:
        """Whether there is something that the group does not know yet."""
        membership = self.consumer._membership
        return self.topics != self._subscribed or membership is None or not membership.is_settled

    @property
    def is_behind(self) -> bool:
        """Whether there is something that it has not been given, of what it has."""
        for tp, offset in self.owned.items():
            ledger = self.world.history.ledger(tp)
            if ledger.next_wanted(offset if ledger.life == self.lives[tp] else 0) is not None:
                return True
        return False

    # ------------------------------------------------------------------------------------------------- the world says

    def look(self) -> None:
        """Goes on if what it waits for is there; complains if an operation is late."""
        if self.frozen is not None:
            return
        if self._waiting is not None and self._waiting.done:
            self._go_on()
        if self.operations:
            self.operations = [entry for entry in self.operations if not entry[0].done]
            for operation, deadline in self.operations:
                assert self.now <= deadline + 0.001, f"{self.name}: {operation.name} should have ended at {deadline}"

    def leave(self) -> None:
        """It is to end properly."""
        self.leaving = True
        self.hurry()

    def hurry(self) -> None:
        """It does not wait for records any longer."""
        if self._idle is not None and self.frozen is None:
            self._idle.cancel()
            self.world.network.touch(self.consumer)
            self.look()

    def freeze(self) -> None:
        """The process is stopped."""
        self.note("is stopped")
        self.frozen = []
        self.stops += 1
        self.world.network.freeze(self.consumer)

    def thaw(self) -> None:
        """It goes on, and sees how late it is."""
        if self.alive and self.frozen is not None:
            self.note("goes on")
            held, self.frozen = self.frozen, None
            self._is_late()
            self.world.network.thaw(self.consumer)
            for action in held:
                action()
            if self.leaving or self._has_other_plans():
                self.hurry()

    def jump(self, seconds: float) -> None:
        """Its clock is ahead at once, as that of a machine that was asleep."""
        self.note(f"has a clock that jumps by {seconds:.1f} s")
        self.stops += 1
        self.world.network.jump(self.consumer, seconds)
        self._is_late()

    def _is_late(self) -> None:
        """What should have ended meanwhile has to end now."""
        self.operations = [(operation, max(deadline, self.now)) for operation, deadline in self.operations]

    def _in(self, seconds: float, action: Callable[[], None]) -> None:
        """Does something later, if the process runs then, or when it goes on."""

        def act() -> None:
            if self.frozen is None:
                action()
            else:
                self.frozen.append(action)

        self.world.later(seconds, act)

    def die(self) -> None:
        """It is gone without a word."""
        self.note("is killed")
        self._end()

    def _end(self) -> None:
        self.alive = False
        self._waiting = None
        self.operations.clear()
        self._give_up(list(self.owned))
        if self.consumer in self.world.network.clients:
            self.world.network.remove(self.consumer)

    def _go_on(self) -> None:
        self._waiting = None
        self.world.network.touch(self.consumer)
        while self.alive:
            try:
                step = next(self._steps)
            except StopIteration:
                self.note("ends")
                self._end()
                self.world.has_ended(self.member)
                return
            if isinstance(step, Operation):
                if not step.done:
                    self._waiting = step
                    return
            else:
                self._in(step, self._wake)
                return

    def _wake(self) -> None:
        if self.alive:
            self._go_on()

    def _start(self, operation: Operation[Any], seconds: float) -> Operation[Any]:
        """An operation, and how long it may take at most."""
        if not operation.done:
            self.operations.append((operation, self.now + seconds))
        return operation

    # ------------------------------------------------------------------------------------------------------- its life

    def _life(self) -> Steps:
        consumer = self.consumer
        while not self.leaving:
            if self.topics != self._subscribed:
                self._subscribed = self.topics
                self.note(f"subscribes to {self.topics}")
                consumer.subscribe(self.topics, self.now)
            if self.pause:
                yield from self._rest()
            if self.away:
                yield from self._go_away()
                continue
            output = consumer.poll(self.now)
            if output is None:
                self._finish_in_hand()
                self._idle = self._start(consumer.wait(self.now, 5.0), 5.0)
                yield self._idle
                self._idle = None
            elif isinstance(output, FetchedRecords):
                self._finish_in_hand()
                yield from self._read(output)
            else:
                yield from self._told(output)
        if self.world.plan.calm or self.random.random() < 0.7:
            yield from self._ask_once_more()
        yield from self._goodbye()

    def _rest(self) -> Steps:
        pause, self.pause = self.pause, 0.0
        self.note(f"does nothing for {pause:.1f} s")
        self.rested_at = self.world.network.now
        self.rests = True
        yield pause
        self.rests = False

    def _go_away(self) -> Steps:
        """Unsubscribes, and subscribes again after a while."""
        self.rests = True
        away, self.away = self.away, 0.0
        if self.world.plan.calm or self.random.random() < 0.5:
            yield from self._ask_once_more()
        self.note(f"unsubscribes for {away:.1f} s")
        while not (yield from self._unsubscribe()):
            pass
        self._in_hand.clear()  # what was not done is not finished by leaving
        assert not self.consumer.assignment
        self._give_up(list(self.owned))
        self._subscribed = []
        yield away
        self.rests = False

    def _unsubscribe(self) -> Generator[float | Operation[Any], None, bool]:
        """Whether it has left; that takes longer only if the process is stopped meanwhile."""
        stops = self.stops
        leaving = self._start(self.consumer.unsubscribe(self.now), API_TIMEOUT + 1 + self.member.listens)
        while not leaving.done:
            output = self.consumer.poll(self.now)
            assert not isinstance(output, FetchedRecords), f"{self.name} is given records while it unsubscribes"
            if isinstance(output, Rebalance):
                yield from self._listen(output)
            elif output is None:
                yield self._start(self.consumer.wait(self.now, 1.0), 1.0)
        try:
            leaving.result()
        except KafkaTimeoutError:
            if self.stops == stops:
                raise
            return False
        return True

    def _ask_once_more(self) -> Steps:
        """What is in hand is done, and nothing more is taken."""
        output = self.consumer.poll(self.now)
        self._finish_in_hand()
        if output is not None and not isinstance(output, FetchedRecords):
            yield from self._told(output)

    def _told(self, output: object) -> Steps:
        """An event, or an error."""
        self._finish_in_hand()
        if isinstance(output, Failed):
            self.note(f"is told of {output.error!r}")
            if isinstance(output.error, FencedInstanceIdError):
                self.leaving = True
                self.world.history.happened["fenced"] += 1
            elif not isinstance(output.error, KafkaError) or not output.error.retriable:
                assert isinstance(output.error, RebalanceError), f"{self.name} is told of {output.error!r}"
        else:
            assert isinstance(output, Rebalance)
            yield from self._listen(output)

    def _listen(self, event: Rebalance) -> Steps:
        self._event(event)
        if isinstance(event, PartitionsRevoked) and self.dies_when_revoked and not self.world.mended:
            self.world.kill(self)
            yield 0.0
        if self.member.listens and self.random.random() < 0.3:
            yield self.random.random() * self.member.listens
        if isinstance(event, PartitionsAssigned) and event.partitions and self.random.random() < 0.1:
            yield from self._look_at_committed(event)
        if isinstance(event, PartitionsRevoked) and self.member.mode is Mode.UNWAITED:
            yield from self._commit(None)
        if isinstance(event, PartitionsAssigned) and self.member.seeks and event.partitions:
            self._seek(self.random.choice(event.partitions))
        try:
            self.consumer.event_done(event, self.now)
        except ClosedError:
            assert self.leaving  # it has taken its time, and the time for closing is up
        if not isinstance(event, PartitionsAssigned):
            self._give_up(list(event.partitions))

    def _look_at_committed(self, event: PartitionsAssigned) -> Steps:
        """Asks for the committed offsets, in a listener."""
        operation = self._start(self.consumer.committed(event.partitions, self.now), API_TIMEOUT)
        yield operation
        try:
            found = operation.result()
        except (KafkaTimeoutError, ClosedError) as error:
            self.note(f"committed: {error!r}")
            return
        if not self._is_member:
            return  # these are another one's commits
        for tp, offset in found.items():
            ledger = self.world.history.ledger(tp)
            if not ledger.exists or ledger.life != self.lives.get(tp):
                continue
            if tp in self.consumer.assignment and self.consumer._partitions[tp].tenure.live:
                known = 0 if offset is None else offset.offset
                first = ledger.next_wanted(self.owned[tp])
                begins = known >= self.owned[tp] and (first is None or known <= first)  # it may have committed itself
                assert begins, f"order: {known} is committed of {tp}, not {self.owned[tp]}"

    @property
    def _is_member(self) -> bool:
        """Not if it was put out and does not know it yet."""
        group, me = self.world.broker.cluster.group("g"), self.consumer.group_metadata()
        return me.generation_id == group.generation and me.member_id in group.members

    def _event(self, event: Rebalance) -> None:
        self.note(f"{type(event).__name__} {' '.join(map(str, event.partitions))}")
        self.world.history.happened[type(event).__name__] += 1
        for tp in event.partitions:
            if isinstance(event, PartitionsAssigned):
                assert tp not in self.owned, f"{self.name} is given {tp} a second time"
                self.lives[tp], self.owned[tp] = self.world.history.was_assigned(self.name, tp)
                if not self._is_member:
                    self.unsure.add(tp)
            else:
                assert tp in self.owned, f"{self.name} never heard of {tp}"
        if isinstance(event, PartitionsLost):
            assert event.cause
            assert not self.world.plan.calm, f"put out: {self.name} has lost {event.partitions}, {event.cause}"

    def _give_up(self, tps: list[TopicPartition]) -> None:
        for tp in tps:
            self.owned.pop(tp, None)
            self.unsure.discard(tp)
            self.world.history.was_given_up(self.name, tp)

    def _seek(self, tp: TopicPartition) -> None:
        target = self.random.randint(0, self.owned[tp])
        self.note(f"seeks {tp} to {target}")
        self.consumer.seek(tp, target, self.now)
        self.owned[tp] = target

    def _goodbye(self) -> Steps:
        self.note("closes")
        closing = self._start(self.consumer.close(self.now), CLOSE_TIMEOUT + self.member.listens)
        while not closing.done:
            try:
                output = self.consumer.poll(self.now)
            except ClosedError:
                break
            if isinstance(output, Rebalance):
                yield from self._listen(output)
                continue
            assert output is None, f"{output} while closing"
            try:
                yield self.consumer.wait(self.now)
            except ClosedError:
                break
        yield closing
        closing.result()
        yield 0.1  # the connections close

    # ---------------------------------------------------------------------------------------------------------- records

    def _read(self, run: FetchedRecords[Any, Any]) -> Steps:
        mode = self.member.mode
        if mode in (Mode.BATCHES, Mode.MANUAL_BATCHES):
            yield from self._read_batches(run)
            return
        while not self._has_other_plans():
            self._finish_in_hand()
            record = next(run, None)
            if record is None:
                return
            self._delivered(record)
            if mode is Mode.EXPLICIT:
                self._hand_to_a_worker(record)
            else:
                self._in_hand.append(record)
                yield from self._work()
                if mode is Mode.MANUAL:
                    self._finish_in_hand()
                    yield from self._commit(self.random.choice((record, None)))
                elif mode is Mode.AUTO and self.random.random() < 0.1:  # one by hand among the automatic ones
                    self._finish_in_hand()
                    yield from self._commit(record)
                elif mode is Mode.UNWAITED:
                    self._finish_in_hand()
                    retry = self.random.random() < 0.5
                    self._start(self.consumer.commit(record, self.now, retry=retry), API_TIMEOUT)
                    pending = [operation for operation, _ in self.operations if not operation.done]
                    if len(pending) > 5:  # more than that might not go out before it has to be closed
                        yield pending[0]
            if self.member.seeks and self.owned and not self.world.mended and self.random.random() < 0.02:
                self._finish_in_hand()
                self._seek(self.random.choice(list(self.owned)))
                return

    def _read_batches(self, run: FetchedRecords[Any, Any]) -> Steps:
        while not self._has_other_plans():
            self._finish_in_hand()
            records = run.take(self.random.randint(1, 10))
            if not records:
                return
            for record in records:
                self._delivered(record)
            self._in_hand += records
            yield from self._work()
            if self.member.mode is Mode.MANUAL_BATCHES:
                self._finish_in_hand()
                yield from self._commit(self.random.choice((Batch(records), None)))

    def _has_other_plans(self) -> bool:
        return self.leaving or bool(self.away) or self.topics != self._subscribed

    def _work(self) -> Steps:
        if self.pause:
            yield from self._rest()
        if self.member.work:
            yield self.random.random() * self.member.work

    def _delivered(self, record: AnyRecord) -> None:
        tp, offset = record.topic_partition, record.offset
        self.note(f"is given {tp} {offset}")
        assert tp in self.owned, f"order: {self.name} is given {tp} {offset}, which it does not have"
        ledger = self.world.history.ledger_of(record)
        if ledger.life != self.lives[tp]:
            assert ledger.life > self.lives[tp], f"order: {self.name} is given {ledger} {offset} of a deleted topic"
            self.lives[tp], self.owned[tp] = ledger.life, 0
        if tp in self.unsure:
            self.unsure.discard(tp)
            self.owned[tp] = min(self.owned[tp], offset)
        assert offset >= self.owned[tp], f"order: {self.name} is given {ledger} {offset} again"
        expected = ledger.next_wanted(self.owned[tp])
        assert expected is None or offset <= expected, f"order: {self.name} is given {ledger} {offset}, not {expected}"
        self.owned[tp] = offset + 1
        self.world.history.was_delivered(record)

    def _finish_in_hand(self) -> None:
        for record in self._in_hand:
            self.world.history.was_finished(record)
        self._in_hand.clear()

    def _hand_to_a_worker(self, record: AnyRecord) -> None:
        def done() -> None:
            self.working -= 1
            if self.alive:
                self.world.history.was_finished(record)
                self.consumer.acknowledge(record, self.now)

        seconds = self.random.random() * self.member.work * 4
        if not (self.world.plan.calm or self.world.mended) and self.random.random() < 0.03:
            seconds = self.random.uniform(*SLOW)
        self.working += 1
        self._in(seconds, done)

    def _commit(self, what: Any) -> Steps:
        operation = self._start(self.consumer.commit(what, self.now), API_TIMEOUT)
        yield operation
        try:
            operation.result()
        except (FencedInstanceIdError, ClosedError) as error:
            self.note(f"commit: {error!r}")
        except (RebalanceError, KafkaTimeoutError) as error:
            self.note(f"commit: {error!r}")
            self.world.history.happened["refused commits"] += 1
            self.world.history.was_not_committed(self.owned)
