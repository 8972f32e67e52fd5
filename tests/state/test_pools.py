"""Pools in memory and in the Redis of two processes, against a model."""

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from twisted.internet.defer import succeed

from latebin.core.http.reply import Refused
from latebin.core.steering import PoolWait
from latebin.state.interfaces import Place, PoolStatus
from latebin.state.redis.membership import BEAT
from tests.support.redis import RedisServer, needed
from tests.support.states import RedisWorld, SharedMachine, Waiter, World, run_machine, world

pytestmark = needed


@attrs.define(eq=False)
class Answer:
    """An answer in a pool, and where the model has it."""

    waiter: Waiter
    place: Place
    member: int
    number: int
    servers: int
    served: bool = False
    left: bool = False
    """Whether its client has left."""
    absent: bool = False
    """Whether its process has been given up."""


class Machine(SharedMachine):
    """Answers, clients that leave and processes that come and go, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.pool: list[Answer] = []
        self.servers = 0
        self.cut: int | None = None
        self.numbers = 0

    def line(self) -> list[Answer]:
        return [each for each in self.pool if not each.served and not each.absent]

    def busy(self) -> list[Answer]:
        return [each for each in self.pool if each.served and not each.absent]

    def serve(self) -> None:
        for each in sorted(self.line(), key=lambda each: each.number)[: max(0, self.servers - len(self.busy()))]:
            each.served = True

    @rule(member=st.integers(0, 1), servers=st.integers(1, 3), queue=st.sampled_from([None, None, 1]))
    def arrive(self, member: int, servers: int, queue: int | None) -> None:
        number, waiter = member % len(self.shared.members), Waiter()
        pools, wait = self.shared.members[number].pools, PoolWait("p", servers, queue)
        if number == self.cut:
            with pytest.raises(Refused):
                pools.arrive(wait, waiter)
            return
        self.servers = servers
        self.serve()
        full = queue is not None and len(self.line()) >= queue and (bool(self.line()) or len(self.busy()) >= servers)
        try:
            place = pools.arrive(wait, waiter)
        except Refused as error:
            waiter.end(error.problem)
        self.shared.settle()
        if full:
            assert waiter.got == ["503"]
            return
        if not place.waiting and not waiter.got:
            waiter.passed()
        self.numbers += 1
        self.pool.append(Answer(waiter, place, number, self.numbers, servers))
        self.serve()

    @precondition(lambda self: isinstance(self.shared, RedisWorld))
    @rule(messages_first=st.booleans())
    def overtake(self, messages_first: bool) -> None:  # noqa: FBT001  # drawn
        """Have messages arrive before earlier replies, or behind them."""
        assert isinstance(self.shared, RedisWorld)
        self.shared.messages_first = messages_first

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        there = [each for each in self.pool if not each.left]
        if there:
            gone = data.draw(st.sampled_from(there))
            gone.place.leave()
            gone.left = True
            if gone.member != self.cut:
                self.pool.remove(gone)
                self.serve()
            self.forget()
            self.shared.settle()

    def forget(self) -> None:
        """Forget the number of servers of a pool without answers."""
        if all(each.absent for each in self.pool):
            self.servers = 0

    @precondition(lambda self: isinstance(self.shared, RedisWorld) and self.cut is None)
    @rule(member=st.integers(0, 1), given_up=st.booleans())
    def cut_off(self, member: int, given_up: bool) -> None:  # noqa: FBT001  # drawn
        self.cut = member
        self.shared.members[member].store.cut()
        if given_up:
            assert isinstance(self.shared, RedisWorld)
            self.shared.give_up(member)
            for each in self.pool:
                each.absent = each.member == member
            self.serve()
            self.forget()

    @precondition(lambda self: self.cut is not None)
    @rule()
    def be_back(self) -> None:
        member, self.cut = self.cut, None
        assert member is not None
        self.shared.members[member].store.mend()
        self.shared.settle()
        for each in list(self.pool):
            each.absent = False
            if each.left:
                self.pool.remove(each)
        if self.pool and not self.servers:
            self.servers = self.pool[0].servers
        self.forget()
        self.serve()

    @invariant()
    def first_come_first_served(self) -> None:
        """An answer is in service when its turn has come, and not before."""
        for each in self.pool:
            if each.member != self.cut and not each.left:
                assert each.waiter.got == (["passed"] if each.served else []), each

    @invariant()
    def counted(self) -> None:
        """The figures are those of all processes."""
        [found] = self.shared.figures(1 if self.cut == 0 else 0) or [PoolStatus("p", 0, 0)]
        assert (found.busy, found.waiting) == (len(self.busy()), len(self.line()))

    def teardown(self) -> None:
        """Nothing stays behind in Redis when all have left."""
        if self.cut is not None:
            self.be_back()
        for each in self.pool:
            each.place.leave()
        self.shared.settle()
        if isinstance(self.shared, RedisWorld):
            assert self.shared.kept() == set()
        self.shared.end()


@pytest.mark.parametrize("where", ["memory", "redis"])
def test_machine(where: str, server: RedisServer) -> None:
    """No more are in service than there are servers, when processes come and go."""
    run_machine(Machine, lambda: World() if where == "memory" else RedisWorld(server))


def test_many_processes(server: RedisServer) -> None:
    """At most three of four processes' answers are in service, in the order of arrival."""
    with world(lambda: RedisWorld(server, 4)) as shared:
        waiters = [Waiter() for _ in range(12)]
        places = [shared.members[n % 4].pools.arrive(PoolWait("p", 3), each) for n, each in enumerate(waiters)]
        shared.settle()
        for n, place in enumerate(places):
            assert [len(each.got) for each in waiters] == [1] * min(n + 3, 12) + [0] * (9 - n)
            place.leave()
            shared.settle()


