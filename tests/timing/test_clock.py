"""The clock of all delays, on fake and on real reactors."""

import gc
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test
from twisted.internet import reactor as _global_reactor
from twisted.internet.base import ReactorBase
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IReadDescriptor
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock, LoopingCall, deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from latebin.timing import wakers
from latebin.timing.clock import SteadyClock, Waker
from latebin.timing.wakers import ReactorWaker, SteadyingWaker, for_reactor, system

HAS_TIMERFD = hasattr(os, "timerfd_create")

T = TypeVar("T")

reactor_ = cast("ReactorBase", _global_reactor)

AN_HOUR = 3600.0

PATIENCE = 30.0
"""The longest time, in seconds, to wait for a Deferred."""


class RecordingWaker(Waker):
    """A waker that records the moments for which it was armed."""

    def __init__(self) -> None:
        self.armed: list[float] = []
        self.closed = False

    def arm(self, due: float) -> None:
        self.armed.append(due)

    def close(self) -> None:
        self.closed = True


class Time:
    """A clock whose time the test advances, and which only its waker wakes up."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waker = RecordingWaker()
        self.clock = SteadyClock(self.waker, lambda: self.now)

    def advance(self, amount: float) -> None:
        self.now += amount
        if self.waker.armed and self.waker.armed[-1] <= self.now:
            self.clock.run_due()


@pytest.fixture
def time_() -> Time:
    return Time()


@pytest.fixture
def clock(time_: Time) -> SteadyClock:
    return time_.clock


@pytest.fixture
def calls() -> list[object]:
    return []


@pytest.fixture
def own_reactor() -> Iterator[SelectReactor]:
    """A reactor that the test may run and stop."""
    own = SelectReactor()
    yield own
    own.disconnectAll()
    for reader in own._internalReaders:
        reader.connectionLost(None)


@pytest.fixture
def reactor() -> ReactorBase:
    """The reactor that pytest-twisted runs."""
    return reactor_


@pytest.fixture
def wall() -> "Wall":
    return Wall()


@pytest.fixture
def without_timerfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "timerfd_create", raising=False)


@pytest.fixture(
    params=[pytest.param("timerfd", marks=pytest.mark.skipif(not HAS_TIMERFD, reason="no timerfd")), "callLater"]
)
def real(
    request: pytest.FixtureRequest, reactor: ReactorBase, wall: "Wall", monkeypatch: pytest.MonkeyPatch
) -> Iterator[SteadyClock]:
    """A clock on the running reactor with each waker, beside a movable wall clock."""
    monkeypatch.setattr(time, "time", wall.seconds)
    monkeypatch.setattr(reactor, "seconds", wall.seconds)
    if request.param == "callLater":
        request.getfixturevalue("without_timerfd")
    given = for_reactor(reactor)
    assert isinstance(given, SteadyClock)
    yield given
    given.close()


class Wall:
    """A wall clock that the test can set by a step."""

    step = 0.0
    true_seconds = staticmethod(time.time)

    def seconds(self) -> float:
        return self.true_seconds() + self.step


def patiently(d: Deferred[T]) -> Deferred[T]:
    """Cancel a Deferred after PATIENCE seconds, by a clock that no test steps."""
    patience = threading.Timer(PATIENCE, reactor_.callFromThread, [d.cancel])
    patience.start()

    def over(result: T) -> T:
        patience.cancel()
        return result

    return d.addBoth(over)


def _held(clock: SteadyClock) -> int:
    """Count the entries and slots in a clock."""
    agenda = clock._agenda
    return len(agenda._near) + len(agenda._far) + sum(map(len, agenda._far.values()))


def waker_of(clock: IReactorTime) -> Waker:
    assert isinstance(clock, SteadyClock)
    return clock._agenda._waker


class TestCallLater:
    def test_provides_the_interfaces(self, clock: SteadyClock) -> None:
        """The clock is an IReactorTime and its calls are IDelayedCalls."""
        assert verifyObject(IReactorTime, clock)
        assert verifyObject(IDelayedCall, clock.callLater(1, print))

    def test_calls_when_the_delay_has_passed(self, time_: Time, calls: list[object]) -> None:
        """A function is called with its arguments when its delay has passed."""
        time_.clock.callLater(2, lambda *args, **kwargs: calls.append((args, kwargs)), 1, b=2)
        time_.advance(1.999)
        assert calls == []
        time_.advance(0.001)
        assert calls == [((1,), {"b": 2})]
        time_.advance(10)
        assert len(calls) == 1

    def test_equal_times_are_first_come_first_served(self, time_: Time, calls: list[object]) -> None:
        """Calls are made in the order of callLater when they have one due time."""
        for n in range(100):
            time_.clock.callLater(5, calls.append, n)
        time_.advance(5)
        assert calls == list(range(100))

    def test_late_calls_keep_their_order(self, time_: Time, calls: list[object]) -> None:
        """Overdue calls are made in the order of their due times."""
        for delay in (3, 1, 2):
            time_.clock.callLater(delay, calls.append, delay)
        time_.advance(60)
        assert calls == [1, 2, 3]

    @pytest.mark.parametrize("delay", [-1, -0.001, -math.inf, math.nan])
    def test_refuses_wrong_delays(self, clock: SteadyClock, delay: float) -> None:
        """A delay is refused without a trace when it is negative or not a number."""
        call = clock.callLater(1, print)
        with pytest.raises(ValueError, match="not negative"):
            clock.callLater(delay, print)
        with pytest.raises(ValueError, match="not negative"):
            call.reset(delay)
        assert clock.getDelayedCalls() == [call]

    def test_infinity_never_comes(self, time_: Time) -> None:
        """A call with an infinite delay stays pending."""
        call = time_.clock.callLater(math.inf, print)
        time_.advance(1e12)
        assert call.active()

    def test_exception_stops_no_other_call(self, time_: Time, calls: list[object]) -> None:
        """An exception is logged, and later calls are made, when a call raises."""
        time_.clock.callLater(1, lambda: 1 // 0)
        time_.clock.callLater(1, calls.append, "next")
        with capturedLogs() as logged:
            time_.advance(1)
        assert [event["log_failure"].type for event in logged] == [ZeroDivisionError]
        assert calls == ["next"]

    def test_a_turn_ends(self, time_: Time, calls: list[object]) -> None:
        """A call without delay waits for the next turn when another call adds it."""

        def again() -> None:
            calls.append(None)
            if len(calls) < 10:
                time_.clock.callLater(0, again)

        time_.clock.callLater(0, again)
        for turn in range(1, 4):
            time_.advance(0)
            assert len(calls) == turn

    def test_a_turn_ends_with_overdue_calls(self, time_: Time, calls: list[object]) -> None:
        """A call waits for the next turn when another call adds it overdue."""

        def again() -> None:
            calls.append(None)
            if len(calls) < 10:
                time_.clock.callLater(0, again).delay(-5)

        time_.clock.callLater(0, again)
        time_.advance(0)
        assert len(calls) == 1
        time_.advance(0)
        assert len(calls) == 2

    def test_a_call_may_cancel_another_that_is_due(self, time_: Time, calls: list[object]) -> None:
        """A due call is not made when an earlier call of its turn cancels it."""
        time_.clock.callLater(1, lambda: second.cancel())  # noqa: PLW0108  # `second` is not defined yet
        second = time_.clock.callLater(1, calls.append, "second")
        time_.advance(1)
        assert calls == []


class TestDelayedCall:
    def test_cancel(self, time_: Time, calls: list[object]) -> None:
        """A cancelled call is not made, not listed, and cannot be changed again."""
        call = time_.clock.callLater(1, calls.append, None)
        call.cancel()
        time_.advance(1)
        assert calls == []
        assert not call.active()
        assert time_.clock.getDelayedCalls() == []
        for touch in (call.cancel, lambda: call.delay(1), lambda: call.reset(1)):
            with pytest.raises(AlreadyCancelled):
                touch()

    def test_called(self, time_: Time) -> None:
        """A call cannot be changed when it was made."""
        call = time_.clock.callLater(1, print, end="")
        time_.advance(1)
        assert not call.active()
        for touch in (call.cancel, lambda: call.delay(1), lambda: call.reset(1)):
            with pytest.raises(AlreadyCalled):
                touch()

    def test_a_call_is_called_while_it_runs(self, time_: Time, calls: list[object]) -> None:
        """A call is inactive and cannot be cancelled while its function runs."""

        def inside() -> None:
            calls.append(call.active())
            with pytest.raises(AlreadyCalled):
                call.cancel()

        call = time_.clock.callLater(1, inside)
        with capturedLogs() as logged:
            time_.advance(1)
        assert (calls, logged) == ([False], [])

    def test_reset(self, time_: Time, calls: list[object]) -> None:
        """A reset counts from now, to a later or an earlier time."""
        later, sooner = (time_.clock.callLater(5, calls.append, name) for name in ("later", "sooner"))
        time_.advance(2)
        later.reset(5)
        sooner.reset(1)
        assert (later.getTime(), sooner.getTime()) == (1007, 1003)
        time_.advance(1)
        assert calls == ["sooner"]
        time_.advance(3.5)
        assert calls == ["sooner"]
        time_.advance(0.5)
        assert calls == ["sooner", "later"]

    def test_delay(self, time_: Time, calls: list[object]) -> None:
        """A delay counts from the due time, in either direction."""
        call = time_.clock.callLater(5, calls.append, None)
        call.delay(2)
        assert call.getTime() == 1007
        call.delay(-4)
        assert call.getTime() == 1003
        time_.advance(3)
        assert calls == [None]

    def test_delay_refuses_nan(self, time_: Time) -> None:
        """A call keeps its due time when the delay is not a number."""
        call = time_.clock.callLater(5, print)
        with pytest.raises(ValueError, match="nan"):
            call.delay(math.nan)
        assert call.getTime() == 1005

    @pytest.mark.parametrize("end", ["cancel", "run"])
    def test_lets_go_at_once(self, time_: Time, end: str) -> None:
        """A call releases its function and arguments when it is made or cancelled."""

        class Answer:
            def send(self, other: object) -> None: ...

        answer, body = Answer(), Answer()
        gone = [weakref.ref(answer), weakref.ref(body)]
        call = time_.clock.callLater(1, answer.send, other=body)
        del answer, body
        if end == "cancel":
            call.cancel()
        else:
            time_.advance(1)
        assert [ref() for ref in gone] == [None, None]
        assert not call.active()


class TestManyTimers:
    def test_arms_only_for_what_is_earlier(self, time_: Time) -> None:
        """A call arms the waker only when it is the earliest."""
        for delay in (5, 7, 9, 5, 3, 4):
            time_.clock.callLater(delay, print)
        assert time_.waker.armed == [1005, 1003]

    def test_arms_once_a_turn(self, time_: Time) -> None:
        """A turn arms the waker once, at its end, for the earliest pending call."""
        for _ in range(100):
            time_.clock.callLater(1, lambda: time_.clock.callLater(2, int))
        time_.advance(1)
        assert time_.waker.armed == [1001, 1003]

    def test_wakes_no_more_when_nothing_is_left(self, time_: Time) -> None:
        """The waker is armed for infinity when no call is left."""
        time_.clock.callLater(1, int)
        time_.advance(1)
        assert time_.waker.armed == [1001, math.inf]

    def test_cancelled_timers_take_no_room(self, clock: SteadyClock) -> None:
        """A clock holds only the pending calls after 10,000 were cancelled or moved."""
        kept = [clock.callLater(1 + n, int) for n in range(10)]
        for call in [clock.callLater(1 + n % 7, int) for n in range(10_000)]:
            call.cancel()
        for n in range(10_000):
            kept[0].reset(1 + n)
        assert _held(clock) <= 2 * len(kept)
        assert set(clock.getDelayedCalls()) == set(kept)

    def test_cancelled_timers_that_were_near_take_no_room_for_long(self, time_: Time) -> None:
        """A cancelled call is gone at its due time when that was near."""
        for call in [time_.clock.callLater(n / 100_000, int) for n in range(1000)]:
            call.cancel()
        assert _held(time_.clock) == 1000
        time_.advance(0.01)
        assert _held(time_.clock) == 0

    def test_cancelled_timers_leave_the_others_in_order(self, time_: Time, calls: list[object]) -> None:
        """Calls are made in order when two thirds of all are cancelled."""
        delays = [n * 7919 % 1009 for n in range(1009)]
        timers = [time_.clock.callLater(delay, calls.append, delay) for delay in delays]
        for n, timer in enumerate(timers):
            if n % 3:
                timer.cancel()
        time_.advance(1009)
        assert calls == sorted(delays[::3])

    def test_leaves_no_garbage(self, time_: Time) -> None:
        """Calls that are made, cancelled, moved or failed leave no cyclic garbage."""
        clock = time_.clock

        def use() -> None:
            for n in range(1000):
                clock.callLater(n % 5, int)
                clock.callLater(n % 5, int).cancel()
                clock.callLater(1, int).reset(3)
                deferLater(clock, 1, int)
                deferLater(clock, 1, int).addErrback(lambda _: 0).cancel()
                if n % 100 == 0:
                    clock.callLater(2, lambda: 1 // 0)
            for _ in range(5):
                time_.advance(1)

        gc.freeze()  # it stays so: garbage of other tests may become unreachable at any time
        gc.disable()
        try:
            with capturedLogs():
                use()
            assert clock.getDelayedCalls() == []
            assert gc.collect() < 10
        finally:
            gc.enable()


class TestWithTwisted:
    def test_defer_later_fires(self, time_: Time, calls: list[object]) -> None:
        """The Deferred of deferLater fires with the result when the delay has passed."""
        deferLater(time_.clock, 3, lambda a, b: a + b, 1, b=2).addCallback(calls.append)
        time_.advance(2)
        assert calls == []
        time_.advance(1)
        assert calls == [3]

    def test_defer_later_fails(self, time_: Time, calls: list[object]) -> None:
        """The Deferred of deferLater fails when the function raises."""
        deferLater(time_.clock, 0, lambda: 1 // 0).addErrback(lambda f: calls.append(f.check(ZeroDivisionError)))
        time_.advance(0)
        assert calls == [ZeroDivisionError]

    def test_defer_later_cancels(self, time_: Time, calls: list[object]) -> None:
        """A cancelled deferLater leaves no delayed call and calls no function."""
        d = deferLater(time_.clock, 3, calls.append, "called")
        d.addErrback(lambda f: calls.append(f.check(CancelledError)))
        d.cancel()
        assert time_.clock.getDelayedCalls() == []
        time_.advance(3)
        assert calls == [CancelledError]

    def test_defer_later_needs_no_function(self, time_: Time, calls: list[object]) -> None:
        """A deferLater fires with None when it has no function."""
        deferLater(time_.clock, 1).addCallback(calls.append)
        time_.advance(1)
        assert calls == [None]

    def test_looping_call(self, time_: Time, calls: list[object]) -> None:
        """A LoopingCall keeps its interval on this clock, and leaves no call when it stops."""
        loop = LoopingCall(lambda: calls.append(time_.now))
        loop.clock = time_.clock
        loop.start(2)
        for _ in range(4):
            time_.advance(1)
        assert calls == [1000, 1002, 1004]
        loop.stop()
        assert time_.clock.getDelayedCalls() == []

    def test_timeout(self, time_: Time, calls: list[object]) -> None:
        """A Deferred's timeout counts on this clock."""
        late: Deferred[object] = Deferred()
        late.addTimeout(2, time_.clock).addErrback(lambda f: calls.append(f.check(TimedOut)))
        prompt: Deferred[object] = Deferred()
        prompt.addTimeout(2, time_.clock).addCallback(calls.append)
        prompt.callback("prompt")
        time_.advance(2)
        assert calls == ["prompt", TimedOut]
        assert time_.clock.getDelayedCalls() == []


