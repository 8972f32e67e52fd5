from collections.abc import Callable, Iterator
from typing import Any, cast

import attrs
import pytest
from h2.connection import H2Connection
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.web.http import HTTPChannel

from latebin.answers import request_body
from latebin.answers.service import Service
from latebin.core.http.chunked import ChunkedBody
from latebin.core.settings import Settings
from latebin.overrides.channel import Channel
from latebin.overrides.channel_head import HeadChannel
from latebin.overrides.channel_limits import LimitedChannel
from latebin.overrides.connection import Connection
from latebin.overrides.http2 import HTTP2Channel, Stream
from latebin.overrides.http2_frames import Frames, IncomingFrames
from latebin.overrides.request import Request
from latebin.overrides.tls import ClosingTLSTransport
from latebin.site.factory import ServiceSite
from latebin.site.root import Root
from tests.overrides.test_http2_conformance import POST, START, data, headers, reset, window
from tests.support.tls_wire import TLSWire
from tests.support.wire import Wire

# Twisted hands the certificate of an endpoint to pyOpenSSL in a form that is to be given up.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

POSTED = b"POST /delayed/1m HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntest\r\n0\r\n\r\n"
ECHOED = b"POST /delay/60 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\ntest"
PASSED = b"POST /via/up/ HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\ntest"
FRAMES = START + headers(POST, end=False) + window(9) + window(9, 1) + data() + headers(stream=3) + reset(3)

Throw = Callable[..., Any]


class Thrown(Exception):  # it is thrown
    """An exception that no code expects."""


@attrs.frozen
class House:
    """A service whose connections are thrown at, and what its log says."""

    clock: Clock
    site: ServiceSite
    root: Root
    events: list[LogEvent] = attrs.field(factory=list)

    def lines(self) -> list[LogEvent]:
        return [event for event in self.events if "ended" in event.get("log_format", "")]

    def figure(self, name: str, label: str) -> float:
        page = self.root.metrics.page().body.decode()
        [line] = [line for line in page.splitlines() if line.startswith(f"{name}{{") and label in line]
        return float(line.split()[-1])


@pytest.fixture
def house() -> Iterator[House]:
    clock, settings = Clock(), Settings(upstreams={"up": "http://up"})
    klein, resource = Service(clock, settings), Service(clock, settings)
    root = Root(klein, resource, settings)
    house = House(clock, ServiceSite(root, clock, settings=settings), root)
    observer = cast("ILogObserver", house.events.append)
    globalLogPublisher.addObserver(observer)
    yield house
    globalLogPublisher.removeObserver(observer)


HTTP1: list[tuple[bytes, Any, str]] = [
    (POSTED, Connection, "_begin"),
    (POSTED, Channel, "dataReceived"),
    (POSTED, HeadChannel, "lineReceived"),
    (POSTED, HeadChannel, "checkPersistence"),
    (POSTED, HeadChannel, "rawDataReceived"),
    (POSTED, ChunkedBody, "feed"),
    (POSTED, Channel, "allHeadersReceived"),
    (POSTED, LimitedChannel, "rawDataReceived"),
    (POSTED, HTTPChannel, "rawDataReceived"),
    (POSTED, LimitedChannel, "allContentReceived"),
    (POSTED, LimitedChannel, "setTimeout"),
    (POSTED, Request, "__init__"),
    (POSTED, Request, "gotLength"),
    (POSTED, Request, "expect_body"),
    (POSTED, Request, "handleContentChunk"),
    (POSTED, Request, "requestReceived"),
    (POSTED, Request, "process"),
    (POSTED, ServiceSite, "body"),
    (POSTED, request_body.DroppedBody, "write"),
    (ECHOED, request_body.KeptBody, "write"),
    (PASSED, request_body.StreamedBody, "write"),
]
"""Places that a byte of HTTP/1.1 reaches, each with what reaches it."""

HTTP2: list[tuple[Any, str]] = [
    (HTTP2Channel, "dataReceived"),
    (HTTP2Channel, "_attend"),
    (HTTP2Channel, "resetTimeout"),
    (IncomingFrames, "add_data"),
    (IncomingFrames, "_parsed"),
    (IncomingFrames, "_update_header_buffer"),
    (Frames, "receive"),
    (Frames, "_receive_frame"),
    (Frames, "_receive_headers_frame"),
    (Frames, "_decompressed"),
    (H2Connection, "_receive_data_frame"),
    (H2Connection, "_receive_settings_frame"),
    (H2Connection, "_receive_window_update_frame"),
    (Frames, "_prepare_for_sending"),
    (HTTP2Channel, "_wake"),
]
"""Places that a byte of HTTP/2 reaches, and whose failure is that of the connection."""

STREAMS: list[tuple[Any, str]] = [
    (Stream, "__init__"),
    (Stream, "receiveDataChunk"),
    (Stream, "requestComplete"),
    (HTTP2Channel, "openStreamWindow"),
    (Request, "gotLength"),
    (Request, "expect_body"),
    (Request, "handleContentChunk"),
    (Request, "requestReceived"),
    (Request, "process"),
    (ServiceSite, "body"),
    (request_body.DroppedBody, "write"),
]
"""Places that are a stream's own."""

