"""The timers that wake a clock up, and the clock of each reactor."""

import contextlib
import math
import os
import sys
import time
from typing import Final, cast

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from latebin.timing.clock import SteadyClock, Waker


class ReactorWaker(Waker):
    """A waker that is one delayed call of a reactor, for where there is nothing finer.

    It is as fine as the reactor, which rounds a wait up to whole milliseconds on epoll, and as steady as the reactor's
    own `seconds`: one that steps makes it late by the step, though never early, for the clock looks at its own time.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        """Wake by a reactor's `callLater`.

        Args:
            reactor: the reactor, or a fake of one.
        """
        self._reactor = reactor
        self._call: IDelayedCall | None = None
        self._closed = False

    def arm(self, due: float) -> None:
        """Wake the clock when the reactor has waited for what is left until a moment.

        Args:
            due: in seconds of the clock.
        """
        self._disarm()
        if due < math.inf and not self._closed:
            self._call = self._reactor.callLater(max(0.0, due - self.clock.seconds()), self._wake)

    def close(self) -> None:
        """Withdraw the delayed call."""
        self._closed = True
        self._disarm()

    def _disarm(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _wake(self) -> None:
        self._call = None
        self.clock.run_due()


class SteadyingWaker(ReactorWaker):
    """A ReactorWaker that keeps its reactor's time from stepping.

    Twisted's reactors read `time.time` (twisted.internet.base.ReactorBase.seconds): set back by 3 s, it makes a delay
    of 2 s take 5 s. Here the reactor's `seconds` goes on from what it was, but at the pace of the clock. It still tells
    the time of day, because twisted.web dates its access log by it; after a step of the wall clock those dates are off
    by the step. So is a call that was scheduled before and is `reset` after the step, for it has kept `time.time`.
    """

    def __init__(self, reactor: ReactorBase) -> None:
        """Wake by the `callLater` of one of Twisted's own reactors.

        Args:
            reactor: the reactor; what is scheduled on it already stays due when it was.
        """
        super().__init__(reactor)
        self._stepping = reactor

    def start(self, clock: SteadyClock) -> None:
        """Take the clock that is to be woken, and keep the reactor in step with it."""
        super().start(clock)
        self._wall = self._stepping.seconds
        self._ahead = self._wall() - clock.seconds()
        self._stepping.seconds = self.seconds

    def seconds(self) -> float:
        """Tell the reactor's time: seconds since the epoch as the wall clock had it when this waker started."""
        return self._ahead + self.clock.seconds()

    def close(self) -> None:
        """Withdraw the delayed call, and let the reactor have its own time again."""
        if not self._closed:
            self._stepping.seconds = self._wall
        super().close()


if sys.version_info >= (3, 13) and sys.platform == "linux":
    _LATEST: Final = 2**62
    """Nanoseconds, 146 years of uptime: what is due later is looked at again then; the kernel's limit is 2**63 - 1."""

    @implementer(IReadDescriptor)
    class TimerWaker(Waker):
        """A waker that is one timerfd, read by the reactor: as fine as the kernel's timers are, timerfd_create(2).

        The descriptor is closed when the reactor stops, as every reader's is, and on exec.
        """

        def __init__(self, reactor: IReactorFDSet) -> None:
            """Open the timer.

            Args:
                reactor: what reads it.

            Raises:
                OSError: the kernel, or a sandbox around this process, has no timer to give.
            """
            self._reactor = reactor
            self._fd = os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)

        def start(self, clock: SteadyClock) -> None:
            """Take the clock that is to be woken, and let the reactor watch for it."""
            super().start(clock)
            self._reactor.addReader(self)

        def arm(self, due: float) -> None:
            """Set the timer to a moment, absolutely, and make the descriptor unreadable until then.

            Args:
                due: in seconds of CLOCK_MONOTONIC, rounded up to the nanosecond.
            """
            if self._fd >= 0:
                os.timerfd_settime_ns(self._fd, flags=os.TFD_TIMER_ABSTIME, initial=_nanoseconds(due))

        def close(self) -> None:
            """Close the descriptor."""
            if self._fd >= 0:
                self._reactor.removeReader(self)
                os.close(self._fd)
                self._fd = -1

        def fileno(self) -> int:
            """Give the descriptor, or -1 when it is closed."""
            return self._fd

        def doRead(self) -> None:
            """Wake the clock, which then arms this timer: that takes the expiry back, so nothing needs to be read."""
            self.clock.run_due()

        def connectionLost(self, reason: Failure) -> None:  # IFileDescriptor's
            """Close the descriptor, as the reactor has it do when it stops."""
            self.close()

        def logPrefix(self) -> str:
            """Name the logging context of what is called later as a reactor does for its own delayed calls."""
            return "-"

    def _nanoseconds(due: float) -> int:
        if due == math.inf:
            return 0
        # The product may have been rounded down, by less than the next float is away.
        not_early = math.ceil(math.nextafter(min(due * 1e9, _LATEST), math.inf))
        # 0 would disarm the timer: what was due before the machine started is due now.
        return max(1, not_early)


def for_reactor(reactor: IReactorTime) -> IReactorTime:
    """Give the best clock that there is on a reactor, and the same one each time until it is closed.

    Args:
        reactor: one of Twisted's own. Whatever else keeps time (`task.Clock`, a SteadyClock) is its own clock.

    Returns:
        A clock over a timerfd where the platform has it; else over the reactor's `callLater`, kept from stepping.
    """
    if not isinstance(reactor, ReactorBase):
        return reactor
    return _running_on(reactor) or _finest(reactor)


def system() -> IReactorTime:
    """Give the clock of this process: the best on its global reactor."""
    from twisted.internet import reactor  # noqa: PLC0415  # importing it installs it: not before it is wanted

    return for_reactor(cast("IReactorTime", reactor))


def _running_on(reactor: ReactorBase) -> SteadyClock | None:
    # What the reactor was given is itself the record of it: a reader, or the bound method that is now its `seconds`.
    descriptors = IReactorFDSet(reactor, None)
    readers = [] if descriptors is None else descriptors.getReaders()
    given = [getattr(reactor.seconds, "__self__", None), *readers]
    return next((waker.clock for waker in given if isinstance(waker, Waker)), None)


def _finest(reactor: ReactorBase) -> SteadyClock:
    if sys.version_info >= (3, 13) and sys.platform == "linux" and hasattr(os, "timerfd_create"):
        descriptors = IReactorFDSet(reactor, None)
        # A sandbox may forbid it: no reason to have no clock.
        with contextlib.suppress(OSError):
            if descriptors is not None:
                return SteadyClock(TimerWaker(descriptors))
    return SteadyClock(SteadyingWaker(reactor))
