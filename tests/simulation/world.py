"""One run: a cluster, a network, programs that come, go and die, and what befalls them; all of it from one seed.

    World(seed).run()          AssertionError: an oracle (see `history`), or that the group does not come to rest
    World(seed, {3, 7})        the same, but for two of the things that befall it, counted from 0 (see `shrink`)

For a while things go wrong (or, in a calm run, programs only come and go); then everything is mended, and the rest has
to be done within `PATIENCE` seconds: every record finished, the group stable with all programs in it and every
partition assigned once. At the end all programs close.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from random import Random
from typing import Final

from dekaf_proto.broker import Broker, CommittedOffset, GroupOptions, GroupState
from dekaf_proto.broker.membership import Group
from dekaf_proto.messages import OffsetCommitRequest
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import check_invariant
from tests.network import Network
from tests.simulation.census import census
from tests.simulation.feed import Feed
from tests.simulation.history import History
from tests.simulation.ledger import Ledger
from tests.simulation.plan import AUTOMATIC, POLL_INTERVAL, SESSION, SLOW, Member, plan_of
from tests.simulation.production import Production
from tests.simulation.program import UNIX_OFFSET, Program
from tests.simulation.troubles import Troubles

#: Seconds in which everything has to be in order again, and how long the group then has to stay as it is.
PATIENCE: Final = 60.0
REST: Final = 4.0
#: What a member may cost meanwhile: how many moments at which something happens (most are automatic commits
#: that have nothing to do, every 100 ms), and how many items it may have (a few hundred, as it is).
MOMENTS: Final = 120
MOST_ITEMS: Final = 2000
#: The size of the largest batch, in bytes.
BATCH: Final = 2000
#: How long a fault may be felt: until the longest request has timed out.
SETTLES: Final = 5.0


class World:
    """See the module."""

    def __init__(self, seed: int, without: Collection[int] = ()) -> None:
        self.plan = plan = plan_of(seed)
        #: How much befalls it, and what of that does not.
        self.things = 0
        self._without = without
        self.random = Random(f"world {seed}")
        self.broker = Broker(
            nodes=plan.nodes,
            seed=seed,
            unix_offset=UNIX_OFFSET,
            auto_create_partitions=None,
            group_options=GroupOptions(
                initial_rebalance_delay_ms=int(plan.initial_delay * 1000), min_session_timeout_ms=100
            ),
            keep_requests=5,
        )
        self.network = Network(
            self.broker, seed=seed, latency=plan.latency, jitter=plan.jitter, max_chunk=plan.max_chunk
        )
        self.network.touched = {}
        self.history = History(plan, self.broker)
        self.feed = Feed(self)
        self.production = Production(self)
        self.troubles = Troubles(self)
        self._watch(self.broker.cluster.group("g"))
        self.programs: list[Program] = []
        self._starts = 0
        self.mended = False
        self._closing = False
        self.network.checks += [self.production.look, self._check]

    def note(self, what: str) -> None:
        """A line of the trace."""
        self.history.note(self.network.now, "world", what)

    @property
    def broker_time(self) -> float:
        """What the brokers' clock says."""
        return self.network.time(self.broker)

    def summary(self) -> Counter[str]:
        """How much has happened."""
        found = Counter(self.history.happened)
        for lives in self.history.lives.values():
            for ledger in lives:
                found["records"] += len(ledger.delivered)
                found["deliveries"] += sum(ledger.delivered.values())
        found["programs"] = self._starts
        found["generations"] = self.broker.group("g").generation
        return found

    # ------------------------------------------------------------------------------------------------------ the whole

    def run(self) -> History:
        """All of it."""
        plan, end = self.plan, self.network.now + self.plan.seconds
        self.note(f"{plan}")
        self.feed.over_time(plan.seconds)
        for number, member in enumerate(plan.members):
            self.later(0.0 if not number else self.random.uniform(0, plan.seconds / 2), partial(self._comes, member))
        self.things = self.random.randint(1, 4) if plan.calm else self.random.randint(2, 14)
        for number in range(self.things):
            self.later(self.random.uniform(0.1, plan.seconds), partial(self._something_happens, number))
        more = range(self.things, self.things + self.production.things)
        self.things = more.stop
        self.production.begin(number for number in more if number not in self._without)
        if plan.recreates:
            self.later(self.random.uniform(0.5, plan.seconds), self.feed.recreate)
        self.network.run_for(end - self.network.now)
        self._mend()
        self.network.run_for(SETTLES)  # what was not answered is given up
        self._must_come("all producers have ended", lambda: self.production.is_over)
        self._must_come("all is done and the group at rest", self._is_in_order)
        self._rest()
        self._closing = True
        for program in self.alive():
            program.leave()
        self._must_come("all programs have ended", lambda: not self.alive())
        ghosts = [m.member_id for m in self.broker.group("g").members if m.instance_id is None]
        assert not ghosts, f"no goodbye: members still are {ghosts}"
        self._check_the_end()
        return self.history

    def _must_come(self, what: str, condition: Callable[[], bool]) -> None:
        try:
            self.network.run_until(condition, PATIENCE)
        except AssertionError as error:
            if not str(error).startswith("the condition was not met"):
                raise
            state = f"{self.broker.group('g')}, {self.alive()}, unfinished: {self.history.unfinished()}"
            raise AssertionError(f"never: {what}; {state}") from None

    def _is_in_order(self) -> bool:
        group = self.broker.group("g")
        alive = self.alive()
        if group.state is not GroupState.STABLE or self.history.unfinished():
            return False
        names = sorted(program.consumer.group_metadata().member_id for program in alive)
        if sorted(member.member_id for member in group.members) != names:
            return False
        if any(p.rests or p.away or p.leaving or p.working or p.has_news for p in alive):
            return False
        if any(program.is_behind for program in alive):
            return False  # it reads again what was finished and not committed
        wanted = {
            ledger.tp
            for ledger in self.history.present()
            if any(ledger.tp.topic in program.topics for program in alive)
        }
        known = sorted(tp for member in group.members for tp in member.partitions)
        owned = sorted(tp for program in alive for tp in program.owned)
        return known == owned == sorted(wanted)

    def _check_the_end(self) -> None:
        self.production.check()
        if self.plan.at_most_once:
            if self.plan.calm:
                assert not self._undelivered(), f"lost: {self._undelivered()}"
            return
        if all(member.mode in AUTOMATIC for member in self.plan.members) and not self.plan.seeks:
            for ledger in self.history.present():
                left = ledger.next_wanted(ledger.committed or 0)
                assert ledger.overtaken or left is None, f"{ledger}: close has committed {ledger.committed}"

    def _undelivered(self) -> list[tuple[Ledger, int]]:
        return [
            (ledger, offset)
            for ledger in self.history.present()
            for offset in range(ledger.end)
            if ledger.is_wanted(offset) and not ledger.delivered[offset]
        ]

    def _check(self) -> None:
        """After every step: of the programs for which something may have changed."""
        for program in self.programs:
            if program.alive and program.frozen is None and id(program.consumer) in self.network.unchecked:
                program.look()
                if program.alive:
                    check_invariant(program.consumer, program.now)
                    self._check_memory(program)

    def _check_memory(self, program: Program) -> None:
        """What is fetched ahead is bounded: a broker may send one batch more."""
        buffered = program.consumer._fetcher.buffered_bytes
        assert buffered <= program.consumer.config.fetch_max_buffered_bytes + BATCH, f"{program} has {buffered} bytes"

    def _rest(self) -> None:
        """Nothing happens for a while: the group stays as it is, and nobody does more than he has to."""
        generation, moments, alive = self.broker.group("g").generation, self.network.moments, self.alive()
        self.network.run_for(REST)
        assert self._is_in_order(), f"the group does not stay at rest: {self.broker.group('g')}"
        assert self.broker.group("g").generation == generation, "the group rebalances without a reason"
        moments = self.network.moments - moments
        assert moments <= MOMENTS * len(alive) * (1 if self.plan.max_chunk is None else 4), f"busy: {moments} moments"
        for program in alive:
            items = census(program.consumer)
            assert items <= MOST_ITEMS, f"memory: {program} has {items} items"

    def _watch(self, group: Group) -> None:
        """Shows the history each commit that the coordinator accepts."""
        store = group.commit

        def commit(partition: TopicPartition, committed: CommittedOffset) -> None:
            request = self.broker.requests[-1].request
            assert isinstance(request, OffsetCommitRequest)
            who = request.group_instance_id or request.member_id
            generation = request.generation_id_or_member_epoch
            assert generation == group.generation, f"a commit of {who} in {generation}, it is {group.generation} now"
            assert request.member_id in group.members, f"a commit of {who}, who is no member"
            conn = self.broker.requests[-1].conn
            given_up = not any(link.server_conn == conn and link.client_open for link in self.network.links)
            self.history.was_committed(self.network.now, generation, who, partition, committed, given_up=given_up)
            store(partition, committed)

        group.commit = commit  # type: ignore[method-assign]

    # ---------------------------------------------------------------------------------------------------- programs

    def alive(self) -> list[Program]:
        """All that run."""
        return [program for program in self.programs if program.alive]

    def _start(self, member: Member) -> None:
        self._starts += 1
        self.programs = self.alive()
        self.programs.append(Program(self, member, self._starts))

    def _running(self, member: Member) -> list[Program]:
        return [p for p in self.programs if p.alive and p.member is member and not p.leaving]

    def has_ended(self, member: Member) -> None:
        """A program has ended; if it was the last one of the first member (fenced, say), another one has to go on."""
        if self.mended and not self._closing and member is self.plan.members[0] and not self._running(member):
            self._start(member)

    # ------------------------------------------------------------------------------------------------------ what comes

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Does something in so many seconds."""
        self.network._at(self.network.now + seconds, action)

    def _something_happens(self, number: int) -> None:
        if self.mended or number in self._without:
            return
        # By its own dice, so that it stays what it is if others are left out.
        self.random = random = Random(f"world {self.plan.seed} {number}")
        calm: list[Callable[[], None]] = [
            self._one_leaves,
            self._one_leaves,
            self._one_comes,
            self._one_unsubscribes,
            self._one_is_busy,
            self.feed.compact,
            self.feed.delete_records,
        ]
        wild = [
            self._one_dies,
            self._one_dies,
            self._one_dies_in_a_rebalance,
            self._one_dozes,
            self._one_is_stopped,
            self._one_is_stopped,
            self._one_misses_a_rebalance,
            self._a_namesake_comes,
            self._other_topics,
            self._one_unsubscribes,
            self.troubles.coordinator_moves,
            self.troubles.coordinator_moves,
            self.troubles.a_node_stops,
            self.troubles.a_node_pauses,
            self.troubles.connections_break,
            self.troubles.connections_break,
            self.troubles.silence,
            self._one_leaves_in_silence,
            self.troubles.answers_are_wrong,
            self.troubles.answers_are_wrong,
            self._a_member_is_put_out,
            self.troubles.a_leader_moves,
            self.troubles.a_network_partition,
            self.troubles.a_clock_jumps,
            self.troubles.a_node_is_slow,
            self.troubles.all_nodes_stop,
            self.feed.grow,
            self.feed.recreate,
            self.feed.recreate,
        ]
        what = random.choice(calm if self.plan.calm else calm + wild)
        self.note(f"{number}: {what.__name__.strip('_').replace('_', ' ')}")
        what()

    def one(self) -> Program | None:
        """One that runs and does not leave."""
        alive = [program for program in self.alive() if not program.leaving and program.frozen is None]
        return self.random.choice(alive) if alive else None

    def _one_that_is_static(self) -> Program | None:
        """One that is a static member, if there is such a one."""
        static = [p for p in self.alive() if p.member.instance is not None and p.frozen is None and not p.leaving]
        return self.random.choice(static) if static else self.one()

    def _comes_back(self, member: Member) -> None:
        self.later(self.random.choice((0.0, self.random.uniform(0, 5))), lambda: self._comes(member))

    def _comes(self, member: Member) -> None:
        """A program starts, if it does not run; where nothing goes wrong, not before its predecessor has ended."""
        if self.mended or self._running(member):
            return
        if self.plan.calm and any(program.member is member for program in self.alive()):
            self.later(0.5, lambda: self._comes(member))
        else:
            self._start(member)

    def _one_leaves(self) -> None:
        program = self.one()
        if program is not None:
            program.leave()
            self._comes_back(program.member)

    def _one_comes(self) -> None:
        for member in self.plan.members:
            if not self._running(member):
                self._comes(member)
                return

    def _one_dies(self) -> None:
        program = self.one()
        if program is not None:
            self.kill(program)

    def kill(self, program: Program) -> None:
        """A program dies, and is started again soon."""
        program.die()
        self.history.happened["crashes"] += 1
        self._comes_back(program.member)

    def _one_dies_in_a_rebalance(self) -> None:
        """Between the two rounds of a cooperative one, if it is told to give up something."""
        program = self._one_that_is_static()
        if program is not None:
            program.dies_when_revoked = True
            self._one_comes()

    def _one_dozes(self) -> None:
        program = self.one()
        if program is not None:
            program.pause = self.random.choice((1.0, 5.0, 7.0, 10.0))
            program.hurry()

    def _one_is_busy(self) -> None:
        """It takes longer than a session lasts, but no longer than it may: not twice, one after the other."""
        program = self.one()
        if program is not None and self.network.now > program.rested_at + POLL_INTERVAL:
            program.rested_at = self.network.now
            program.pause = SESSION + 0.5
            program.hurry()

    def _one_is_stopped(self) -> None:
        """The process stands still (SIGSTOP) and then goes on; meanwhile the group may do without it."""
        program = self.one()
        if program is None:
            return
        program.freeze()
        self.history.happened["stopped processes"] += 1
        self.later(self.random.choice((1.0, 4.0, 7.0, 9.0)), program.thaw)
        what = self.random.random()
        if what < 0.3:
            self._one_leaves()
        elif what < 0.5 and program.member.instance is not None:
            self._start(program.member)

    def _one_misses_a_rebalance(self) -> None:
        """A process is stopped with something uncommitted, and for so long that the others do without it. A static one
        may be a member still, in a generation of which it does not know."""
        program = self._one_that_is_static()
        if program is None:
            return
        for tp in program.owned:
            if self.history.ledger(tp).exists:
                self.feed.append(self.history.ledger(tp), 2)

        def stop() -> None:
            if program.alive and program.frozen is None and not self.mended:
                program.freeze()
                self.history.happened["stopped processes"] += 1
                self.later(self.random.uniform(7, 10), program.thaw)
                self._a_member_is_put_out(but=program)

        self.later(self.random.uniform(0.05, 0.5), stop)

    def _a_namesake_comes(self) -> None:
        """A second process with the same group.instance.id."""
        program = self.one()
        if program is not None and program.member.instance is not None:
            self._start(program.member)

    def _one_unsubscribes(self) -> None:
        program = self.one()
        if program is not None:
            program.away = self.random.choice((0.01, 1.0, 4.0))
            program.hurry()

    def _other_topics(self) -> None:
        program = self.one()
        if program is not None:
            names = list(self.plan.topics)
            program.topics = self.random.choice((names, names[:1]))
            program.hurry()

    def _one_leaves_in_silence(self) -> None:
        """The coordinator is not to be heard for longer than anybody may take to leave."""
        program = self.one()
        node = self.broker.coordinator("g")
        if program is not None and node is not None:
            self.note(f"silence around node {node}, the coordinator")
            self.network.block(node)
            self.later(self.random.uniform(*SLOW), lambda: self.network.unblock(node))
            program.leave()
            self._comes_back(program.member)

    def _a_member_is_put_out(self, but: Program | None = None) -> None:
        members = [m for m in self.broker.group("g").members if but is None or m.client_id != but.name]
        if members:
            member = self.random.choice(members)
            self.note(f"the coordinator puts {member.member_id} out")
            self.broker.expire_member("g", member.member_id, self.broker_time)

    # ------------------------------------------------------------------------------------------------------- the end

    def _mend(self) -> None:
        """Nothing goes wrong any more."""
        self.note("everything is mended")
        self.mended = True
        self.broker.faults.clear()
        for node in self.broker.nodes:
            self.troubles.start_node(node)
            self.troubles.resume_node(node)
            self.network.unblock(node)
        for link in self.network.links:
            link.cut_after = None
        for program in self.alive():
            program.thaw()
            self.network.join(program.consumer)
            program.pause = 0.0
        self.network.node_latency.clear()
        self.broker.cluster.elect()
        self.production.mend()
        self.feed.settle()
        first = self.plan.members[0]
        for member in self.plan.members:
            if not self._running(member) and (member is first or self.random.random() < 0.5):
                self.mended = False
                self._comes(member)
                self.mended = True
        # Somebody has to read everything, and what is new has to be seen before it is looked for.
        for program in self._running(first):
            program.topics = list(self.plan.topics)
            program.hurry()
        for program in self.alive():
            program.consumer._metadata.refresh()
            self.network.touch(program.consumer)
