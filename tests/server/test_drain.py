import json

import pytest
from twisted.internet.defer import Deferred, succeed

from latebin.core.settings import Settings
from latebin.server.drain import LAST, LATEST, Drain, longest
from tests.support.wire import House, Wire

GET = "GET {} HTTP/1.1\r\nHost: a\r\n\r\n"


class Stop:
    """A service in memory that is told to stop, with some time to listen on and some to answer."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.refused: list[float] = []
        self.drain = Drain(
            house.clock, house.root.connections, Settings(shutdown_delay=2.0, drain_timeout=30.0), self._refuse
        )
        self.ended: list[float] = []

    def begin(self) -> None:
        self.drain.start().addCallback(lambda _: self.ended.append(self.house.clock.seconds()))

    def _refuse(self) -> Deferred[None]:
        self.refused.append(self.house.clock.seconds())
        return succeed(None)

    def ask(self, target: str) -> Wire:
        wire = self.house.wire()
        wire.send(GET.format(target).encode())
        return wire


@pytest.fixture
def stack(every_stack: str) -> str:
    return every_stack


@pytest.fixture
def stop(house: House) -> Stop:
    return Stop(house)


def test_pending_is_answered_on_time(stop: Stop, prefix: str) -> None:
    """What is pending is answered when it is due, as the last on its connection; the stop takes no longer than that."""
    wire = stop.ask(f"{prefix}/delayed/10s")
    stop.begin()
    stop.house.clock.pump([2, 7.9])
    assert wire.received == b""
    stop.house.clock.pump([0.1, 0])
    assert wire.received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in wire.received
    assert not wire.connected
    assert (stop.refused, stop.ended) == ([2.0], [10.0])


def test_idle_connections(stop: Stop) -> None:
    """Who has asked for nothing is not cut off as long as new ones are accepted, and then at once."""
    wire = stop.house.wire()
    stop.begin()
    stop.house.clock.pump([1.9])
    assert wire.connected
    stop.house.clock.pump([0.1, 0])
    assert not wire.connected
    assert stop.ended == [2.0]


def test_whoever_comes_while_it_listens(stop: Stop, prefix: str) -> None:
    """Until the listening ends, requests are answered as ever, and told that the connection closes."""
    old = stop.house.wire()
    stop.begin()
    new = stop.ask(f"{prefix}/delayed/5s")
    old.send(GET.format("/readyz").encode())
    assert old.received.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nConnection: close\r\n" in old.received
    stop.house.clock.pump([5, 0])
    assert new.received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert stop.ended == [5.0]


def test_ready(house: House) -> None:
    """Before it stops, the service is ready."""
    wire = house.wire()
    wire.send(GET.format("/readyz").encode())
    assert wire.received.endswith(b'{"status": "ok"}\n')


def test_too_late(stop: Stop, style: str, prefix: str) -> None:
    """What is pending when the time is up is answered 503 at once, whoever makes the answer, and is not waited for."""
    wire = stop.ask(f"{prefix}/delayed/5m")
    stop.begin()
    stop.house.clock.pump([2, 29.9])
    assert wire.received == b""
    stop.house.clock.pump([0.1, 0])
    head, _, body = wire.received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"Connection: close" in head.split(b"\r\n")
    assert json.loads(body)["detail"].startswith("The service is stopping")
    assert len(stop.house.service(style).pending) == 0
    assert stop.ended == [32.0]


def test_broken_off(stop: Stop, prefix: str) -> None:
    """An answer that has begun when the time is up is broken off: a 503 would be taken for a part of it."""
    wire = stop.ask(f"{prefix}/drip?numbytes=100&duration=100&delay=0")
    stop.begin()
    stop.house.clock.pump([2, 30, 0])
    assert wire.received.count(b"HTTP/1.1") == 1
    assert not wire.connected
    assert stop.ended == [32.0]


def test_who_does_not_read(stop: Stop) -> None:
    """A client that keeps its connection open, whatever it is told, is cut off a moment after the rest."""
    wire = stop.house.wire()
    lose, wire.loseConnection = wire.loseConnection, lambda: None  # type: ignore[method-assign]  # as one that waits
    stop.begin()
    stop.house.clock.pump([2, 30])
    assert (wire.connected, stop.ended) == (True, [])
    wire.loseConnection = lose  # type: ignore[method-assign]  # an abort does not wait
    stop.house.clock.pump([LAST, 0])
    assert stop.ended == [32.0 + LAST]


@pytest.mark.parametrize("elapsed", [0.0, 2.0, 32.0])
def test_hurry(stop: Stop, elapsed: float) -> None:
    """Whoever is in a hurry need not wait, in whichever part; to be so twice changes nothing."""
    wire = stop.house.wire()
    wire.loseConnection = lambda: None  # type: ignore[method-assign]  # as above
    stop.begin()
    stop.house.clock.advance(elapsed)
    stop.drain.hurry()
    stop.drain.hurry()
    assert stop.ended == [elapsed]
    del wire.loseConnection
    wire.leave()
    assert stop.ended == [elapsed]


def test_stuck(stop: Stop, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    """A connection that cannot be ended keeps no other from it, and the process no longer than a second."""
    wires = [stop.ask(f"{prefix}/drip?delay=0&duration=300&numbytes=3") for _ in range(2)]
    house = stop.house
    house.clock.advance(0)

    def throw(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(wires[0], "abortConnection", throw)
    stop.begin()
    house.clock.pump([2, 30, 0])
    assert [wire.connected for wire in wires] == [True, False]
    house.clock.pump([LAST, LATEST, 0])
    assert stop.ended == [pytest.approx(2 + 30 + LAST + LATEST)]
    monkeypatch.undo()
    wires[0].leave()


def test_listening_does_not_end(stop: Stop) -> None:
    """The drain ends in time when the listening does not end."""
    stop.drain.refuse = Deferred
    stop.begin()
    stop.house.clock.advance(longest(stop.drain.settings) - 0.01)
    assert stop.ended == []
    stop.house.clock.advance(0.01)
    assert stop.ended == [longest(stop.drain.settings)]
    assert stop.house.clock.getDelayedCalls() == []
