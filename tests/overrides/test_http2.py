import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from latebin.answers.request_body import WINDOW
from latebin.answers.service import Service
from latebin.core.endpoints import PREFIXES
from latebin.core.faults import KINDS
from latebin.core.http.reply import STOPPING
from latebin.core.settings import Settings
from latebin.site.factory import ServiceSite
from latebin.site.root import Root
from latebin.testing.process import ServiceProcess, serving
from tests.support.certificate import listening
from tests.support.log import accesses
from tests.support.process import BOUND
from tests.support.silent import Silent
from tests.support.wire import House, Wire


class Line(Wire):
    """A connection in memory that TLS has agreed on to be one of HTTP/2."""

    negotiatedProtocol = b"h2"


@attrs.define
class Stream:
    """The parts of an answer that have come."""

    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    end: Any = None


class Client:
    """A client of HTTP/2 by the h2 library, over a connection in memory."""

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

    def begin(self, target: str, *headers: tuple[str, str], method: str = "POST") -> Stream:
        """Ask with a body that is still to come."""
        number = self.frames.get_next_available_stream_id()
        fields = [(":method", method), (":path", target), (":scheme", "https"), (":authority", "localhost"), *headers]
        self.frames.send_headers(number, fields)
        self.streams[number] = stream = Stream()
        self.send()
        return stream

    def write(self, stream: Stream, data: bytes, *, end: bool = False) -> int:
        """Send as much of a body as the windows allow; give how much that was."""
        number, sent = self.number(stream), 0
        while (most := min(self.frames.local_flow_control_window(number), 2**14, len(data) - sent)) > 0:
            self.frames.send_data(number, data[sent : sent + most])
            sent += most
            self.send()
        if end:
            self.frames.end_stream(number)
            self.send()
        return sent

    def number(self, stream: Stream) -> int:
        [number] = [number for number, each in self.streams.items() if each is stream]
        return number

    def reset(self, stream: Stream) -> None:
        self.frames.reset_stream(self.number(stream), ErrorCodes.CANCEL)
        self.send()

    def advance(self, *seconds: float) -> None:
        self.house.clock.pump(seconds)
        self.receive()
        self.send()


@pytest.fixture
def client() -> Iterator[Client]:
    """A client of a service whose timeouts and delays have one clock."""
    clock, settings = Clock(), Settings()
    klein, resource = Service(clock, settings), Service(clock, settings)
    root = Root(klein, resource, settings)
    client = Client(House(clock, klein, resource, root, ServiceSite(root, clock)))
    yield client
    client.line.leave()
    clock.pump([0, 0])
    assert clock.getDelayedCalls() == []


def test_answers(client: Client, prefix: str) -> None:
    """Streams are answered each when it is due, without headers that HTTP/2 forbids."""
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
    """A connection without pending answers is closed in time by a GOAWAY."""
    client.ask("/healthz")
    client.advance(30, 29)
    assert client.terminated is None
    client.advance(2)
    assert client.terminated is not None
    assert not client.line.connected


def test_client_that_does_not_read(client: Client, prefix: str) -> None:
    """A client that reads nothing of an answer is disconnected when its timeout passes."""
    client.frames.acknowledge_received_data = lambda *_: None  # type: ignore[method-assign]  # its window stays full
    stream = client.ask(f"{prefix}/delayed/0?size=1MiB")
    client.advance(30)
    assert 0 < len(stream.body) < 2**20
    client.advance(31, 0)
    assert not client.line.connected


def test_client_that_leaves(client: Client, style: str, prefix: str) -> None:
    """A client that resets its stream ends that answer's wait, and no other's."""
    stream, other = client.ask(f"{prefix}/delayed/2s"), client.ask(f"{prefix}/delayed/3s")
    assert len(client.house.service(style).pending) == 2
    client.reset(stream)
    assert len(client.house.service(style).pending) == 1
    client.advance(2, 1)
    assert (stream.headers, other.end) == ({}, "end")


def test_steering(client: Client, style: str, prefix: str) -> None:
    """A stream leaves its gate when it is reset, and others go on."""
    client.reset(client.ask(f"{prefix}/delayed/1s?gate=g:2"))
    first, second = (client.ask(f"{prefix}/delayed/1s?gate=g:2&pool=p&servers=1&key=a") for _ in range(2))
    assert len(client.house.service(style).pending) == 2
    client.advance(1)
    assert (first.end, second.end) == ("end", None)
    client.advance(1)
    assert (second.end, second.headers["latebin-turn"]) == ("end", "2")


@pytest.mark.parametrize("fault", KINDS)
def test_faults(client: Client, style: str, prefix: str, fault: str) -> None:
    """A fault resets its stream, and the next on the connection is answered."""
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