def test_died(redis: RedisWorld) -> None:
    """The places in service of a process are free when it has died."""
    first, second = Waiter(), Waiter()
    redis.members[1].pools.arrive(PoolWait("p", 1), first)
    redis.settle()
    redis.members[0].pools.arrive(PoolWait("p", 1), second)
    redis.settle()
    assert (first.got, second.got) == (["passed"], [])
    redis.members[1].store.cut()
    redis.give_up(1)
    assert second.got == ["passed"]


def test_data_lost(redis: RedisWorld) -> None:
    """No place is given away when Redis has lost its data."""
    waiters = [Waiter() for _ in range(4)]
    places = []
    for n, waiter in enumerate(waiters):
        places.append(redis.members[n % 2].pools.arrive(PoolWait("p", 2), waiter))
        redis.settle()
    served = [["passed"], ["passed"], [], []]
    assert [each.got for each in waiters] == served
    redis.server.ask("FLUSHALL")
    for number in (1, 0):
        redis.members[number].store.cut()
    redis.members[0].store.mend()
    redis.settle()
    assert [each.got for each in waiters] == served
    redis.members[1].store.mend()
    redis.settle()
    # As if the time to be back were over.
    redis.server.ask("SET", "latebin:recovering", 1)
    redis.members[0].membership.beat()
    redis.settle()
    assert [each.got for each in waiters] == served
    places[1].leave()
    redis.settle()
    assert [each.got for each in waiters] == [["passed"], ["passed"], ["passed"], []]


def test_served_before_the_reply(redis: RedisWorld) -> None:
    """A place is given up when its message came before the reply."""
    first = redis.members[0].pools.arrive(PoolWait("p", 1), Waiter())
    redis.settle()
    waiter = Waiter()
    second = redis.members[1].pools.arrive(PoolWait("p", 1), waiter)
    first.leave()
    redis.members[1].store.messages()
    assert waiter.got == ["passed"]
    second.leave()
    redis.settle()
    assert redis.kept() == set()


def test_unreadable_reply(redis: RedisWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signs of life go on when one had a reply that cannot be read."""
    with monkeypatch.context() as patched:
        patched.setattr(redis.members[0].store, "run", lambda *_: succeed(7))
        redis.clock.advance(BEAT)
    beats = redis.server.ask("ZSCORE", "latebin:instances", redis.members[0].store.instance)
    redis.clock.advance(BEAT)
    redis.settle()
    assert redis.server.ask("ZSCORE", "latebin:instances", redis.members[0].store.instance) > beats


def test_left(redis: RedisWorld) -> None:
    """A process that ends gives up its places at once."""
    first, second = Waiter(), Waiter()
    redis.members[1].pools.arrive(PoolWait("p", 1), first)
    redis.settle()
    redis.members[0].pools.arrive(PoolWait("p", 1), second)
    redis.settle()
    redis.members[1].peers.leave()
    redis.members[1].membership.join()
    redis.settle()
    assert second.got == ["passed"]
    assert redis.server.ask("ZRANGE", "latebin:instances", 0, -1) == [redis.members[0].store.instance.encode()]