TLS: list[tuple[Any, str]] = [
    (ClosingTLSTransport, "_checkHandshakeStatus"),
    (ClosingTLSTransport, "_flushReceiveBIO"),
    (ClosingTLSTransport, "_flushSendBIO"),
    (ClosingTLSTransport, "_unbufferPendingWrites"),
    (Connection, "dataReceived"),
]
"""Places that a byte of TLS reaches."""


@attrs.frozen
class Thrower:
    """An exception, and the side that is taken for its cause."""

    monkeypatch: pytest.MonkeyPatch
    error: type[Exception]
    cause: str

    def at(self, place: Any, name: str) -> None:
        """Have a method throw."""

        def throw(*_: object, **__: object) -> None:
            raise self.error("thrown\nhere")

        self.monkeypatch.setattr(place, name, throw)

    def stop(self) -> None:
        self.monkeypatch.undo()


@pytest.fixture(params=[(Thrown, "service"), (ValueError, "client")], ids=["service", "client"])
def thrower(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Thrower:
    return Thrower(monkeypatch, *request.param)


def _name(value: object) -> str | None:
    """Return the name of a place for a test's name, and None for sent bytes."""
    return "" if isinstance(value, bytes) else getattr(value, "__name__", None)


def check_report(house: House, cause: str) -> None:
    """Check that a client's error is one line, and a service's a traceback."""
    lines = house.lines()
    assert lines
    assert {"log_failure" in line for line in lines} == {cause == "service"}
    if cause == "client":
        assert "thrown\\nhere" in lines[0]["error"]


@pytest.mark.parametrize(("sent", "place", "name"), HTTP1, ids=_name)
def test_http1(house: House, thrower: Thrower, sent: bytes, place: Any, name: str) -> None:
    """An exception ends its connection alone when a byte of HTTP/1.1 causes it."""
    other, wire = Wire(house.site, house.clock), Wire(house.site, house.clock)
    thrower.at(place, name)
    wire.send(sent)
    house.clock.advance(0)
    thrower.stop()
    assert not wire.connected
    assert house.root.connections.open == 1
    check_report(house, thrower.cause)
    assert house.figure("latebin_connection_errors_total", thrower.cause) >= 1
    other.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    assert other.received.startswith(b"HTTP/1.1 200 ")
    other.leave()


class Line(Wire):
    negotiatedProtocol = b"h2"


@pytest.mark.parametrize(("place", "name"), HTTP2, ids=_name)
def test_http2(house: House, thrower: Thrower, place: Any, name: str) -> None:
    """An exception ends its connection alone when a byte of HTTP/2 causes it."""
    line = Line(house.site, house.clock)
    thrower.at(place, name)
    line.send(FRAMES)
    house.clock.pump([0] * 4)
    thrower.stop()
    assert not line.connected
    assert house.root.connections.open == 0
    check_report(house, thrower.cause)
    assert house.figure("latebin_connection_errors_total", thrower.cause) >= 1


@pytest.mark.parametrize(("place", "name"), STREAMS, ids=_name)
def test_stream(house: House, thrower: Thrower, place: Any, name: str) -> None:
    """An exception ends its stream alone when a byte of the stream causes it."""
    line = Line(house.site, house.clock)
    thrower.at(place, name)
    line.send(START + headers(POST, end=False) + data())
    house.clock.pump([0] * 4)
    thrower.stop()
    check_report(house, thrower.cause)
    assert house.figure("latebin_connection_errors_total", thrower.cause) >= 1
    before = len(line.received)
    line.send(headers(stream=3))
    assert b'{"status":"ok"}' in line.received[before:].replace(b" ", b"")
    line.leave()
    house.clock.pump([0] * 2)
    assert house.root.connections.open == 0


@pytest.mark.parametrize(("place", "name"), TLS, ids=_name)
def test_tls(house: House, thrower: Thrower, place: Any, name: str) -> None:
    """An exception ends its connection, and no drain waits, when TLS causes it."""
    wire = TLSWire(house.site, house.clock)
    thrower.at(place, name)
    if name == "_unbufferPendingWrites":
        wire.protocol._appSendBuffer.append(b"what waited")
    if name == "_checkHandshakeStatus":
        wire.protocol._handshakeDone = False
    wire.say(ECHOED, ECHOED)
    house.clock.advance(0)
    thrower.stop()
    assert not wire.connected
    assert house.root.connections.open == 0
    assert house.lines()


@pytest.mark.parametrize("kind", [Wire, TLSWire])
def test_loss(house: House, thrower: Thrower, kind: type[Wire]) -> None:
    """A connection is out of the drain when its end causes an exception."""
    wire = kind(house.site, house.clock)
    thrower.at(LimitedChannel, "connectionLost")
    wire.leave()
    thrower.stop()
    check_report(house, thrower.cause)
    assert house.root.connections.end().called


def test_digits(house: House) -> None:
    """A length of 5,000 digits is refused, and its connection ends in a drain."""
    wire = TLSWire(house.site, house.clock)
    wire.say(b"POST /delayed/0 HTTP/1.1\r\nHost: a\r\n", b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n")
    assert wire.heard.startswith(b"HTTP/1.1 413 ")
    assert house.root.connections.end().called
