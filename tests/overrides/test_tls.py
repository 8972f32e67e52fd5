from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock

from latebin.answers.service import Service
from latebin.core.settings import Settings
from latebin.overrides.tls import LINGER, PATIENCE
from latebin.site.factory import ServiceSite
from latebin.site.root import Root
from tests.support.tls_wire import TLSWire

# Twisted hands the certificate of an endpoint to pyOpenSSL in a form that is to be given up.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

CLOSED = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture
def wire() -> Iterator[TLSWire]:
    """A connection of TLS whose client answers nothing by itself."""
    clock, settings = Clock(), Settings()
    klein, resource = Service(clock, settings), Service(clock, settings)
    wire = TLSWire(ServiceSite(Root(klein, resource, settings), clock), clock)
    yield wire
    wire.leave()
    # TLS closes its transport, which has been lost.
    clock.advance(0)
    assert clock.getDelayedCalls() == []


def test_mute(wire: TLSWire) -> None:
    """FIN follows close_notify at once, and the connection ends soon, when the client answers neither."""
    wire.say(CLOSED)
    assert wire.heard.startswith(b"HTTP/1.1 200 ")
    assert (wire.notified, wire.half_closed, wire.connected) == (True, True, True)
    wire._clock.advance(LINGER)
    assert not wire.connected
    assert not wire.aborted


def test_goodbye(wire: TLSWire) -> None:
    """The connection ends at once when the client answers close_notify."""
    wire.say(CLOSED)
    wire.say_goodbye()
    assert not wire.connected


def test_late_request(wire: TLSWire) -> None:
    """Nothing is answered that comes behind the end of a connection."""
    wire.say(CLOSED)
    heard = wire.heard
    wire.say(CLOSED)
    assert wire.heard == heard
    assert wire.connected


def test_idle(wire: TLSWire) -> None:
    """A silent connection is closed after a minute, also without the client's answer."""
    wire.say(CLOSED.replace(b"close", b"keep-alive"))
    wire._clock.advance(60)
    wire.exchange()
    assert (wire.notified, wire.half_closed) == (True, True)
    wire._clock.advance(LINGER)
    assert not wire.connected


def test_idle_before_a_request(wire: TLSWire) -> None:
    """The first request is waited for longer than a handshake."""
    wire._clock.advance(59)
    assert wire.connected
    assert not wire.notified
    wire._clock.advance(1)
    wire.exchange()
    assert wire.notified


@pytest.mark.parametrize("part", [0, 1, 100])
def test_half_a_handshake(wire: TLSWire, part: int) -> None:
    """A handshake has the time that the headers of a request have."""
    slow = TLSWire(wire.protocol.wrappedProtocol.site, wire._clock, begin=False)
    if part:
        slow.greet(part)
    wire._clock.advance(19)
    assert slow.connected
    wire._clock.pump([1, LINGER])
    assert not slow.connected


def test_slow_reader(wire: TLSWire) -> None:
    """A client is waited for while it reads, and aborted when it stops."""
    wire.takes = False
    wire.say(b"GET /delayed/0?size=64k HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    for _ in range(2 * PATIENCE):
        wire._tempDataLen -= 1
        wire._clock.advance(LINGER)
    assert wire.connected
    wire._clock.pump([LINGER] * PATIENCE)
    assert wire.aborted


def test_handshake(wire: TLSWire) -> None:
    """A connection is aborted when its handshake is not done at its close."""
    wire.protocol._handshakeDone = False
    wire.protocol.loseConnection()
    wire._clock.advance(0)
    assert wire.aborted
