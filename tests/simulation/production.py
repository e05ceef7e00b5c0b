"""The producers of one world, what befalls them, and what must have become of all that they have sent:

    twice          nothing is in a partition a second time, and everything is there in the order in which it was sent
    lost           what was acknowledged is there, at the offset that the broker has told
    atomicity      the batches of a transaction are all committed or all aborted, as its producer was told
    for ever       every transaction is decided, and every producer comes to its end

The ledgers hear of each batch and each marker as soon as it is in the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final

from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey
from dekaf_proto.records import ControlType, RecordBatch
from tests.simulation.ledger import Ledger
from tests.simulation.producer import Producer, Sent, Transaction

if TYPE_CHECKING:
    from tests.simulation.world import World

#: The share of worlds that have producers.
SHARE: Final = 0.35

_CODES: Final = {
    ApiKey.PRODUCE: (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.REQUEST_TIMED_OUT, ErrorCode.KAFKA_STORAGE_ERROR),
    ApiKey.INIT_PRODUCER_ID: (ErrorCode.NOT_COORDINATOR, ErrorCode.CONCURRENT_TRANSACTIONS),
    ApiKey.ADD_PARTITIONS_TO_TXN: (ErrorCode.NOT_COORDINATOR, ErrorCode.CONCURRENT_TRANSACTIONS),
    ApiKey.END_TXN: (ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.NOT_COORDINATOR),
}


class Production:
    """See the module."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._broker = world.broker
        self.history = world.history
        self._seed = world.plan.seed
        self._random = Random(f"production {self._seed}")
        #: Those that run, and those that have ended or died.
        self.running: list[Producer] = []
        self.gone: list[Producer] = []
        self._starts = 0
        self._mended = False
        #: Where each value is.
        self.found: dict[bytes, list[tuple[Ledger, int]]] = {}
        #: How the transactions of what is in a partition were ended.
        self.decided: dict[tuple[Ledger, bytes], bool] = {}
        self._open: dict[tuple[Ledger, int], list[bytes]] = {}
        self._last: dict[tuple[Ledger, str], int] = {}
        #: How many producers there will be, and how much befalls them.
        self._count = self._random.randint(1, 2) if self._random.random() < SHARE else 0
        self.things = self._random.randint(1, 8) if self._count and not world.plan.calm else 0

    def begin(self, things: Iterable[int]) -> None:
        """They come, one after the other, and `things` befall them."""
        for number in range(self._count):
            transactional_id = f"x{number}" if self._random.random() < 0.7 else None
            at = self._random.uniform(0, self._world.plan.seconds / 2)
            self._world.later(at, partial(self._start, transactional_id))
        for number in things:
            # By its own dice, so that it stays what it is if others are left out.
            random = Random(f"production {self._seed} {number}")
            at = random.uniform(0.1, self._world.plan.seconds)
            self._world.later(at, partial(self._something_happens, random))

    def _start(self, transactional_id: str | None) -> None:
        if not self._mended:
            self._starts += 1
            random = Random(f"producer {self._seed} {self._starts}")
            self.running.append(Producer(self._world, f"w{self._starts}", transactional_id, random))
            self.history.happened["producers"] += 1

    @property
    def may_begin(self) -> bool:
        """Whether there are producers in this world."""
        return self._count > 0

    # ------------------------------------------------------------------------------------------------ what befalls them

    def _something_happens(self, random: Random) -> None:
        what = random.choice(
            (self._one_dies, self._answers_are_wrong, self._answers_are_wrong, self._coordinator_moves)
        )
        if not self._mended:
            what(random)

    def _one_dies(self, random: Random) -> None:
        """Its successor fences it."""
        if self.running:
            producer = random.choice(self.running)
            producer.note("dies")
            self._end(producer)
            self.history.happened["crashes of producers"] += 1
            self._world.later(
                random.choice((0.0, random.uniform(0, 5))), lambda: self._start(producer.transactional_id)
            )

    def _answers_are_wrong(self, random: Random) -> None:
        api = random.choice((ApiKey.PRODUCE, *_CODES))
        error = random.choice(_CODES[api])
        choices: tuple[dict[str, Any], ...] = (
            {"error": error},
            {"error": error},
            {"error": error},
            {"drop": "before"},
            {"drop": "after"},
            {"silent": "after"},
            {"delay": random.uniform(0.1, 4)},
        )
        what, times = random.choice(choices), random.randint(1, 3)
        self._world.note(f"{times} times {api.name}: {what}")
        self._broker.faults.add(api=api, times=times, **what)

    def _coordinator_moves(self, random: Random) -> None:
        node, number = random.choice(self._broker.nodes), random.randrange(self._count)
        load_ms = random.choice((0, 500, 3000))
        self._world.note(f"node {node} keeps the transactions of x{number}, loading {load_ms} ms")
        self._broker.move_transaction_coordinator(f"x{number}", node, self._world.broker_time, load_ms=load_ms)

    # ---------------------------------------------------------------------------------------------- what is in the logs

    def look(self) -> None:
        """After every step: what is new."""
        for producer in list(self.running):
            if producer.life.done:
                producer.life.result()
                self._end(producer)
        if self._count:
            for ledger in self.history.present():
                log = self._broker.cluster.topics[ledger.tp.topic].partitions[ledger.tp.partition].log
                if log.end_offset > ledger.end:
                    for stored in log.batches:
                        if stored.base_offset >= ledger.end:
                            batch = stored.opened()
                            assert isinstance(batch, RecordBatch)
                            self.take(ledger, batch)

    def take(self, ledger: Ledger, batch: RecordBatch) -> None:
        """A batch is in the log."""
        assert batch.base_offset == ledger.end, f"a gap: {batch} comes after {ledger.end}"
        if batch.is_control:
            control = batch.control_record()
            assert control is not None
            commit = control.type is ControlType.COMMIT
            self._world.note(f"{ledger}: {control.type.name} of producer {batch.producer_id} at {ledger.end}")
            ledger.end_transaction(batch.producer_id, commit=commit)
            for value in self._open.pop((ledger, batch.producer_id), ()):
                self.decided[ledger, value] = commit
            return
        values = [record.value or b"" for record in batch.records()]
        self._world.note(f"{ledger}: {len(values)} of producer {batch.producer_id} at {ledger.end}")
        for offset, value in enumerate(values, ledger.end):
            name, number = value.decode().split()
            last = self._last.get((ledger, name), 0)
            assert int(number) > last, f"twice, or out of order: {value!r} comes to {ledger} after {last}"
            self._last[ledger, name] = int(number)
            self.found.setdefault(value, []).append((ledger, offset))
        ledger.append(len(values), batch.producer_id if batch.is_transactional else None, values)
        if batch.is_transactional:
            self._open.setdefault((ledger, batch.producer_id), []).extend(values)

    # ------------------------------------------------------------------------------------------------------- the end

    def mend(self) -> None:
        """Nobody begins anything any more. What was held back is in the logs now."""
        self.look()
        self._mended = True
        for producer in self.running:
            producer.stops = True

    def _end(self, producer: Producer) -> None:
        self.running.remove(producer)
        self.gone.append(producer)
        self._world.network.remove(producer)

    @property
    def is_over(self) -> bool:
        """Whether all have ended, and all their transactions."""
        return not self.running and not any(ledger.exists for ledger, _ in self._open)

    def check(self) -> None:
        """What has become of everything."""
        for producer in self.gone:
            for sent in producer.sent:
                self._check_acknowledged(producer, sent)
            for transaction in producer.transactions:
                for sent in transaction.batches:
                    self._check_acknowledged(producer, sent)
                self._check_transaction(producer, transaction)

    def _check_acknowledged(self, producer: Producer, sent: Sent) -> None:
        if sent.offset is not None:
            for offset, value in enumerate(sent.values, sent.offset):
                places = self.found.get(value, [])
                there = [ledger for ledger, at in places if ledger.tp == sent.tp and at == offset]
                assert there, f"lost: {producer.name} was told that {value!r} is in {sent.tp} at {offset}, not {places}"

    def _check_transaction(self, producer: Producer, transaction: Transaction) -> None:
        values = [value for sent in transaction.batches for value in sent.values]
        ends = {
            self.decided[ledger, value] for value in values for ledger, _ in self.found.get(value, ()) if ledger.exists
        }
        allowed = (True, False) if transaction.may_commit else (False,)
        if transaction.committed is not None:
            allowed = (transaction.committed,)
        assert len(ends) <= 1, f"atomicity: one part of {values} is committed, the other is not"
        assert ends <= set(allowed), f"{producer.name}: {values} were told to be {allowed}, and are {ends}"
        self.history.happened["transactions of producers"] += 1
