"""A clock for all delays, which no step of the wall clock moves."""

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
"""Seconds of one slot: short, so that sorting it is quick, and a power of two."""

_NO_KEYWORDS: Final[dict[str, object]] = {}

_log: Final = Logger()


class Waker(ABC):
    """A timer that wakes a clock up when its earliest call is due."""

    clock: "SteadyClock"

    def start(self, clock: "SteadyClock") -> None:
        """Take the clock, whose `run_due` the timer has to call."""
        self.clock = clock

    @abstractmethod
    def arm(self, due: float) -> None:
        """Set the moment of the next wake-up, in place of the one before.

        Args:
            due: the moment in seconds of the clock. A past one wakes it in the reactor's next turn, infinity never.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop waking the clock, and release the timer; a second call has no effect."""


@implementer(IReactorTime)
class SteadyClock:
    """An IReactorTime whose time only goes forward, with one waker for all calls.

    No call is early. Calls are made in the order of their due times, and for one due time in the order of `callLater`.
    An exception in a call is logged and stops no other call. Like a reactor, the clock belongs to one thread.
    """

    __slots__ = ("_agenda", "_now")

    def __init__(self, waker: Waker, now: Callable[[], float] = time.monotonic) -> None:
        """Start the clock.

        Args:
            waker: the timer that calls `run_due`; it belongs to this clock from now on.
            now: returns monotonic seconds, on the same time scale as the waker's.
        """
        self._now = now
        self._agenda = _Agenda(waker, now)
        waker.start(self)

    def seconds(self) -> float:
        """Return the time.

        Returns:
            Seconds since an arbitrary moment. On Linux they exclude the time while the machine was suspended:
            CLOCK_MONOTONIC, clock_gettime(2).
        """
        return self._now()

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object) -> IDelayedCall:  # noqa: A002  # IReactorTime's name for it
        """Call a function after a delay.

        Args:
            delay: seconds, not negative. An infinite one waits until the call is cancelled or reset.
            callable: the function.
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
        """Return the pending calls, in no particular order."""
        return self._agenda.pending()

    def run_due(self) -> None:
        """Make the due calls, for the waker; new ones wait for the next turn."""
        self._agenda.run_due()

    def close(self) -> None:
        """Close the waker; a second call has no effect.

        Pending calls stay pending and new ones join them, as on a stopped reactor.
        """
        self._agenda.close()


class _Agenda:
    """The pending calls: near ones in a heap, far ones unsorted in slots of time.

    It is a timing wheel (Varghese and Lauck, SOSP 1987) that sorts a slot when its time is near. Most calls that are
    cancelled or moved are far away, as every timeout is. They are deleted from their slot, which leaves no work for
    later. A near one leaves a stale entry in the heap until its due time, a fraction of a second. Deleting from the
    middle of a heap would cost O(n). Each entry begins with two numbers, a pair that no other entry has. So the
    heap compares entries without a call to Python code.
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
        """Remove a call, before its due time or order changes."""
        if call.due < self._horizon:
            return  # its entry in the heap is stale as soon as its order changes
        slot = _slot(call.due)
        calls = self._far[slot]
        del calls[call.order]
        if not calls:
            del self._far[slot]

    def pending(self) -> list["_DelayedCall"]:
        near = [call for _, order, call in self._near if order == call.order]
        return [*near, *(call for calls in self._far.values() for call in calls.values())]

    def run_due(self) -> None:
        # Calls that are added from here on have a larger order, and wait for the next turn.
        now, newest, near = self._now(), next(self._orders), self._near
        if now >= self._ordered_until:
            self._approach(now)
        try:
            while near and near[0][0] <= now and near[0][1] < newest:
                _, order, call = heappop(near)
                if order == call.order:
                    call.run()
        finally:
            # For a far call it is enough to wake up when its slot begins.
            self._arm(near[0][0] if near else min(self._far, default=math.inf) * _WIDTH)

    def close(self) -> None:
        self._waker.close()

    def _approach(self, now: float) -> None:
        """Sort the calls of the current slot and the next.

        This is due again when the current slot ends.
        """
        horizon = _slot(now) + 2
        for slot in [slot for slot in self._far if slot < horizon]:
            self._near += [(call.due, order, call) for order, call in self._far.pop(slot).items()]
        heapify(self._near)
        self._horizon = horizon * _WIDTH
        self._ordered_until = self._horizon - _WIDTH

    def _arm(self, due: float) -> None:
        self._armed = due
        self._waker.arm(due)


def _slot(due: float) -> float:
    # Scaling a float by a power of two is exact. Infinity has its own slot, whose time never comes.
    return due // _WIDTH if due < math.inf else due


@implementer(IDelayedCall)
class _DelayedCall:
    """One call; `order` is that of its valid entry, or _CALLED or _CANCELLED."""

    __slots__ = ("_agenda", "_args", "_function", "_kwargs", "due", "order")

    due: float
    order: int

    def __init__(
        self, agenda: _Agenda, function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> None:
        self._agenda = agenda
        self._function = function
        self._args = args
        # Most calls have no keywords, and one empty dict for each is a quarter of the memory of 100,000 timers.
        self._kwargs = kwargs or _NO_KEYWORDS

    def getTime(self) -> float:
        """Return the due time in seconds of the clock."""
        return self.due

    def active(self) -> bool:
        """Return whether the call is pending."""
        return self.order >= 0

    def cancel(self) -> None:
        """Cancel the call, and release its function and arguments at once.

        Raises:
            AlreadyCalled: the call was made.
            AlreadyCancelled: the call was cancelled before.
        """
        self._require_active()
        self._agenda.drop(self)
        self._end(_CANCELLED)

    def delay(self, secondsLater: float) -> None:
        """Move the call relative to its due time.

        Args:
            secondsLater: seconds to add to the due time; may be negative.

        Raises:
            AlreadyCalled: the call was made.
            AlreadyCancelled: the call was cancelled before.
            ValueError: the new due time is not a number.
        """
        self._require_active()
        due = self.due + secondsLater
        if math.isnan(due):
            raise ValueError(f"expected a number of seconds, not {secondsLater!r}, to add to {self.due!r} s")
        self._move(due, self._agenda.now())

    def reset(self, secondsFromNow: float) -> None:
        """Move the call relative to now.

        Args:
            secondsFromNow: seconds, not negative.

        Raises:
            AlreadyCalled: the call was made.
            AlreadyCancelled: the call was cancelled before.
            ValueError: the delay is negative or not a number.
        """
        self._require_active()
        now = self._agenda.now()
        self._move(now + _waitable(secondsFromNow), now)

    def run(self) -> None:
        """Make the call, after releasing function and arguments: this object may be kept longer."""
        function, args, kwargs = self._function, self._args, self._kwargs
        self._end(_CALLED)
        try:
            function(*args, **kwargs)
        except BaseException:  # noqa: BLE001  # as Twisted's reactors do for their own delayed calls
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
    # `delay < 0` would let NaN pass, which has no order in the heap.
    if delay >= 0:
        return delay
    raise ValueError(f"expected a number of seconds that is not negative, not {delay!r}")