def test_faults_are_counted(client: Client, prefix: str) -> None:
    """A fault of a stream is counted as one, not as a disconnect."""
    client.ask(f"{prefix}/delayed/0?fault=reset")
    page = client.ask("/metrics").body.decode()
    style = {each: name for name, each in PREFIXES.items()}[prefix]
    assert f'latebin_faults_total{{fault="reset",style="{style}"}} 1.0' in page
    assert f'latebin_left_total{{style="{style}"}} 0.0' in page


def test_many_streams(client: Client, style: str, prefix: str) -> None:
    """As many streams as allowed are answered at once, and one more is refused."""
    settings = client.frames.remote_settings
    most = settings.max_concurrent_streams
    streams = [client.ask(f"{prefix}/delayed/1s") for _ in range(most)]
    assert len(client.house.service(style).pending) == most == 100
    client.advance(1, *[0] * most)
    assert {stream.end for stream in streams} == {"end"}
    settings[SettingCodes.MAX_CONCURRENT_STREAMS] = most + 1
    settings.acknowledge()
    *served, refused = [client.ask(f"{prefix}/delayed/1s") for _ in range(most + 1)]
    assert refused.end == ErrorCodes.REFUSED_STREAM
    client.advance(1, *[0] * most)
    assert {stream.end for stream in served} == {"end"}


def test_stop(client: Client, prefix: str) -> None:
    """A service that stops ends a connection when its last stream is answered."""
    stream = client.ask(f"{prefix}/delayed/1s")
    ended = client.house.root.connections.end()
    client.advance(1, 0, 0)
    assert stream.end == "end"
    assert ended.called


def test_dismissed(client: Client, prefix: str) -> None:
    """A pending answer is 503, and one that has begun is reset, after a drain."""
    waiting, begun = client.ask(f"{prefix}/delayed/5m"), client.ask(f"{prefix}/drip?duration=200&delay=0")
    client.house.root.connections.dismiss(STOPPING.reply())
    client.advance(0)
    assert (waiting.headers[":status"], waiting.end) == ("503", "end")
    assert begun.end == ErrorCodes.INTERNAL_ERROR


def test_body_that_stops(client: Client, prefix: str) -> None:
    """A body that stops coming is refused, and others on the connection are answered."""
    stream, other = client.begin(f"{prefix}/delayed/0"), client.ask(f"{prefix}/delayed/100s")
    client.write(stream, b"x")
    client.advance(59)
    assert stream.headers == {}
    client.advance(1, 0)
    assert (stream.headers[":status"], stream.end) == ("408", ErrorCodes.NO_ERROR)
    assert b'"parameter": "body"' in stream.body
    client.advance(40)
    assert other.end == "end"


def test_body_that_is_slow(client: Client, prefix: str) -> None:
    """A byte now and then buys no time; a window of the body does."""
    trickling, slow = client.begin(f"{prefix}/delayed/0"), client.begin(f"{prefix}/delayed/0")
    for _ in range(4):
        client.advance(30)
        if trickling.end is None:
            client.write(trickling, b"x")
        client.write(slow, b"x" * WINDOW)
    assert trickling.headers[":status"] == "408"
    client.write(slow, b"x", end=True)
    client.advance(0)
    assert (slow.headers[":status"], slow.end) == ("200", "end")


def test_body_that_is_left(client: Client, prefix: str) -> None:
    """A body leaves no timer when its stream or connection has ended."""
    clock = client.house.clock
    idle = len(clock.getDelayedCalls())
    stream, _ = client.begin(f"{prefix}/delayed/0"), client.begin(f"{prefix}/delayed/0")
    assert len(clock.getDelayedCalls()) == idle + 2
    client.reset(stream)
    assert len(clock.getDelayedCalls()) == idle + 1
    client.line.leave()
    client.house.clock.advance(0)
    assert client.house.clock.getDelayedCalls() == []


@pytest.mark.parametrize("headers", [(), (("content-length", str(2 * WINDOW + 1)),)])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_body_too_large(client: Client, prefix: str, method: str, headers: tuple[tuple[str, str], ...]) -> None:
    """A body that is too large is refused, and its connection goes on."""
    client.house.site.settings = attrs.evolve(client.house.site.settings, max_body=2 * WINDOW)
    stream = client.begin(f"{prefix}/delayed/0", *headers, method=method)
    if not headers:
        client.write(stream, b"x" * (2 * WINDOW + 1))
    client.advance(0)
    assert (stream.headers[":status"], stream.end) == ("413", ErrorCodes.NO_ERROR)
    assert client.ask("/healthz").end == "end"


def test_headers_too_large(client: Client) -> None:
    """Headers of more than 64 KiB end the connection."""
    client.begin("/", *((f"x-{number}", "x" * 1000) for number in range(66)))
    assert client.terminated is not None
    assert not client.line.connected