DELAYS = st.integers(0, 8).map(float) | st.floats(0, 10)


class AgainstASortedList(RuleBasedStateMachine):
    """A clock and a sorted list as its model, under any sequence of operations."""

    waiting = Bundle[IDelayedCall]("waiting")

    def __init__(self) -> None:
        super().__init__()
        self.time = Time()
        self.made: list[int] = []
        self.names: dict[IDelayedCall, int] = {}
        self.expected: dict[int, tuple[float, int]] = {}
        self.orders = 0

    def expect(self, call: IDelayedCall, due: float) -> None:
        self.orders += 1
        self.expected[self.names[call]] = (due, self.orders)

    @rule(target=waiting, delay=DELAYS)
    def call_later(self, delay: float) -> IDelayedCall:
        name = len(self.names)
        call = self.time.clock.callLater(delay, self.made.append, name)
        self.names[call] = name
        self.expect(call, self.time.now + delay)
        return call

    @rule(call=consumes(waiting))
    def cancel(self, call: IDelayedCall) -> None:
        if call.active():
            call.cancel()
            del self.expected[self.names[call]]

    @rule(call=waiting, delay=DELAYS)
    def reset(self, call: IDelayedCall, delay: float) -> None:
        if call.active():
            call.reset(delay)
            self.expect(call, self.time.now + delay)

    @rule(call=waiting, amount=st.floats(-10, 10))
    def delay(self, call: IDelayedCall, amount: float) -> None:
        if call.active():
            due = call.getTime() + amount
            call.delay(amount)
            self.expect(call, due)

    @rule(amount=DELAYS)
    def advance(self, amount: float) -> None:
        self.made.clear()
        self.time.advance(amount)
        due = {name: at for name, at in self.expected.items() if at[0] <= self.time.now}
        assert self.made == sorted(due, key=due.__getitem__)
        for name in due:
            del self.expected[name]
        # The entry of a cancelled or moved call is gone by its former due time.
        assert all(order == call.order or at > self.time.now for at, order, call in self.time.clock._agenda._near)

    @invariant()
    def lists_what_is_waiting(self) -> None:
        listed = {self.names[call]: call.getTime() for call in self.time.clock.getDelayedCalls()}
        assert listed == {name: due for name, (due, _) in self.expected.items()}

    @invariant()
    def will_be_awake_in_time(self) -> None:
        earliest = min((due for due, _ in self.expected.values()), default=math.inf)
        assert [math.inf, *self.time.waker.armed][-1] <= earliest


