import time

import pytest
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock

from app.clock import steady


def test_wall_clock_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of the wall clock, in either direction, changes nothing about when a call is due."""
    reactor = SelectReactor()
    clock = steady(reactor)
    fired: list[str] = []
    clock.callLater(3600, fired.append, "too early")
    clock.callLater(0, fired.append, "now")
    for step in (-1e6, 1e6):
        monkeypatch.setattr(time, "time", lambda step=step: step)
        reactor.runUntilCurrent()
        assert fired == ["now"]
        assert 0 < (reactor.timeout() or 0) <= 3600
    reactor.disconnectAll()


def test_what_is_scheduled_is_not_confused() -> None:
    """A reactor on which something is scheduled already keeps its own time."""
    reactor = SelectReactor()
    reactor.callLater(1, lambda: None)
    before = reactor.seconds
    steady(reactor)
    assert reactor.seconds is before


def test_another_clock_is_left_alone() -> None:
    """A clock that a test moves is given back as it is."""
    clock = Clock()
    assert steady(clock) is clock
    assert clock.seconds() == 0
