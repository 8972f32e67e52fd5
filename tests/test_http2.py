from collections.abc import Iterator
from typing import Any, cast

import attrs
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes
from twisted.internet.task import Clock

from app.contract import PREFIXES
from app.fault import KINDS
from app.reply import STOPPING
from app.service import Service
from app.settings import Settings
from app.site import Root, ServiceSite
from tests.conftest import House, Wire


class Line(Wire):
    """A connection in memory that TLS has agreed on to be one of HTTP/2."""

    negotiatedProtocol = b"h2"


@attrs.define
class Stream:
    """What has come of an answer."""

    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    end: Any = None


class Client:
    """A client of HTTP/2, by the library that browsers' test suites are checked with, over a connection in memory."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.line = Line(house.site, house.clock)
        self.frames = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.frames.initiate_connection()
        self.streams: dict[int, Stream] = {}
        self.terminated: Event | None = None
        self._read = 0
        self.send()

    def send(self) -> None:
        """Exchange what both sides have to say, until they have said it."""
        while data := self.frames.data_to_send():
            self.line.send(data)
            self.receive()

    def receive(self) -> None:
        self.house.clock.pump([0] * 12)
        data, self._read = self.line.received[self._read :], len(self.line.received)
        for event in self.frames.receive_data(data):
            stream = self.streams.get(getattr(event, "stream_id", None) or 0)
            match event:
                case ResponseReceived() if stream:
                    stream.headers = dict(cast("Any", event.headers))
                case DataReceived() if stream:
                    stream.body += event.data
                    self.frames.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case StreamEnded() if stream:
                    stream.end = "end"
                case StreamReset() if stream:
                    stream.end = ErrorCodes(event.error_code)
                case ConnectionTerminated():
                    self.terminated = event

    def ask(self, target: str, method: str = "GET", *, body: bytes | None = None) -> Stream:
        number = self.frames.get_next_available_stream_id()
        headers = [(":method", method), (":path", target), (":scheme", "https"), (":authority", "localhost")]
        self.frames.send_headers(number, headers, end_stream=body is None)
        self.streams[number] = stream = Stream()
        if body is not None:
            self.frames.send_data(number, body, end_stream=True)
        self.send()
        return stream

    def reset(self, stream: Stream) -> None:
        [number] = [number for number, each in self.streams.items() if each is stream]
        self.frames.reset_stream(number, ErrorCodes.CANCEL)
        self.send()

    def advance(self, *seconds: float) -> None:
        self.house.clock.pump(seconds)
        self.receive()
        self.send()


@pytest.fixture
def client() -> Iterator[Client]:
    """A client of a service whose idle timeouts go by the clock that the delays go by."""
    clock, settings = Clock(), Settings()
    klein, resource = Service(clock, settings), Service(clock, settings)
    root = Root(klein, resource, settings)
    client = Client(House(clock, klein, resource, root, ServiceSite(root, clock)))
    yield client
    client.line.leave()
    clock.pump([0, 0])
    assert clock.getDelayedCalls() == []


def test_answers(client: Client, prefix: str) -> None:
    """Streams of one connection are answered each when it is due, with no header that HTTP/2 forbids."""
    late, early = client.ask(f"{prefix}/delayed/2s"), client.ask(f"{prefix}/delayed/1s")
    client.advance(1)
    assert (early.headers[":status"], early.end, late.headers) == ("200", "end", {})
    assert early.body == b"<html><body>Sorry to keep you waiting.</body></html>"
    assert early.headers["server-timing"].startswith("delay;dur=1000")
    assert not {"connection", "transfer-encoding", "keep-alive"} & set(early.headers)
    client.advance(1)
    assert late.end == "end"


def test_head(client: Client, prefix: str) -> None:
    """HEAD is answered with headers alone."""
    stream = client.ask(f"{prefix}/delayed/1s", "HEAD")
    client.advance(1)
    assert (stream.headers["content-length"], stream.body, stream.end) == ("52", b"", "end")


def test_long_delay(client: Client, prefix: str) -> None:
    """An answer that takes longer than a connection may be idle is given."""
    stream = client.ask(f"{prefix}/delayed/5m")
    client.advance(*[30] * 10)
    assert (stream.headers[":status"], stream.end) == ("200", "end")


def test_slow_drip(client: Client, prefix: str) -> None:
    """So is one whose bytes are further apart than that."""
    stream = client.ask(f"{prefix}/drip?numbytes=3&duration=200&delay=0")
    client.advance(*[20] * 10)
    assert (stream.body, stream.end) == (b"***", "end")


def test_idle(client: Client) -> None:
    """A connection on which nobody waits for anything is closed in time, and told why."""
    client.ask("/healthz")
    client.advance(30, 29)
    assert client.terminated is None
    client.advance(2)
    assert client.terminated is not None
    assert not client.line.connected


def test_client_that_does_not_read(client: Client, prefix: str) -> None:
    """A client that leaves an answer where it is, for as long as it may be idle, is no longer waited for."""
    client.frames.acknowledge_received_data = lambda *_: None  # type: ignore[method-assign]  # its window stays full
    stream = client.ask(f"{prefix}/delayed/0?size=1MiB")
    client.advance(30)
    assert 0 < len(stream.body) < 2**20
    client.advance(31, 0)
    assert not client.line.connected


def test_client_that_leaves(client: Client, style: str, prefix: str) -> None:
    """A client that resets its stream has left: nothing waits any more for its answer, and others are answered."""
    stream, other = client.ask(f"{prefix}/delayed/2s"), client.ask(f"{prefix}/delayed/3s")
    assert len(client.house.service(style).pending) == 2
    client.reset(stream)
    assert len(client.house.service(style).pending) == 1
    client.advance(2, 1)
    assert (stream.headers, other.end) == ({}, "end")


@pytest.mark.parametrize("fault", KINDS)
def test_faults(client: Client, style: str, prefix: str, fault: str) -> None:
    """What goes wrong on purpose goes wrong with a stream: it is reset, and the next on the connection is answered."""
    stream = client.ask(f"{prefix}/delayed/1s?fault={fault}")
    other = client.ask(f"{prefix}/delayed/1s")
    client.advance(1)
    body = {"truncate": 26, "badchunk": 26}.get(fault, 0)
    assert (stream.headers != {}, len(stream.body)) == (fault in {"truncate", "badchunk", "hang"}, body)
    assert other.end == "end"
    if fault == "hang":
        assert stream.end is None
        client.advance(*[30] * 20)
    assert stream.end == ErrorCodes.INTERNAL_ERROR
    assert len(client.house.service(style).pending) == 0
    after = client.ask(f"{prefix}/delayed/0")
    assert after.end == "end"


def test_faults_are_told(client: Client, prefix: str) -> None:
    """A stream that is reset on purpose is in the figures as a fault, not as a client that left."""
    client.ask(f"{prefix}/delayed/0?fault=reset")
    page = client.ask("/metrics").body.decode()
    style = {each: name for name, each in PREFIXES.items()}[prefix]
    assert f'delayed_faults_total{{fault="reset",style="{style}"}} 1.0' in page
    assert f'delayed_left_total{{style="{style}"}} 0.0' in page


def test_many_streams(client: Client, style: str, prefix: str) -> None:
    """As many streams as a connection may have are answered at one moment; whoever opens another is cut off."""
    settings = client.frames.remote_settings
    most = settings.max_concurrent_streams
    streams = [client.ask(f"{prefix}/delayed/1s") for _ in range(most)]
    assert len(client.house.service(style).pending) == most == 100
    client.advance(1, *[0] * most)
    assert {stream.end for stream in streams} == {"end"}
    settings[SettingCodes.MAX_CONCURRENT_STREAMS] = most + 1
    settings.acknowledge()
    for _ in range(most + 1):
        client.ask(f"{prefix}/delayed/1s")
    assert client.terminated is not None
    assert len(client.house.service(style).pending) == 0


def test_stop(client: Client, prefix: str) -> None:
    """A service that stops ends a connection when its last stream is answered."""
    stream = client.ask(f"{prefix}/delayed/1s")
    ended = client.house.root.connections.end()
    client.advance(1, 0, 0)
    assert stream.end == "end"
    assert ended.called


def test_dismissed(client: Client, prefix: str) -> None:
    """What is pending when the time for a stop is up is answered 503; what has begun is reset."""
    waiting, begun = client.ask(f"{prefix}/delayed/5m"), client.ask(f"{prefix}/drip?duration=200&delay=0")
    client.house.root.connections.dismiss(STOPPING.reply())
    client.advance(0)
    assert (waiting.headers[":status"], waiting.end) == ("503", "end")
    assert begun.end == ErrorCodes.INTERNAL_ERROR
