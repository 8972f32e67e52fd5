from collections.abc import Iterator
from typing import Any, cast

import attrs
import pytest
from twisted.internet.task import Clock

from latebin.answers.request_body import WINDOW
from latebin.answers.service import Service
from latebin.core.endpoints import PREFIXES
from latebin.core.settings import Settings
from latebin.site.factory import ServiceSite
from latebin.site.root import Root
from tests.support.silent import Silent
from tests.support.wire import Wire

IDLE = 60
"""Seconds after which Twisted closes a connection on which nothing comes."""

MOST = 2**20
"""Bytes that a body may have."""


@attrs.frozen
class Line:
    """A connection to a service, with clocks of its delays and timeouts, and its upstream."""

    site: ServiceSite
    wire: Wire
    delays: Clock
    idle: Clock
    agent: Silent
    target: str

    def post(self, *headers: str, delay: str = "1s") -> None:
        lines = [f"POST {self.target} HTTP/1.1", "Host: a", f"Latebin-Delay: {delay}", *headers, "", ""]
        self.wire.send("\r\n".join(lines).encode())


@pytest.fixture
def line(style: str) -> Iterator[Line]:
    delays, idle, agent = Clock(), Clock(), Silent()
    settings = Settings(upstreams={"up": "http://up"}, max_body=MOST)
    klein, resource = (Service(delays, settings, upstreams=agent) for _ in PREFIXES)
    site = ServiceSite(Root(klein, resource, settings), delays, idle, settings)
    yield Line(site, Wire(site, idle), delays, idle, agent, f"{PREFIXES[style]}/via/up/")
    assert delays.getDelayedCalls() == [], "a timer outlived the request it was for"


def test_held_body_is_not_idle(line: Line) -> None:
    """A connection is not closed as idle while it is held, and is afterwards."""
    line.post(f"Content-Length: {WINDOW * 2}", delay="5m")
    line.wire.send(b"x" * WINDOW)
    assert line.wire.producerState == "paused"
    line.idle.advance(IDLE * 2)
    assert line.wire.connected
    line.delays.advance(300)
    assert line.wire.producerState == "producing"
    assert len(line.agent.upstream.value()) == WINDOW
    line.idle.advance(IDLE - 1)
    assert line.wire.connected
    line.idle.advance(1)
    assert not line.wire.connected
    assert line.agent.given_up == 1


def test_whole_body_is_not_idle(line: Line) -> None:
    """A client with a whole body is not idle while the body is passed on."""
    line.post(f"Content-Length: {WINDOW}", delay="5m")
    line.wire.send(b"x" * WINDOW)
    line.idle.advance(IDLE * 2)
    line.delays.advance(300)
    line.idle.advance(IDLE * 2)
    assert line.wire.connected
    assert line.wire.producerState == "producing"
    line.wire.leave()
    assert line.agent.given_up == 1


def test_held_though_the_client_reads(line: Line) -> None:
    """A body that its upstream does not take stays unread when the client reads."""
    line.post("Content-Length: 1000000", delay="0")
    line.delays.advance(0)
    line.agent.body.pauseProducing()
    line.wire.send(b"x" * WINDOW)
    assert line.wire.producerState == "paused"
    channel: Any = line.wire.producer
    channel.pauseProducing()
    channel.resumeProducing()
    assert line.wire.producerState == "paused"
    line.agent.body.resumeProducing()
    assert line.wire.producerState == "producing"
    line.wire.leave()


def test_stalled(line: Line) -> None:
    """A stalled body is refused, and the request to its upstream cancelled."""
    line.post("Content-Length: 2", delay="0")
    line.delays.advance(0)
    line.delays.advance(40)
    line.idle.advance(IDLE)
    assert line.wire.received.startswith(b"HTTP/1.1 408 ")
    assert not line.wire.connected
    assert line.agent.given_up == 1


@pytest.mark.parametrize("delay", ["0", "5m"])
def test_too_large(line: Line, delay: str) -> None:
    """A body that turns out too large is refused before and after its delay."""
    line.post("Transfer-Encoding: chunked", delay=delay)
    line.delays.advance(0)
    line.wire.send(b"%x\r\n" % MOST + b"x" * MOST)
    assert line.wire.received == b""
    line.wire.send(b"\r\n1\r\n")
    assert line.wire.received.startswith(b"HTTP/1.1 413 ")
    assert line.agent.given_up == (delay == "0")
    line.wire.send(b"x\r\n0\r\n\r\n")
    line.idle.advance(0)
    assert not line.wire.connected


