"""EpollTimer ends a wait at an event, and otherwise at the given moment."""

import select
import socket
import time
from collections.abc import Iterator

import pytest

from latebin.load.epoll_timer import EpollTimer


@pytest.fixture
def epoll() -> Iterator[select.epoll]:
    with select.epoll() as epoll:
        yield epoll


def test_a_timer_is_never_early(epoll: select.epoll) -> None:
    """A wait ends at its moment or later, each time, when there is no event."""
    timer = EpollTimer(epoll)
    for _ in range(5):
        until = time.monotonic() + 0.003
        timer.wait(until)
        assert time.monotonic() >= until
    timer.close()


def test_an_event_ends_the_wait(epoll: select.epoll) -> None:
    """A wait returns an event at once when bytes have come before the moment."""
    timer = EpollTimer(epoll)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        epoll.register(ours, select.EPOLLIN)
        theirs.send(b"x")
        assert (ours.fileno(), select.EPOLLIN) in timer.wait(time.monotonic() + 60)
    timer.close()


def test_a_moment_that_has_passed_is_not_waited_for(epoll: select.epoll) -> None:
    """A wait returns at once when its moment has passed."""
    timer = EpollTimer(epoll)
    timer.wait(time.monotonic() - 1)
    timer.close()
