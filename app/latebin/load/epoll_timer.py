"""Waiting on epoll until a moment, finer than epoll's own millisecond."""

import os
import select
import sys
import time
from typing import Final

BATCH: Final = 32
"""The most events that one wait returns: what is due meanwhile is late by no more than these take."""

FD_SETSIZE: Final = 1024

Events = list[tuple[int, int]]

if sys.version_info >= (3, 13):

    class EpollTimer:
        """Wakes an epoll up with a timerfd: some 10 us late, where select is 60."""

        __slots__ = ("_epoll", "_timer", "_until")

        def __init__(self, epoll: select.epoll) -> None:
            self._epoll = epoll
            self._until = 0.0
            self._timer = os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)
            # Edge-triggered: an alarm that rang need not be read.
            epoll.register(self._timer, select.EPOLLIN | select.EPOLLET)

        def wait(self, until: float) -> Events:
            """Wait for events, or until a moment.

            Args:
                until: as `time.monotonic` tells it.

            Returns:
                At most BATCH events, possibly none; the alarm's own descriptor may be among them.
            """
            if until != self._until:
                self._until = until
                os.timerfd_settime(self._timer, flags=os.TFD_TIMER_ABSTIME, initial=until)
            return self._epoll.poll(-1, BATCH)

        def close(self) -> None:
            os.close(self._timer)

else:

    class EpollTimer:
        """Waits for an epoll in select, which counts in microseconds and has the kernel's timer slack of 50 us."""

        __slots__ = ("_epoll",)

        def __init__(self, epoll: select.epoll) -> None:
            self._epoll = epoll

        def wait(self, until: float) -> Events:
            """Wait for events, or until a moment.

            Args:
                until: as `time.monotonic` tells it.

            Returns:
                At most BATCH events, possibly none.
            """
            left = max(until - time.monotonic(), 0.0)
            # select knows no descriptor beyond FD_SETSIZE (select(2)); epoll's own milliseconds have to do there.
            if left and self._epoll.fileno() < FD_SETSIZE:
                select.select([self._epoll], [], [], left)
                left = 0.0
            return self._epoll.poll(left, BATCH)

        def close(self) -> None:
            """Close nothing: there is no descriptor of its own."""
