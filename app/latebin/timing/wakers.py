"""The wakers of a clock, and the clock of each reactor."""

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
    """A waker on one delayed call of a reactor, for platforms without a finer timer.

    It has the resolution of the reactor, which rounds waits up to whole milliseconds on epoll. If the reactor's
    `seconds` steps, the waker can be late by the step. It makes no call early, since the clock checks its own time.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        """Make a waker.

        Args:
            reactor: the reactor, or a fake one.
        """
        self._reactor = reactor
        self._call: IDelayedCall | None = None
        self._closed = False

    def arm(self, due: float) -> None:
        """Set the delayed call to the time that is left until a moment.

        Args:
            due: the moment, in seconds of the clock.
        """
        self._disarm()
        if due < math.inf and not self._closed:
            self._call = self._reactor.callLater(max(0.0, due - self.clock.seconds()), self._wake)

    def close(self) -> None:
        """Cancel the delayed call."""
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
    """A ReactorWaker that also protects the reactor's own time from steps.

    Twisted's reactors read `time.time` (`twisted.internet.base.ReactorBase.seconds`). When it is set back by 3 s, a
    delay of 2 s takes 5 s. This waker replaces the reactor's `seconds`: it goes on from its last value at the pace of
    the clock. It remains a time of day, because twisted.web uses it for the dates in its access log. After a step of
    the wall clock these dates are wrong by the step. So is a call that was scheduled before this waker and is `reset`
    after the step, because it has kept `time.time`.
    """

    def __init__(self, reactor: ReactorBase) -> None:
        """Make a waker.

        Args:
            reactor: one of Twisted's own reactors. The due times of its delayed calls do not change.
        """
        super().__init__(reactor)
        self._stepping = reactor

    def start(self, clock: SteadyClock) -> None:
        """Take the clock, and replace the reactor's `seconds`."""
        super().start(clock)
        self._wall = self._stepping.seconds
        self._ahead = self._wall() - clock.seconds()
        self._stepping.seconds = self.seconds

    def seconds(self) -> float:
        """Return seconds since the epoch, by the wall clock at the start of this waker."""
        return self._ahead + self.clock.seconds()

    def close(self) -> None:
        """Cancel the delayed call, and restore the reactor's `seconds`."""
        if not self._closed:
            self._stepping.seconds = self._wall
        super().close()


if sys.version_info >= (3, 13) and sys.platform == "linux":
    _LATEST: Final = 2**62
    """Nanoseconds (146 years of uptime) of the latest setting; a later call is set again then. The kernel's limit is
    2**63 - 1."""

    @implementer(IReadDescriptor)
    class TimerWaker(Waker):
        """A waker on one timerfd that the reactor reads.

        It has the resolution of the kernel's timers: timerfd_create(2). The descriptor is closed on exec and when the
        reactor stops.
        """

        def __init__(self, reactor: IReactorFDSet) -> None:
            """Open the timer.

            Args:
                reactor: the reactor that reads the timer.

            Raises:
                OSError: the kernel or a sandbox around this process refuses a timer.
            """
            self._reactor = reactor
            self._fd = os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)

        def start(self, clock: SteadyClock) -> None:
            """Take the clock, and add the timer to the reactor's readers."""
            super().start(clock)
            self._reactor.addReader(self)

        def arm(self, due: float) -> None:
            """Set the timer to an absolute moment, until which the descriptor is not readable.

            Args:
                due: the moment in seconds of CLOCK_MONOTONIC, rounded up to the nanosecond.
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
            """Return the descriptor, or -1 after `close`."""
            return self._fd

        def doRead(self) -> None:
            """Wake the clock, whose call of `arm` resets the timer without a read."""
            self.clock.run_due()

        def connectionLost(self, reason: Failure) -> None:  # IFileDescriptor's
            """Close the descriptor when the reactor stops."""
            self.close()

        def logPrefix(self) -> str:
            """Return the logging prefix that reactors use for their delayed calls."""
            return "-"

    def _nanoseconds(due: float) -> int:
        if due == math.inf:
            return 0
        # The product may be rounded down, by less than the distance to the next float.
        not_early = math.ceil(math.nextafter(min(due * 1e9, _LATEST), math.inf))
        # 0 would disarm the timer, and a moment before the start of the machine is due now.
        return max(1, not_early)


def for_reactor(reactor: IReactorTime) -> IReactorTime:
    """Return the best clock for a reactor, always the same until it is closed.

    Args:
        reactor: one of Twisted's own reactors. Any other IReactorTime, such as `task.Clock`, is its own clock.

    Returns:
        A clock on a timerfd if the platform has it. Otherwise a clock on the reactor's `callLater`, which then is
        protected from steps of the wall clock.
    """
    if not isinstance(reactor, ReactorBase):
        return reactor
    # A running clock is found through the reactor: its waker is a reader, or the owner of `seconds`.
    descriptors = IReactorFDSet(reactor, None)
    readers = [] if descriptors is None else descriptors.getReaders()
    for each in (getattr(reactor.seconds, "__self__", None), *readers):
        if isinstance(each, Waker):
            return each.clock
    if sys.version_info >= (3, 13) and sys.platform == "linux" and hasattr(os, "timerfd_create"):
        # A sandbox may forbid timers; then the clock uses callLater.
        with contextlib.suppress(OSError):
            if descriptors is not None:
                return SteadyClock(TimerWaker(descriptors))
    return SteadyClock(SteadyingWaker(reactor))


def system() -> IReactorTime:
    """Return the clock of this process, the best one for its global reactor."""
    from twisted.internet import reactor  # noqa: PLC0415  # importing it installs it, which only a caller may decide

    return for_reactor(cast("IReactorTime", reactor))