def test_announced_too_large(line: Line) -> None:
    """A body that is announced as too large is refused before anybody else is asked."""
    line.post(f"Content-Length: {MOST + 1}")
    assert line.wire.received.startswith(b"HTTP/1.1 413 ")
    assert line.delays.getDelayedCalls() == []


def test_malformed(line: Line) -> None:
    """A malformed body is refused, and the request to its upstream cancelled."""
    line.post("Transfer-Encoding: chunked", delay="0")
    line.delays.advance(0)
    line.wire.send(b"none\r\n")
    line.idle.advance(0)
    assert line.wire.received.startswith(b"HTTP/1.1 400 ")
    assert line.wire.received.count(b"HTTP/1.1 ") == 1
    assert (line.wire.connected, line.agent.given_up) == (False, 1)


def test_timeout_counts_from_the_last_progress(line: Line) -> None:
    """An upstream has the whole timeout from the moment at which it was sent something."""
    line.post("Content-Length: 2", delay="0")
    line.delays.advance(0)
    line.delays.advance(29)
    line.wire.send(b"1")
    line.delays.advance(29)
    line.wire.send(b"2")
    line.delays.advance(29.9)
    assert line.wire.received == b""
    line.delays.advance(0.1)
    assert line.wire.received.startswith(b"HTTP/1.1 504 ")


def test_other_paths_wait_for_their_bodies(line: Line, prefix: str) -> None:
    """A request is processed when its body is whole, unless it is passed on."""
    line.wire.send(f"POST {prefix}/delayed/0 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1".encode())
    assert line.delays.getDelayedCalls() == []
    line.wire.send(b"2")
    line.delays.advance(0)
    assert line.wire.received.startswith(b"HTTP/1.1 200 ")


def test_a_reader_that_was_slow_before(line: Line) -> None:
    """A producer is paused at once when the client was not reading before."""
    line.post(delay="0")
    channel, producer = cast("Any", line.wire.producer), Flow()
    channel.pauseProducing()
    channel.registerProducer(producer, True)  # noqa: FBT003  # an interface
    assert producer.paused
    channel.unregisterProducer()
    line.wire.leave()


class Flow:
    """A producer that remembers whether it was paused."""

    paused = False

    def pauseProducing(self) -> None:
        self.paused = True


def test_refused_at_once(line: Line) -> None:
    """A refusal does not wait for the body, and comes behind earlier answers."""
    line.post("Content-Length: 4", "Expect: 100-continue", "Latebin-Size: 1k")
    assert line.wire.received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 Bad Request\r\n")
    line.wire.send(b"body")
    line.wire.send(b"OPTIONS /delayed HTTP/1.1\r\nHost: a\r\n\r\n")
    assert line.wire.received.count(b"HTTP/1.1 204 ") == 1


def test_expectation_without_a_body(line: Line) -> None:
    """No 100 is sent when a request has no body."""
    line.wire.send(b"OPTIONS /delayed HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")
    assert line.wire.received.startswith(b"HTTP/1.1 204 ")


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Latebin-Dleay: 1s", b'"dleay"'),
        ("Latebin-Size: 1k", b'"size"'),
        ("Latebin-At: body", b'"at"'),
        ("latebin-delay: 2s", b'"delay"'),
        ("Latebin-Seed: one", b'"seed"'),
        ("Latebin-N: 1", b'"n"'),
        ("Latebin-Fault: flood", b'"fault"'),
        ("Latebin-Status: 99", b'"status"'),
        ("Latebin-Delay: \xff", b'"delay"'),
    ],
)
def test_wrong_header(line: Line, header: str, name: bytes) -> None:
    """An unknown, repeated or malformed header is a 400 that names it."""
    line.post(header)
    assert line.wire.received.startswith(b"HTTP/1.1 400 ")
    assert b'"parameter": ' + name in line.wire.received
    assert line.agent.body is None


@pytest.mark.parametrize("rest", ["/..", "/a/%2e%2e/b", "/\x85"])
def test_wrong_target(line: Line, rest: str) -> None:
    """A malformed path, or one out of the upstream's own, is a 400."""
    line.wire.send(f"GET {line.target}{rest} HTTP/1.1\r\nHost: a\r\n\r\n".encode("latin-1"))
    assert line.wire.received.startswith(b"HTTP/1.1 400 ")
    assert b'"parameter": "path"' in line.wire.received


def test_default_delay(line: Line) -> None:
    """Without a header, the delay is the default one."""
    line.wire.send(f"GET {line.target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    line.delays.advance(4.999)
    assert line.agent.given_up == 0
    assert [call.getTime() for call in line.delays.getDelayedCalls()] == [5.0]
    line.wire.leave()
