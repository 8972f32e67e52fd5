"""An alarm wakes up for what happens, and at its moment."""

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


def test_an_alarm_is_never_early(epoll: select.epoll) -> None:
    """Without any other event, waiting ends at the moment or after it, each time anew."""
    alarm = EpollTimer(epoll)
    for _ in range(5):
        until = time.monotonic() + 0.003
        alarm.wait(until)
        assert time.monotonic() >= until
    alarm.close()


def test_an_event_ends_the_wait(epoll: select.epoll) -> None:
    """Bytes that are there are told at once, long before the moment."""
    alarm = EpollTimer(epoll)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        epoll.register(ours, select.EPOLLIN)
        theirs.send(b"x")
        assert (ours.fileno(), select.EPOLLIN) in alarm.wait(time.monotonic() + 60)
    alarm.close()


def test_a_moment_that_has_passed_is_not_waited_for(epoll: select.epoll) -> None:
    """Being late already, an alarm only looks."""
    alarm = EpollTimer(epoll)
    alarm.wait(time.monotonic() - 1)
    alarm.close()