def test_against_a_sorted_list() -> None:
    """Calls are as in a sorted list when they are made, moved and cancelled."""
    run_state_machine_as_test(AgainstASortedList)


class TestReactorWaker:
    def test_wakes_by_one_delayed_call(self) -> None:
        """A reactor has one delayed call, for the earliest of all calls."""
        reactor = Clock()
        clock = SteadyClock(ReactorWaker(reactor), reactor.seconds)
        for delay in (5, 3, 4):
            clock.callLater(delay, int)
        assert [call.getTime() for call in reactor.getDelayedCalls()] == [3]
        reactor.advance(3)
        assert [call.getTime() for call in reactor.getDelayedCalls()] == [4]

    def test_a_reactor_that_wakes_early_makes_no_call_early(self, calls: list[object]) -> None:
        """A call waits for the rest of its delay when the reactor's time is ahead."""
        reactor, now = Clock(), [0.0]
        clock = SteadyClock(ReactorWaker(reactor), lambda: now[0])
        clock.callLater(5, calls.append, "called")
        now[0] = 2.0
        reactor.advance(5)
        assert calls == []
        assert [call.getTime() for call in reactor.getDelayedCalls()] == [8]
        now[0] = 5.0
        reactor.advance(3)
        assert calls == ["called"]

    def test_close(self) -> None:
        """A closed clock has no delayed call on its reactor, also after a second close."""
        reactor = Clock()
        clock = SteadyClock(ReactorWaker(reactor), reactor.seconds)
        pending = clock.callLater(5, int)
        clock.close()
        clock.close()
        clock.callLater(1, int).cancel()
        assert reactor.getDelayedCalls() == []
        assert clock.getDelayedCalls() == [pending]


