"""A wait on an epoll until a moment, finer than the milliseconds of epoll itself."""

import os
import select
import sys
import time
from typing import Final

BATCH: Final = 32
"""The most events that one wait returns: a request that becomes due meanwhile waits for at most this many."""

FD_SETSIZE: Final = 1024
"""The number from which on select(2) accepts no file descriptor."""

Events = list[tuple[int, int]]
"""Pairs of a file descriptor and its epoll event mask."""

if sys.version_info >= (3, 13):

    class EpollTimer:
        """A timerfd in an epoll, late by some 10 us (select: 60 us)."""

        __slots__ = ("_epoll", "_timer", "_until")

        def __init__(self, epoll: select.epoll) -> None:
            self._epoll = epoll
            self._until = 0.0
            self._timer = os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)
            # Edge-triggered: an expired timer is reported once, and need not be read.
            epoll.register(self._timer, select.EPOLLIN | select.EPOLLET)

        def wait(self, until: float) -> Events:
            """Wait for events until a moment.

            Args:
                until: in seconds, on the clock of `time.monotonic`.

            Returns:
                At most BATCH events, possibly none. The timer's own descriptor may be among them.
            """
            # After a wait that an event ended the timer is still set: only another moment needs a system call.
            if until != self._until:
                self._until = until
                os.timerfd_settime(self._timer, flags=os.TFD_TIMER_ABSTIME, initial=until)
            return self._epoll.poll(-1, BATCH)

        def close(self) -> None:
            os.close(self._timer)

else:

    class EpollTimer:
        """A select on an epoll, late by the kernel's timer slack of some 50 us."""

        __slots__ = ("_epoll",)

        def __init__(self, epoll: select.epoll) -> None:
            self._epoll = epoll

        def wait(self, until: float) -> Events:
            """Wait for events until a moment.

            Args:
                until: in seconds, on the clock of `time.monotonic`.

            Returns:
                At most BATCH events, possibly none.
            """
            left = max(until - time.monotonic(), 0.0)
            # select(2) cannot watch a descriptor from FD_SETSIZE on: the wait is then in epoll's own milliseconds.
            if left and self._epoll.fileno() < FD_SETSIZE:
                select.select([self._epoll], [], [], left)
                left = 0.0
            return self._epoll.poll(left, BATCH)

        def close(self) -> None:
            """Do nothing: select needs no descriptor of its own."""
