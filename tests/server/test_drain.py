import json

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.logger import capturedLogs, formatEvent

from latebin.core.settings import Settings
from latebin.server.drain import LAST, LATEST, Drain, longest
from tests.support.wire import House, Wire

GET = "GET {} HTTP/1.1\r\nHost: a\r\n\r\n"


class Stop:
    """A service in memory that stops: 2 s to listen on, 30 s to answer."""

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
    """A pending request is answered when it is due, as the last on its connection."""
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
    """An idle connection is closed when the listening ends, and not before."""
    wire = stop.house.wire()
    stop.begin()
    stop.house.clock.pump([1.9])
    assert wire.connected
    stop.house.clock.pump([0.1, 0])
    assert not wire.connected
    assert stop.ended == [2.0]


def test_requests_while_listening(stop: Stop, prefix: str) -> None:
    """A request is answered as ever, with `Connection: close`, when it comes before the listening ends."""
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
    """The service is ready when it does not stop."""
    wire = house.wire()
    wire.send(GET.format("/readyz").encode())
    assert wire.received.endswith(b'{"status": "ok"}\n')


def test_too_late(stop: Stop, style: str, prefix: str) -> None:
    """A pending request is answered 503 at once when the time is up."""
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
    """An answer that has begun is broken off when the time is up.

    A 503 would be taken for a part of it.
    """
    wire = stop.ask(f"{prefix}/drip?numbytes=100&duration=100&delay=0")
    stop.begin()
    stop.house.clock.pump([2, 30, 0])
    assert wire.received.count(b"HTTP/1.1") == 1
    assert not wire.connected
    assert stop.ended == [32.0]


@pytest.mark.parametrize("delay", ["0", "3s"])
def test_an_answer_that_hangs(stop: Stop, prefix: str, delay: str) -> None:
    """An answer that hangs is not waited for when the service stops."""
    hanging = stop.ask(f"{prefix}/delayed?fault=hang&delay={delay}")
    stop.house.clock.advance(0)
    with capturedLogs() as events:
        stop.begin()
        stop.house.clock.pump([2, 0])
        assert hanging.connected == (delay != "0")
        stop.house.clock.pump([1, 0, 0])
    assert hanging.received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert not hanging.connected
    assert stop.ended == [2.0 if delay == "0" else 3.0]
    begun, ended = [formatEvent(each) for each in events if each["log_namespace"] == "latebin.server.drain"]
    counted = "0 pending, listening for 2s, then waiting for up to 30s; 1 that hang are not waited for"
    assert (
        begun == f"stopping: {counted if delay == '0' else '1 pending, listening for 2s, then waiting for up to 30s'}"
    )
    assert ended.startswith(f"stopped: waited {'0s for 0' if delay == '0' else '1s for 1'} pending")


@pytest.mark.parametrize("kind", ["sse", "ndjson"])
def test_a_stream_without_end(stop: Stop, prefix: str, kind: str) -> None:
    """A stream without end is ended behind an event when the listening ends."""
    target = f"{prefix}/delayed?type={kind}&chunks=0&every=4s&delay="
    streams = [stop.ask(target + delay) for delay in ("0", "1s", "4s", "40s")]
    stop.house.clock.advance(0)
    with capturedLogs() as events:
        stop.begin()
        stop.house.clock.pump([1, 0.5])
        assert [each.connected for each in streams] == [True] * 4
        stop.house.clock.pump([0.5, 0])
        # Those whose delay is not over begin, with one event.
        assert [each.connected for each in streams] == [False, False, True, True]
        stop.house.clock.pump([2, 0])
    assert [each.received.count(b'"n": ') for each in streams] == [1, 1, 1, 0]
    assert [each.received.endswith(b"\r\n0\r\n\r\n") for each in streams] == [True, True, True, False]
    begun = formatEvent(events[0])
    assert begun.startswith("stopping: 3 pending")
    assert begun.endswith("; 1 streams without end are ended then")
    stop.house.clock.pump([28, 0])
    assert b" 503 " in streams[3].received


def test_an_unread_stream_without_end(stop: Stop, prefix: str) -> None:
    """A stream without end is ended when a client that does not read goes on."""
    stream = stop.ask(f"{prefix}/delayed?type=sse&chunks=0&every=1s&delay=0")
    stop.house.clock.advance(0)
    stream.producer.pauseProducing()
    stop.begin()
    stop.house.clock.pump([2, 5])
    assert stream.connected
    stream.producer.resumeProducing()
    stop.house.clock.pump([0, 0])
    assert not stream.connected
    assert stream.received.endswith(b"\r\n0\r\n\r\n")
    assert stop.ended == [7.0]


def test_a_second_signal_says_what_it_breaks_off(stop: Stop, prefix: str) -> None:
    """The log has the number of lost answers when the drain is broken off."""
    wires = [stop.ask(f"{prefix}/delayed/5m") for _ in range(3)]
    stop.begin()
    stop.house.clock.advance(2)
    with capturedLogs() as events:
        stop.drain.break_off()
        stop.drain.break_off()
    assert [formatEvent(each) for each in events] == ["stopped by a second signal: 3 pending broken off"]
    assert stop.ended == [2.0]
    for wire in wires:
        wire.leave()


def test_connection_stays_open(stop: Stop) -> None:
    """A connection is aborted a moment later when its client does not close it."""
    wire = stop.house.wire()
    lose, wire.loseConnection = wire.loseConnection, lambda: None  # type: ignore[method-assign]  # as one whose client does not close
    stop.begin()
    stop.house.clock.pump([2, 30])
    assert (wire.connected, stop.ended) == (True, [])
    wire.loseConnection = lose  # type: ignore[method-assign]  # an abort does not wait
    stop.house.clock.pump([LAST, 0])
    assert stop.ended == [32.0 + LAST]


@pytest.mark.parametrize("elapsed", [0.0, 2.0, 32.0])
def test_end(stop: Stop, elapsed: float) -> None:
    """The drain is over at once when it is ended, in any part."""
    wire = stop.house.wire()
    wire.loseConnection = lambda: None  # type: ignore[method-assign]  # as above
    stop.begin()
    stop.house.clock.advance(elapsed)
    stop.drain.end()
    stop.drain.end()
    assert stop.ended == [elapsed]
    del wire.loseConnection
    wire.leave()
    assert stop.ended == [elapsed]


def test_stuck(stop: Stop, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    """The other connections and the drain end when one connection cannot be ended."""
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