class TestSteadyingWaker:
    @pytest.fixture
    def wall(self, own_reactor: SelectReactor, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        wall = [1_700_000_000.0]
        monkeypatch.setattr(own_reactor, "seconds", lambda: wall[0])
        return wall

    def test_the_reactors_time_goes_on_without_steps(
        self, own_reactor: SelectReactor, wall: list[float], time_: Time
    ) -> None:
        """A reactor's time goes on at the clock's pace when the wall clock steps."""
        SteadyClock(SteadyingWaker(own_reactor), lambda: time_.now)
        assert own_reactor.seconds() == wall[0]
        time_.now += 2
        wall[0] -= AN_HOUR
        assert own_reactor.seconds() == 1_700_000_002.0

    def test_scheduled_calls_keep_their_due_times(
        self, own_reactor: SelectReactor, wall: list[float], time_: Time, calls: list[object]
    ) -> None:
        """A reactor's own calls are made on time when the wall clock steps."""
        own_reactor.callLater(5, calls.append, "before")
        SteadyClock(SteadyingWaker(own_reactor), lambda: time_.now)
        own_reactor.callLater(6, calls.append, "after")
        wall[0] += AN_HOUR
        for now, made in ((1004, []), (1005, ["before"]), (1006, ["before", "after"])):
            time_.now = now
            own_reactor.iterate()
            assert calls == made

    def test_close_gives_the_reactor_its_time_back(
        self, own_reactor: SelectReactor, wall: list[float], time_: Time
    ) -> None:
        """A reactor reads the wall clock again when the clock is closed."""
        clock = SteadyClock(SteadyingWaker(own_reactor), lambda: time_.now)
        clock.close()
        clock.close()
        wall[0] += AN_HOUR
        assert own_reactor.seconds() == wall[0]


class TestForReactor:
    @pytest.mark.parametrize("fallback", [False, True])
    def test_one_clock_for_one_reactor(
        self, own_reactor: SelectReactor, request: pytest.FixtureRequest, *, fallback: bool
    ) -> None:
        """A reactor has one clock until that is closed."""
        if fallback:
            request.getfixturevalue("without_timerfd")
        clock = for_reactor(own_reactor)
        assert isinstance(clock, SteadyClock)
        assert for_reactor(own_reactor) is clock
        assert for_reactor(clock) is clock
        clock.close()
        assert for_reactor(own_reactor) is not clock

    @pytest.mark.parametrize("fake", [Clock, MemoryReactorClock])
    def test_a_fake_keeps_its_own_time(self, fake: Callable[[], IReactorTime]) -> None:
        """A fake reactor is its own clock."""
        reactor = fake()
        assert for_reactor(reactor) is reactor

    @pytest.mark.skipif(not HAS_TIMERFD, reason="no timerfd")
    def test_takes_the_timer_where_there_is_one(self, own_reactor: SelectReactor) -> None:
        """The reactor reads a timerfd and keeps its own time when the platform has timerfds."""
        clock = for_reactor(own_reactor)
        assert waker_of(clock) in own_reactor.getReaders()
        assert own_reactor.seconds is SelectReactor.seconds

    def test_a_sandbox_without_timers_has_a_clock(
        self, own_reactor: SelectReactor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The clock uses the reactor's callLater when the kernel refuses a timerfd."""

        def refuse(*_args: object, **_kwargs: object) -> int:
            raise PermissionError

        monkeypatch.setattr(os, "timerfd_create", refuse, raising=False)
        assert isinstance(waker_of(for_reactor(own_reactor)), SteadyingWaker)

    def test_a_reactor_without_descriptors_has_a_clock(self) -> None:
        """The clock uses the reactor's callLater when the reactor reads no descriptors."""

        class Bare(ReactorBase):
            def installWaker(self) -> None: ...

        reactor = Bare()
        clock = for_reactor(reactor)
        assert isinstance(waker_of(clock), SteadyingWaker)
        assert for_reactor(reactor) is clock

    def test_system(self, reactor: ReactorBase) -> None:
        """The clock of the process is that of its global reactor."""
        clock = system()
        assert isinstance(clock, SteadyClock)
        assert for_reactor(reactor) is clock
        clock.close()


class TestOnARealReactor:
    def test_never_early(self, real: SteadyClock, calls: list[object]) -> Deferred[None]:
        """No call is early by the clock, among 200."""

        def check(due: float) -> None:
            calls.append(real.seconds() >= due)

        for n in range(200):
            delay = n * 0.00013
            real.callLater(delay, check, real.seconds() + delay)

        def all_called(_: object) -> None:
            assert calls == [True] * 200

        return patiently(deferLater(real, 0.03)).addCallback(all_called)

    @pytest.mark.parametrize("step", [-AN_HOUR, AN_HOUR])
    def test_a_step_of_the_wall_clock_changes_no_delay(
        self, real: SteadyClock, wall: Wall, step: float
    ) -> Deferred[None]:
        """A delay ends on time when the wall clock steps by an hour."""
        due = real.seconds() + 0.02
        d = deferLater(real, 0.02, real.seconds)
        wall.step = step

        def in_time(ended: float) -> None:
            assert due <= ended < due + AN_HOUR

        return patiently(d).addCallback(in_time)

    def test_io_has_its_turn(self, real: SteadyClock, reactor: ReactorBase) -> Deferred[None]:
        """The reactor does its other work when calls add calls without delay."""

        def again() -> None:
            if not done.called:
                real.callLater(0, again)

        done: Deferred[None] = Deferred()
        again()
        reactor.callFromThread(done.callback, None)
        return patiently(done)

    def test_a_stopping_reactor_is_not_kept(self, own_reactor: SelectReactor, calls: list[object]) -> None:
        """A reactor makes due calls until it stops, and stops with calls pending."""
        clock = for_reactor(own_reactor)
        clock.callLater(AN_HOUR, int)
        own_reactor.addSystemEventTrigger(
            "before", "shutdown", lambda: deferLater(clock, 0.001, calls.append, "drained")
        )
        clock.callLater(0, own_reactor.stop)
        own_reactor.run(installSignalHandlers=False)
        clock.callLater(0, int)
        assert calls == ["drained"]


if sys.version_info >= (3, 13) and sys.platform == "linux":
    from latebin.timing.wakers import TimerWaker

    @pytest.fixture
    def timer(own_reactor: SelectReactor) -> TimerWaker:
        waker = waker_of(for_reactor(own_reactor))
        assert isinstance(waker, TimerWaker)
        return waker

    def left(timer: TimerWaker) -> int:
        """Return the nanoseconds until a timer expires; 0 if it is disarmed."""
        return os.timerfd_gettime_ns(timer.fileno())[0]

    @pytest.mark.skipif(not HAS_TIMERFD, reason="no timerfd")
    class TestTimerWaker:
        def test_provides_the_interface(self, timer: TimerWaker) -> None:
            """The timer is an IReadDescriptor that no child process inherits."""
            assert verifyObject(IReadDescriptor, timer)
            assert not os.get_inheritable(timer.fileno())
            assert not os.get_blocking(timer.fileno())

        def test_is_set_absolutely(self, timer: TimerWaker) -> None:
            """The timer is set to a moment, however far, and disarmed by infinity."""
            timer.arm(time.monotonic() + AN_HOUR)
            assert 0 < left(timer) <= AN_HOUR * 1e9
            timer.arm(1e300)
            assert left(timer) > 1e18
            timer.arm(math.inf)
            assert left(timer) == 0

        @given(st.floats(1e-6, 1e9))
        def test_rounds_up(self, due: float) -> None:
            """The timer expires at its due time or up to a nanosecond later."""
            assert wakers._nanoseconds(due) / 1e9 >= due

        @pytest.mark.parametrize("due", [0.0, -5.0])
        def test_the_past_is_now(self, timer: TimerWaker, due: float) -> None:
            """The timer expires at once when its moment is before the machine's start."""
            timer.arm(due)
            assert len(os.read(timer.fileno(), 8)) == 8

        def test_is_unreadable_after_a_turn(self, timer: TimerWaker, calls: list[object]) -> None:
            """The descriptor is not readable after a turn, so that the reactor can sleep."""
            timer.clock.callLater(0, calls.append, "called")
            timer.doRead()
            assert calls == ["called"]
            with pytest.raises(BlockingIOError):
                os.read(timer.fileno(), 8)

        @pytest.mark.parametrize("end", ["close", "connectionLost", "stop"])
        def test_closes_its_descriptor(self, timer: TimerWaker, own_reactor: SelectReactor, end: str) -> None:
            """The timer closes its descriptor once when it is closed or the reactor stops."""
            fd = timer.fileno()
            if end == "stop":
                own_reactor.callWhenRunning(own_reactor.stop)
                own_reactor.run(installSignalHandlers=False)
            elif end == "connectionLost":
                timer.connectionLost(Failure(ConnectionError()))
            else:
                timer.close()
            assert timer.fileno() == -1
            assert timer not in own_reactor.getReaders()
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)
            timer.close()

        def test_closed_clock_makes_no_call(self, timer: TimerWaker) -> None:
            """A closed clock accepts calls and keeps them pending, as a stopped reactor does."""
            timer.clock.close()
            call = timer.clock.callLater(0, int)
            assert timer.clock.getDelayedCalls() == [call]
