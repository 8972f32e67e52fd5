"""Gates in memory and in the Redis of two processes, against a model."""

from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from twisted.internet.defer import CancelledError, Deferred

from latebin.core.http.reply import Refused
from latebin.core.steering import GateWait
from latebin.state.interfaces import Place
from tests.support.redis import RedisServer, needed
from tests.support.states import RedisWorld, SharedMachine, Waiter, World, run_machine, world

pytestmark = needed

if TYPE_CHECKING:
    from twisted.python.failure import Failure

NAMES = st.sampled_from(["g", "h"])


@attrs.define(eq=False)
class Answer:
    """An answer at a gate, and where the model has it."""

    waiter: Waiter
    place: Place
    member: int
    size: int | None
    went: bool = False
    left: bool = False
    lost: bool = False


@attrs.define(eq=False)
class Gate:
    """A gate of the model, with its answers in the order of arrival."""

    line: list[Answer] = attrs.field(factory=list)
    open: bool = False
    order: str = "fifo"
    watches: list["Watch"] = attrs.field(factory=list)

    @property
    def waiting(self) -> list[Answer]:
        return [each for each in self.line if not each.lost]

    def let_go(self, chosen: list[Answer]) -> int:
        for each in chosen:
            each.went = True
            self.line.remove(each)
        return len(chosen)

    def arranged(self) -> list[Answer]:
        return self.waiting if self.order == "fifo" else self.waiting[::-1]

    def notify(self) -> None:
        for watch in list(self.watches):
            if not watch.paused and watch.least <= len(self.waiting):
                self.watches.remove(watch)
                watch.expected.append(len(self.waiting))

    def arrive(self, answer: Answer) -> None:
        if self.open:
            answer.went = True
            return
        self.line.append(answer)
        self.notify()
        self.fill(answer.size)

    def fill(self, size: int | None) -> None:
        if size is not None and len(self.waiting) >= size:
            self.let_go(self.waiting[:size])

    def release_all(self) -> int:
        went = self.let_go(self.arranged())
        # Those of a process that gives no sign of life count for nothing, and go when it is back.
        self.let_go(list(self.line))
        return went


@attrs.define(eq=False)
class Watch:
    """A request that waits for a number of answers."""

    member: int
    least: int
    fired: Deferred[int]
    results: list[Any] = attrs.field(factory=list)
    expected: list[int] = attrs.field(factory=list)
    paused: bool = False
    """Whether its process has been given up."""