@pytest.fixture
def passing() -> Iterator[tuple[Client, Silent]]:
    """A client of a service with an upstream that never answers."""
    clock, settings, agent = Clock(), Settings(upstreams={"up": "http://up"}, body_timeout=20), Silent()
    klein, resource = (Service(clock, settings, upstreams=agent) for _ in PREFIXES)
    root = Root(klein, resource, settings)
    client = Client(House(clock, klein, resource, root, ServiceSite(root, clock, settings=settings)))
    yield client, agent
    client.line.leave()
    clock.pump([0, 0])
    assert clock.getDelayedCalls() == []


def test_upload(passing: tuple[Client, Silent], prefix: str) -> None:
    """A body is passed on as it comes, after it waited for its delay."""
    client, agent = passing
    stream = client.begin(f"{prefix}/via/up/", ("latebin-delay", "5m"))
    sent = client.write(stream, b"x" * 10 * WINDOW)
    assert sent < 3 * WINDOW
    client.advance(*[30] * 9)
    assert (stream.end, agent.body) == (None, None)
    client.advance(30)
    assert len(agent.upstream.value()) == sent
    client.write(stream, b"x" * (10 * WINDOW - sent), end=True)
    assert len(agent.upstream.value()) == 10 * WINDOW
    assert agent.given_up == 0
    client.advance(30)
    assert (stream.headers[":status"], agent.given_up) == ("504", 1)


def test_upload_that_stops(passing: tuple[Client, Silent], prefix: str) -> None:
    """A stalled body is refused, and the request to its upstream cancelled."""
    client, agent = passing
    stream = client.begin(f"{prefix}/via/up/", ("latebin-delay", "0"))
    client.write(stream, b"x")
    client.advance(19)
    assert stream.headers == {}
    client.advance(1)
    assert (stream.headers[":status"], agent.given_up) == ("408", 1)


