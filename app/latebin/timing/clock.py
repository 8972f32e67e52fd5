"""Where "now" and "later" come from: one clock that no step of the wall clock moves, for every delay there is."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

_CALLED: Final = -1

_CANCELLED: Final = -2

_WIDTH: Final = 1 / 16
"""Seconds of one slot: short, so that it takes but a moment to put it in order; a power of two."""

_NO_KEYWORDS: Final[dict[str, object]] = {}

_log: Final = Logger()


class Waker(ABC):
    """What wakes a clock up at one moment, the earliest for which it waits."""

    clock: "SteadyClock"

    def start(self, clock: "SteadyClock") -> None:
        """Take the clock that is to be woken, by its `run_due`."""
        self.clock = clock

    @abstractmethod
    def arm(self, due: float) -> None:
        """Wake the clock once, at a moment that replaces the one before.

        Args:
            due: in seconds of the clock; one in the past wakes it in the reactor's next turn, infinity never.
        """

    @abstractmethod
    def close(self) -> None:
        """Wake the clock no more, and give back what the operating system or the reactor lent; twice is once."""


@implementer(IReactorTime)
class SteadyClock:
    """Calls functions later, by a clock that only goes forward: never early, in order, over a single waker.

    Like a reactor it belongs to one thread. A call that is due at the same moment as another is made in the order in
    which they were asked for; one that raises is logged, and the others are made all the same.
    """

    __slots__ = ("_agenda", "_now")

    def __init__(self, waker: Waker, now: Callable[[], float] = time.monotonic) -> None:
        """Start the clock.

        Args:
            waker: what calls `run_due`; it is this clock's own from here on.
            now: monotonic seconds, of the same clock as the waker's.
        """
        self._now = now
        self._agenda = _Agenda(waker, now)
        waker.start(self)

    def seconds(self) -> float:
        """Tell the time.

        Returns:
            Seconds since a moment that has no meaning. On Linux the time for which the machine was suspended is not
            counted: CLOCK_MONOTONIC, clock_gettime(2).
        """
        return self._now()

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object) -> IDelayedCall:  # noqa: A002  # IReactorTime's name for it
        """Call a function when a delay has passed.

        Args:
            delay: seconds, not negative; infinity waits until it is cancelled or reset.
            callable: what to call.
            args: its positional arguments.
            kwargs: its keyword arguments.

        Returns:
            The call, to cancel it or to change its time.

        Raises:
            ValueError: the delay is negative or not a number.
        """
        call = _DelayedCall(self._agenda, callable, args, kwargs)
        now = self._now()
        self._agenda.add(call, now + _waitable(delay), now)
        return call

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """List the calls that are still to be made, in no particular order."""
        return self._agenda.pending()

    def run_due(self) -> None:
        """Make the calls that are due, as its waker has it do; those that they ask for are left for the next turn."""
        self._agenda.run_due()

    def close(self) -> None:
        """Be woken no more, and give back what the waker was lent; twice is once.

        What is pending stays so, and what is asked for later joins it, as on a reactor that has stopped.
        """
        self._agenda.close()


class _Agenda:
    """What is to be called and when: what is near in a heap, and what is far in slots of time, in no order.

    It is a timing wheel (Varghese and Lauck, SOSP 1987) whose slots are put in order when their time comes near. Most
    calls that are cancelled or moved are far away, as every timeout is: they are taken out of their slot, and there is
    nothing to clear up later, when somebody would have to wait for it. A near one leaves its entry behind, stale, for
    the fraction of a second until it would have been due: to take it out of the middle of a heap would cost O(n).
    Entries start with two numbers that no two of them share, so that the heap compares without calling Python.
    """

    __slots__ = ("_armed", "_far", "_horizon", "_near", "_now", "_ordered_until", "_orders", "_waker")

    def __init__(self, waker: Waker, now: Callable[[], float]) -> None:
        self._waker = waker
        self._now = now
        self._near: list[tuple[float, int, _DelayedCall]] = []
        self._far: dict[float, dict[int, _DelayedCall]] = {}
        self._horizon = self._ordered_until = -math.inf
        self._orders = count()
        self._armed = math.inf

    def now(self) -> float:
        return self._now()

    def add(self, call: "_DelayedCall", due: float, now: float) -> None:
        call.due, call.order = due, next(self._orders)
        if due >= self._horizon and now >= self._ordered_until:
            self._approach(now)
        if due < self._horizon:
            heappush(self._near, (due, call.order, call))
        else:
            self._far.setdefault(_slot(due), {})[call.order] = call
        if due < self._armed:
            self._arm(due)

    def drop(self, call: "_DelayedCall") -> None:
        """Forget a call, which still has its time and order."""
        if call.due < self._horizon:
            return  # its entry is stale as soon as it has another order
        slot = _slot(call.due)
        calls = self._far[slot]
        del calls[call.order]
        if not calls:
            del self._far[slot]

    def pending(self) -> list["_DelayedCall"]:
        near = [call for _, order, call in self._near if order == call.order]
        return [*near, *(call for calls in self._far.values() for call in calls.values())]

    def run_due(self) -> None:
        now, unborn, near = self._now(), next(self._orders), self._near
        if now >= self._ordered_until:
            self._approach(now)
        try:
            while near and near[0][0] <= now and near[0][1] < unborn:
                _, order, call = heappop(near)
                if order == call.order:
                    call.run()
        finally:
            self._arm(self._next())

    def close(self) -> None:
        self._waker.close()

    def _approach(self, now: float) -> None:
        """Put in order what is due before the end of the next slot; it is time to do so again when this one ends."""
        horizon = _slot(now) + 2
        for slot in [slot for slot in self._far if slot < horizon]:
            self._near += [(call.due, order, call) for order, call in self._far.pop(slot).items()]
        heapify(self._near)
        self._horizon = horizon * _WIDTH
        self._ordered_until = self._horizon - _WIDTH

    def _next(self) -> float:
        # Of what is far it is enough to be awake when the slot begins.
        return self._near[0][0] if self._near else min(self._far, default=math.inf) * _WIDTH

    def _arm(self, due: float) -> None:
        self._armed = due
        self._waker.arm(due)


def _slot(due: float) -> float:
    # A power of two scales a float without rounding it. Infinity is a slot of its own, which never comes near.
    return due // _WIDTH if due < math.inf else due


@implementer(IDelayedCall)
class _DelayedCall:
    """One call; `order` is that of its one valid place in the agenda, or how the call ended."""

    __slots__ = ("_agenda", "_args", "_function", "_kwargs", "due", "order")

    due: float
    order: int

    def __init__(
        self, agenda: _Agenda, function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> None:
        self._agenda = agenda
        self._function = function
        self._args = args
        # Few calls have any, and an empty dict each is a quarter of what 100,000 timers weigh.
        self._kwargs = kwargs or _NO_KEYWORDS

    def getTime(self) -> float:
        """Tell when the call is due, in seconds of its clock."""
        return self.due

    def active(self) -> bool:
        """Tell whether the call is still to be made."""
        return self.order >= 0

    def cancel(self) -> None:
        """Make the call never, and let go of its function and arguments at once.

        Raises:
            AlreadyCalled: it was made.
            AlreadyCancelled: it was cancelled before.
        """
        self._require_active()
        self._agenda.drop(self)
        self._end(_CANCELLED)

    def delay(self, secondsLater: float) -> None:
        """Move the call.

        Args:
            secondsLater: seconds after the time at which it is due now; before it, if negative.

        Raises:
            AlreadyCalled: it was made.
            AlreadyCancelled: it was cancelled before.
            ValueError: that is not a number.
        """
        self._require_active()
        due = self.due + secondsLater
        if math.isnan(due):
            raise ValueError(f"not a time to call at: {secondsLater!r} s after {self.due!r} s")
        self._move(due, self._agenda.now())

    def reset(self, secondsFromNow: float) -> None:
        """Let the wait begin again.

        Args:
            secondsFromNow: seconds, not negative.

        Raises:
            AlreadyCalled: it was made.
            AlreadyCancelled: it was cancelled before.
            ValueError: the delay is negative or not a number.
        """
        self._require_active()
        now = self._agenda.now()
        self._move(now + _waitable(secondsFromNow), now)

    def run(self) -> None:
        """Make the call; first let go of it, so that whoever keeps this object keeps nothing else alive."""
        function, args, kwargs = self._function, self._args, self._kwargs
        self._end(_CALLED)
        try:
            function(*args, **kwargs)
        except BaseException:  # noqa: BLE001  # whatever it is, as Twisted's reactors have it for their own delayed calls
            _log.failure("a delayed call failed")

    def _require_active(self) -> None:
        if self.order == _CANCELLED:
            raise AlreadyCancelled
        if self.order == _CALLED:
            raise AlreadyCalled

    def _move(self, due: float, now: float) -> None:
        self._agenda.drop(self)
        self._agenda.add(self, due, now)

    def _end(self, how: int) -> None:
        self.order = how
        del self._function, self._args, self._kwargs


def _waitable(delay: float) -> float:
    # Not `delay < 0`: that would let a NaN into the heap, where it has no order.
    if delay >= 0:
        return delay
    raise ValueError(f"a delay is a number of seconds, not negative; not {delay!r}")