class Machine(SharedMachine):
    """Answers, clients that leave, releases and watches, in any order.

    With Redis, a process is cut off at times, given up by the other one at times, and may be back.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gates = {name: Gate() for name in "gh"}
        self.answers: list[Answer] = []
        self.watches: list[Watch] = []
        self.cut: int | None = None

    def here(self, number: int) -> int:
        """Return a process that is not cut off."""
        number %= len(self.shared.members)
        return 1 - number if number == self.cut else number

    @rule(name=NAMES, member=st.integers(0, 1), size=st.sampled_from([None, None, 2, 3]), lifo=st.booleans())
    def arrive(self, name: str, member: int, size: int | None, lifo: bool) -> None:  # noqa: FBT001  # drawn
        number, waiter = member % len(self.shared.members), Waiter()
        wait = GateWait(name, size, 60.0, "lifo" if lifo else "fifo")
        gates = self.shared.members[number].gates
        if number == self.cut:
            with pytest.raises(Refused):
                gates.arrive(wait, waiter, 1)
            return
        answer = Answer(waiter, gates.arrive(wait, waiter, 1), number, size)
        if not answer.place.waiting:
            waiter.passed()
        self.answers.append(answer)
        self.gates[name].order = wait.order
        self.gates[name].arrive(answer)
        self.shared.settle()

    @precondition(lambda self: isinstance(self.shared, RedisWorld))
    @rule(messages_first=st.booleans())
    def overtake(self, messages_first: bool) -> None:  # noqa: FBT001  # drawn
        """Have messages arrive before earlier replies, or behind them."""
        assert isinstance(self.shared, RedisWorld)
        self.shared.messages_first = messages_first

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        waiting = [each for each in self.answers if each.place.waiting and not each.left]
        if not waiting:
            return
        gone = data.draw(st.sampled_from(waiting))
        gone.place.leave()
        gone.left = True
        for gate in self.gates.values():
            # Redis learns of it when the process is back.
            if gone in gate.line and gone.member != self.cut:
                gate.line.remove(gone)
                self.forget(gate)
        self.shared.settle()

    @rule(name=NAMES, member=st.integers(0, 1), count=st.integers(1, 3))
    def release(self, name: str, member: int, count: int) -> None:
        went = self.shared.result(self.shared.members[self.here(member)].gates.release(name, count))
        gate = self.gates[name]
        assert went == gate.let_go(gate.arranged()[:count])
        self.forget(gate)

    @rule(name=NAMES, member=st.integers(0, 1))
    def release_all(self, name: str, member: int) -> None:
        went = self.shared.result(self.shared.members[self.here(member)].gates.release(name, None))
        assert went == self.gates[name].release_all()
        self.forget(self.gates[name])

    @rule(name=NAMES, member=st.integers(0, 1), opened=st.booleans())
    def set_open(self, name: str, member: int, opened: bool) -> None:  # noqa: FBT001  # drawn
        went = self.shared.result(self.shared.members[self.here(member)].gates.open(name, open=opened))
        gate = self.gates[name]
        gate.open = opened
        assert went == (gate.release_all() if opened else 0)
        self.forget(gate)

    @rule(name=NAMES, member=st.integers(0, 1), least=st.integers(1, 3))
    def watch(self, name: str, member: int, least: int) -> None:
        number = self.here(member)
        watch = Watch(number, least, self.shared.members[number].gates.until(name, least))
        watch.fired.addBoth(watch.results.append)
        self.watches.append(watch)
        self.gates[name].watches.append(watch)
        self.gates[name].notify()
        self.shared.settle()

    @rule(data=st.data())
    def watch_no_longer(self, data: st.DataObject) -> None:
        open_ = [(gate, each) for gate in self.gates.values() for each in gate.watches if each.member != self.cut]
        if open_:
            gate, watch = data.draw(st.sampled_from(open_))
            watch.fired.cancel()
            [failure] = watch.results
            assert failure.check(CancelledError)
            self.watches.remove(watch)
            gate.watches.remove(watch)
            self.forget(gate)
            self.shared.settle()

    @precondition(lambda self: isinstance(self.shared, RedisWorld) and self.cut is None)
    @rule(member=st.integers(0, 1), given_up=st.booleans())
    def cut_off(self, member: int, given_up: bool) -> None:  # noqa: FBT001  # drawn
        self.cut = member
        self.shared.members[member].store.cut()
        if given_up:
            assert isinstance(self.shared, RedisWorld)
            self.shared.give_up(member)
            for gate in self.gates.values():
                for each in gate.line:
                    each.lost = each.member == member
                for watch in gate.watches:
                    watch.paused = watch.member == member
                self.forget(gate)

    @precondition(lambda self: self.cut is not None)
    @rule()
    def be_back(self) -> None:
        member, self.cut = self.cut, None
        assert member is not None
        self.shared.members[member].store.mend()
        for gate in self.gates.values():
            back = [each for each in gate.line if each.member == member]
            sizes = []
            for each in back:
                if each.left:
                    gate.line.remove(each)
            for each in [each for each in back if each.lost and not each.left]:
                each.lost = False
                if gate.open:
                    gate.let_go([each])
                    continue
                gate.notify()
                if each.size is not None and len(gate.waiting) >= each.size:
                    sizes.append(each.size)
            for watch in gate.watches:
                watch.paused = False
            gate.notify()
            for size in sizes:
                gate.fill(size)
            self.forget(gate)
        self.shared.settle()

    def forget(self, gate: Gate) -> None:
        """Forget the order of a closed gate at which nothing waits."""
        if not gate.waiting and not gate.open:
            gate.order = "fifo"

    @invariant()
    def each_goes_once(self) -> None:
        """An answer has gone on once if it was let go, and never otherwise."""
        for each in self.answers:
            if each.member != self.cut:
                assert each.waiter.got == (["passed"] if each.went and not each.left else []), each
        for watch in self.watches:
            if watch.member != self.cut:
                assert watch.results == watch.expected

    @invariant()
    def counted(self) -> None:
        found = {each.name: each for each in self.shared.result(self.shared.members[self.here(0)].gates.all())}
        for name, gate in self.gates.items():
            waiting, opened = (found[name].waiting, found[name].open) if name in found else (0, False)
            assert (waiting, opened) == (len(gate.waiting), gate.open)

    def teardown(self) -> None:
        """Nothing stays behind in Redis when all have left."""
        if self.cut is not None:
            self.be_back()
        for each in self.answers:
            each.place.leave()
        for watch in self.watches:
            watch.fired.cancel()
        for name in self.gates:
            self.shared.result(self.shared.members[0].gates.open(name, open=False))
        if isinstance(self.shared, RedisWorld):
            assert self.shared.kept() == set()
        self.shared.end()


@pytest.mark.parametrize("where", ["memory", "redis"])
def test_machine(where: str, server: RedisServer) -> None:
    """Each answer is let go once and in time, when processes come and go."""
    run_machine(Machine, lambda: World() if where == "memory" else RedisWorld(server))


def wait(size: int | None = None, order: str = "fifo", seed: int | None = None) -> GateWait:
    return GateWait("g", size, 60.0, order, seed)


def test_barrier_across_processes(server: RedisServer) -> None:
    """A barrier of 10 lets exactly 10 go when they wait in four processes."""
    with world(lambda: RedisWorld(server, 4)) as shared:
        waiters = [Waiter() for _ in range(25)]
        for n, waiter in enumerate(waiters):
            shared.members[n % 4].gates.arrive(wait(10), waiter, n)
            shared.settle()
            assert sum(len(each.got) for each in waiters) == (n + 1) // 10 * 10
        assert [each.got for each in waiters] == [["passed"]] * 20 + [[]] * 5


def test_random_order(shared: World) -> None:
    """A random order is the same everywhere when it has a seed."""
    order: list[int] = []
    waiters = [Waiter() for _ in range(8)]
    for n, waiter in enumerate(waiters):
        shared.members[n % len(shared.members)].gates.arrive(wait(order="random", seed=7), waiter, n + 1)
    for _ in waiters:
        assert shared.result(shared.members[0].gates.release("g", 1)) == 1
        shared.settle()
        order += [n for n, each in enumerate(waiters) if each.got and n not in order]
    assert order == [6, 7, 2, 3, 4, 5, 1, 0]


def test_released_while_away(redis: RedisWorld) -> None:
    """An answer released without its process goes on once when the process is back."""
    waiters = [Waiter(), Waiter(), Waiter()]
    for waiter in waiters:
        redis.members[1].gates.arrive(wait(), waiter, 1)
    redis.settle()
    redis.members[1].store.cut()
    assert redis.result(redis.members[0].gates.release("g", 2)) == 2
    assert [each.got for each in waiters] == [[], [], []]
    redis.members[1].store.mend()
    redis.settle()
    assert [each.got for each in waiters] == [["passed"], ["passed"], []]
    assert redis.result(redis.members[0].gates.status("g")).waiting == 1


def test_opened_while_given_up(redis: RedisWorld) -> None:
    """An answer goes on when its process is back after its gate was open."""
    waiter = Waiter()
    redis.members[1].gates.arrive(wait(), waiter, 1)
    redis.settle()
    redis.members[1].store.cut()
    redis.give_up(1)
    assert redis.result(redis.members[0].gates.open("g", open=True)) == 0
    redis.result(redis.members[0].gates.open("g", open=False))
    redis.members[1].store.mend()
    redis.settle()
    assert waiter.got == ["passed"]


def test_died(redis: RedisWorld) -> None:
    """A barrier waits for one more when a process has died."""
    waiters = [Waiter(), Waiter(), Waiter()]
    redis.members[1].gates.arrive(wait(3), waiters[0], 1)
    redis.members[0].gates.arrive(wait(3), waiters[1], 1)
    redis.settle()
    redis.members[1].store.cut()
    redis.give_up(1)
    redis.members[0].gates.arrive(wait(3), waiters[2], 1)
    redis.settle()
    assert [each.got for each in waiters] == [[], [], []]
    assert redis.result(redis.members[0].gates.status("g")).waiting == 2


def test_data_lost(redis: RedisWorld) -> None:
    """The answers wait on in their order when Redis has lost its data."""
    waiters = [Waiter(), Waiter(), Waiter()]
    for n, waiter in enumerate(waiters):
        redis.members[n % 2].gates.arrive(wait(), waiter, 1)
        redis.settle()
    redis.server.ask("FLUSHALL")
    for number in (1, 0):
        redis.members[number].store.cut()
        redis.members[number].store.mend()
        redis.settle()
    assert redis.result(redis.members[1].gates.release("g", 2)) == 2
    redis.settle()
    assert [each.got for each in waiters] == [["passed"], ["passed"], []]


def test_unknown_to_redis(redis: RedisWorld) -> None:
    """A process enters itself again when Redis does not know it, with all that waits."""
    waiters = [Waiter(), Waiter()]
    redis.members[0].gates.arrive(wait(), waiters[0], 1)
    redis.settle()
    redis.server.ask("FLUSHALL")
    redis.members[0].gates.arrive(wait(2), waiters[1], 1)
    redis.settle()
    assert [each.got for each in waiters] == [["passed"], ["passed"]]


def test_away(redis: RedisWorld) -> None:
    """A process refuses at once and leaves nothing behind when it is cut off."""
    waiter = Waiter()
    gates, store = redis.members[1].gates, redis.members[1].store
    gates.arrive(wait(), waiter, 1)
    store.cut()
    redis.settle()
    assert waiter.got == ["503"]
    with pytest.raises(Refused):
        gates.arrive(wait(), waiter, 1)
    failures: list[Failure] = []
    gates.release("g", 1).addErrback(failures.append)
    assert [each.check(Refused) for each in failures] == [Refused]
    assert redis.result(redis.members[0].gates.status("g")).waiting == 1
    store.mend()
    redis.settle()
    assert redis.result(redis.members[0].gates.status("g")).waiting == 0


def test_left_while_arriving(redis: RedisWorld) -> None:
    """A client that leaves before Redis has replied leaves the gate."""
    gates = redis.members[1].gates
    gates.arrive(wait(), Waiter(), 1).leave()
    gates.until("g", 1).addErrback(lambda failure: failure.trap(CancelledError)).cancel()
    redis.settle()
    assert redis.result(redis.members[0].gates.all()) == []
    assert redis.server.ask("KEYS", "latebin:own*") == []