def test_upload_that_is_held(passing: tuple[Client, Silent], prefix: str) -> None:
    """A body is not stalled when its upstream does not take it."""
    client, agent = passing
    stream = client.begin(f"{prefix}/via/up/", ("latebin-delay", "0"))
    client.advance(0)
    client.write(stream, b"x" * (WINDOW // 2))
    agent.body.pauseProducing()
    sent = client.write(stream, b"x" * 10 * WINDOW)
    assert WINDOW < sent < 3 * WINDOW
    client.advance(29)
    assert stream.headers == {}
    agent.body.resumeProducing()
    client.advance(20)
    assert stream.headers[":status"] == "408"


def test_upload_by_get(passing: tuple[Client, Silent], prefix: str) -> None:
    """A body of GET is passed on when no length was announced."""
    client, agent = passing
    stream = client.begin(f"{prefix}/via/up/", ("latebin-delay", "0"), method="GET")
    client.advance(0)
    client.write(stream, b"x" * 10, end=True)
    client.advance(0)
    assert (agent.upstream.value(), agent.body.announced) == (b"x" * 10, None)


def test_upload_that_waited(passing: tuple[Client, Silent], prefix: str) -> None:
    """A body that was whole before anybody wanted it is not waited for again."""
    client, agent = passing
    stream = client.begin(f"{prefix}/via/up/", ("latebin-delay", "1s"))
    client.write(stream, b"x" * (WINDOW + 1), end=True)
    client.advance(1)
    assert len(agent.upstream.value()) == WINDOW + 1
    client.advance(30)
    assert stream.headers[":status"] == "504"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """The service as a process that speaks TLS."""
    listen = listening(tmp_path_factory.mktemp("tls") / "localhost.pem")
    with serving("--listen", listen, "--max-body", "64k", "--body-timeout", "300ms") as process:
        yield process


def curl(process: ServiceProcess, *asked: tuple[str, ...]) -> list[str]:
    """Ask for several URLs; list exit code, status, version and connections of each."""
    command = ["curl", "--insecure", "--no-progress-meter", "--http2"]
    for target, *options in asked:
        written = ["-o", "/dev/null", "-w", "%{exitcode} %{http_code} %{http_version} %{num_connects}\n"]
        command += [*written, *options, f"https://127.0.0.1:{process.port}{target}", "--next", "--insecure"]
    done = subprocess.run(command[:-2], capture_output=True, text=True, check=False, timeout=BOUND)
    return done.stdout.splitlines()


@pytest.mark.parametrize("fault", KINDS)
def test_curl_fault(secure: ServiceProcess, prefix: str, fault: str) -> None:
    """A fault is a stream reset (92) to curl, on a connection that goes on."""
    asked = f"{prefix}/delayed/10ms"
    bounded = ("--max-time", "1") if fault == "hang" else ()
    first, failed, next_ = curl(secure, (asked,), (f"{asked}?fault={fault}", *bounded), (asked,))
    assert first == "0 200 2 1"
    assert failed.split()[::3] == ["28" if fault == "hang" else "92", "0"]
    assert next_ == "0 200 2 0"


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_scheme_for_curl(secure: ServiceProcess, prefix: str, version: str) -> None:
    """A client of any HTTP version gets https as its scheme over TLS."""
    url = f"https://127.0.0.1:{secure.port}{prefix}/delay/0"
    command = ["curl", "--insecure", "--no-progress-meter", version, url]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=BOUND)
    assert json.loads(done.stdout)["url"] == url


def test_curl_body(secure: ServiceProcess, prefix: str, tmp_path: Path) -> None:
    """A body that is too large is refused over both versions, and another request answered.

    curl is to wait before it sends. If a stream is reset meanwhile, even just to stop the body, curl 7.88 may lose the
    answer, which RFC 9113, section 8.1, forbids.
    """
    large = tmp_path / "large"
    large.write_bytes(b"x" * 100_000)
    asked = f"{prefix}/delayed/10ms"
    refused, next_ = curl(secure, (asked, "-H", "Expect: 100-continue", "--data-binary", f"@{large}"), (asked,))
    assert refused.split()[1] == "413"
    assert next_.startswith("0 200 2 ")


def test_upload_at_a_rate(client: Client, prefix: str) -> None:
    """A body with a rate holds back its own stream alone."""
    target = f"{prefix}/delayed?delay=0&read=64k"
    slow = client.begin(target)
    sent = client.write(slow, b"x" * 10 * WINDOW)
    assert WINDOW <= sent < 3 * WINDOW
    other = client.begin(f"{prefix}/delayed/0")
    assert client.write(other, b"x" * 10 * WINDOW, end=True) == 10 * WINDOW
    client.advance(0)
    assert other.headers[":status"] == "200"
    for _ in range(8 * 10):
        client.advance(0.1)
        sent += client.write(slow, b"x" * (10 * WINDOW - sent))
    assert sent < 10 * WINDOW
    for _ in range(12):
        client.advance(0.1)
        sent += client.write(slow, b"x" * (10 * WINDOW - sent))
    client.write(slow, b"", end=True)
    assert slow.headers == {}
    for _ in range(12):
        client.advance(0.1)
    assert (slow.headers[":status"], slow.end) == ("200", "end")


def test_whole_body_at_a_rate(client: Client, prefix: str) -> None:
    """A connection is not idle while a body that has come is taken."""
    stream = client.begin(f"{prefix}/delayed?delay=0&read=1")
    client.write(stream, b"x" * 100, end=True)
    for _ in range(99):
        client.advance(1)
    assert (stream.headers, client.terminated) == ({}, None)
    client.advance(1.1)
    client.advance(0)
    assert (stream.headers[":status"], stream.end) == ("200", "end")


def test_client_that_leaves_an_upload(client: Client, style: str, prefix: str) -> None:
    """A client that resets the stream of its upload is in the log."""
    idle = len(client.house.clock.getDelayedCalls())
    stream = client.begin(f"{prefix}/delayed?delay=0&read=1k")
    client.write(stream, b"x" * 1000)
    with capturedLogs() as events:
        client.reset(stream)
    assert [each[:5] for each in accesses(events)] == [(style, "POST", f"{prefix}/delayed", "delay=0&read=1k", "left")]
    assert len(client.house.clock.getDelayedCalls()) == idle


def test_answer_before_an_upload(passing: tuple[Client, Silent], prefix: str) -> None:
    """A body with a rate leaves no timer when it is answered early."""
    client, _ = passing
    stream = client.begin(
        f"{prefix}/via/up/", ("latebin-delay", "1s"), ("latebin-status", "503"), ("latebin-read", "1")
    )
    client.write(stream, b"x" * 200)
    client.advance(1)
    client.advance(0)
    assert (stream.headers[":status"], stream.end) == ("503", ErrorCodes.NO_ERROR)
    # The idle timeout of the connection has two.
    assert len(client.house.clock.getDelayedCalls()) == 2


def test_stream_without_end(client: Client, prefix: str) -> None:
    """A stream without end is whole, and others go on, when the service stops."""
    endless = client.ask(f"{prefix}/delayed?delay=0&type=sse&chunks=0&every=1s")
    other = client.ask(f"{prefix}/delayed/3s")
    client.advance(0, 1)
    connections = client.house.root.connections
    connections.start_ending()
    connections.end()
    assert connections.end_endless() == 1
    client.advance(0)
    assert (endless.end, endless.body.count(b"data: "), other.end) == ("end", 2, None)
    client.advance(2, 0)
    assert other.end == "end"
