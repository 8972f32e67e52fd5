import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection

import attrs
import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from latebin.answers.request_body import WINDOW
from latebin.answers.service import Service
from latebin.core.settings import Settings
from latebin.site.factory import ServiceSite
from latebin.site.root import Root
from latebin.testing.process import ServiceProcess, serving
from tests.support.log import accesses
from tests.support.process import BOUND, get
from tests.support.wire import Wire

IDLE = 60
"""Seconds after which Twisted closes a connection on which nothing comes."""

SETTINGS = Settings(max_body=4 * WINDOW, header_timeout=20, body_timeout=30)

PARTS = 2**14
"""Bytes that Twisted takes of a line, and of all headers together."""


@attrs.frozen
class Line:
    """A connection to a service, with the clocks of its delays and timeouts."""

    root: Root
    wire: Wire
    delays: Clock
    clock: Clock

    def send(self, *lines: str, body: bytes = b"") -> None:
        self.wire.send("\r\n".join([*lines, "", ""]).encode() + body)

    def problem(self) -> dict[str, object]:
        """Give the problem that the connection was closed with, the last that was answered."""
        self.clock.advance(0)
        assert not self.wire.connected
        *_, head, body = self.wire.received.split(b"\r\n\r\n")
        assert b"\r\nConnection: close" in head
        assert b"\r\nX-Request-Id: " in head
        problem: dict[str, object] = json.loads(body)
        assert f"HTTP/1.1 {problem['status']} {problem['title']}\r\n".encode() in self.wire.received
        return problem


@pytest.fixture
def line() -> Iterator[Line]:
    delays, clock = Clock(), Clock()
    root = Root(Service(delays, SETTINGS), Service(delays, SETTINGS), SETTINGS)
    yield Line(root, Wire(ServiceSite(root, delays, clock, SETTINGS), clock), delays, clock)
    assert delays.getDelayedCalls() == [], "a timer outlived the request it was for"


def post(prefix: str, *headers: str) -> tuple[str, ...]:
    return f"POST {prefix}/delayed/1s HTTP/1.1", "Host: a", *headers


def trickle(line: Line, data: bytes, seconds: float) -> None:
    """Send a byte, and let so much time pass, until the connection is closed."""
    for number in range(len(data)):
        if line.wire.connected:
            line.wire.send(data[number : number + 1])
            line.clock.advance(seconds)


@pytest.mark.parametrize("begun", [b"G", b"GET /delayed HTTP/1.1\r\n", b"GET /delayed HTTP/1.1\r\nHost: a\r\nX: "])
def test_headers_that_stop(line: Line, begun: bytes) -> None:
    """Headers that stop coming are refused, and the connection is closed."""
    line.wire.send(begun)
    line.clock.advance(19)
    assert line.wire.received == b""
    line.clock.advance(1)
    problem = line.problem()
    assert (problem["status"], problem["parameter"]) == (408, "headers")


def test_headers_that_trickle(line: Line, prefix: str) -> None:
    """Headers are waited for as a whole: a byte now and then buys no time."""
    trickle(line, f"GET {prefix}/delayed HTTP/1.1\r\nHost: example\r\n\r\n".encode(), 1)
    assert line.problem()["status"] == 408


def test_headers_behind_an_answer(line: Line, prefix: str) -> None:
    """So are those that were begun before the last answer was given."""
    line.wire.send(f"GET {prefix}/delayed/1s HTTP/1.1\r\nHost: a\r\n\r\nGET /".encode())
    line.clock.advance(50)
    line.delays.advance(1)
    line.clock.advance(19)
    assert line.wire.received.count(b"HTTP/1.1") == 1
    line.clock.advance(1)
    assert line.problem()["status"] == 408


@pytest.mark.parametrize("rest", [b"\r\n", b"Content-Length: 2\r\n\r\nab"])
def test_idle_after_a_slow_request(line: Line, prefix: str, rest: bytes) -> None:
    """An answer and the next request have their own time after a slow request."""
    line.wire.send(f"POST {prefix}/delayed/5m HTTP/1.1\r\nHost: a\r\n".encode())
    line.clock.advance(19)
    line.wire.send(rest[:-1])
    line.clock.advance(19 if len(rest) > 2 else 0)
    line.wire.send(rest[-1:])
    line.clock.advance(300)
    line.delays.advance(300)
    assert line.wire.received.startswith(b"HTTP/1.1 200 ")
    line.clock.advance(IDLE - 1)
    assert line.wire.connected
    line.clock.advance(1)
    line.clock.advance(0)
    assert not line.wire.connected
    assert line.wire.received.count(b"HTTP/1.1") == 1


def test_nothing(line: Line) -> None:
    """A connection on which no request was begun is closed in silence."""
    line.clock.advance(IDLE)
    line.clock.advance(0)
    assert (line.wire.connected, line.wire.received) == (False, b"")


def test_body_that_stops(line: Line, prefix: str) -> None:
    """A body that stops coming is refused."""
    line.send(*post(prefix, f"Content-Length: {2 * WINDOW}"), body=b"x" * WINDOW)
    line.clock.advance(29)
    assert line.wire.received == b""
    line.clock.advance(1)
    problem = line.problem()
    assert (problem["status"], problem["parameter"]) == (408, "body")


def test_body_that_trickles(line: Line, prefix: str) -> None:
    """A byte of the body now and then buys no time either."""
    line.send(*post(prefix, "Transfer-Encoding: chunked"))
    trickle(line, b"1\r\nx\r\n" * 10, 1)
    assert line.problem()["status"] == 408


def test_body_that_is_slow(line: Line, prefix: str) -> None:
    """A body is taken, however long it takes, when each window is in time."""
    line.send(*post(prefix, f"Content-Length: {4 * WINDOW}"))
    for _ in range(4):
        line.clock.advance(29)
        line.wire.send(b"x" * WINDOW)
    line.delays.advance(1)
    assert line.wire.received.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("expect", [(), ("Expect: 100-continue",)])
def test_body_announced_too_large(line: Line, prefix: str, expect: tuple[str, ...]) -> None:
    """A body that is announced too large is refused before it comes, without a 100."""
    line.send(*post(prefix, f"Content-Length: {4 * WINDOW + 1}", *expect))
    assert line.wire.received.startswith(b"HTTP/1.1 413 ")
    line.wire.send(b"x" * (4 * WINDOW + 1))
    problem = line.problem()
    assert (problem["parameter"], problem["accepted"]) == ("body", "at most 256k bytes")


def test_body_turns_out_too_large(line: Line, prefix: str) -> None:
    """A body that becomes too large is refused, and further bytes dropped for a while."""
    line.send(*post(prefix, "Transfer-Encoding: chunked"))
    chunk = b"10000\r\n" + b"x" * WINDOW + b"\r\n"
    line.wire.send(chunk * 4)
    assert line.wire.received == b""
    line.wire.send(chunk)
    assert line.wire.received.startswith(b"HTTP/1.1 413 ")
    for _ in range(29):
        line.wire.send(chunk)
        line.clock.advance(1)
    assert line.wire.connected
    line.clock.advance(1)
    assert line.problem()["status"] == 413


def test_stop(line: Line, prefix: str) -> None:
    """A service that stops does not wait for the bytes of a refused client."""
    line.send(*post(prefix, f"Content-Length: {4 * WINDOW + 1}"))
    ended = line.root.connections.end()
    line.clock.advance(0)
    assert ended.called
    assert line.problem()["status"] == 413


def test_body_at_the_limit(line: Line, prefix: str) -> None:
    """A body as large as one may be is taken."""
    line.send(*post(prefix, f"Content-Length: {4 * WINDOW}"), body=b"x" * 4 * WINDOW)
    line.delays.advance(1)
    assert line.wire.received.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"x" * PARTS, 414),
        (b"GET /" + b"x" * PARTS + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * PARTS, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * PARTS + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: 1234567890123456\r\n" * 900, 431),
        (b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 502, 431),
        (b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 501 + b"\r\n", 431),
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n", 400),
        (b"GET / HTTP/1.1\r\nno header\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
    ],
)
def test_no_request(line: Line, sent: bytes, status: int) -> None:
    """Bytes over a limit, or not of HTTP, are refused by name, as the last."""
    line.wire.send(sent + b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    line.wire.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    problem = line.problem()
    assert (problem["status"], "accepted" in problem) == (status, True)
    assert line.wire.received.count(b"HTTP/1.1 ") == 1


def test_headers_at_the_limit(line: Line, prefix: str) -> None:
    """As many headers as there may be are taken, and as large."""
    most = "X: 1\r\n" * 498 + "Y: " + "y" * (PARTS - 498 * 4 - 3 - 60)
    line.send(f"GET {prefix}/delayed/0 HTTP/1.1", "Host: a", most)
    line.delays.advance(0)
    assert line.wire.received.startswith(b"HTTP/1.1 200 ")


def test_refusals_are_logged(line: Line) -> None:
    """A refusal of malformed bytes is in the log and in the figures."""
    with capturedLogs() as events:
        line.wire.send(b"PUT /x?y HTTP/1.1\r\nX-Request-ID: seven\r\nX: 1\r\nX: " + b"x" * PARTS)
    assert [access[:5] for access in accesses(events)] == [("site", "PUT", "/x", "y", 431)]
    assert b"\r\nX-Request-Id: seven\r\n" in line.wire.received
    assert b'latebin_answers_total{method="PUT",status="431",style="site"} 1.0' in line.root.metrics.page().body
    with capturedLogs() as events:
        Wire(ServiceSite(line.root, line.delays, line.clock), line.clock).send(b"\x16\x03\x01\r\n")
    assert [access[:5] for access in accesses(events)] == [("site", "-", "-", "", 400)]


@pytest.fixture(scope="module")
def impatient() -> Iterator[ServiceProcess]:
    with serving("--header-timeout", "1s", "--body-timeout", "1s") as process:
        yield process


@pytest.fixture(scope="module")
def narrow() -> Iterator[ServiceProcess]:
    """A service with a low bound, and timeouts that a slow client keeps."""
    with serving("--max-body", "64k") as process:
        yield process


STALLS = {
    "headers": "GET {prefix}/delayed HTTP/1.1\r\nHost: a\r\n",
    "a body": "POST {prefix}/delayed HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1",
}

ABUSES = {
    "a body announced too large": ("POST {prefix}/delayed HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", 413),
    "a body that is too large": (
        "POST {prefix}/delayed HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + f"10000\r\n{'x' * 2**16}\r\n" * 20,
        413,
    ),
    "a long target": ("GET {prefix}/delayed?" + "x" * 2**20, 414),
    "large headers": ("GET {prefix}/delayed HTTP/1.1\r\nX: " + "x" * 2**20, 431),
    "many headers": ("GET {prefix}/delayed HTTP/1.1\r\n" + "X: 1\r\n" * 2**16, 431),
}
"""Bytes of a client over a bound, and their answers."""


@pytest.mark.parametrize("stalled", STALLS)
def test_stalled(impatient: ServiceProcess, prefix: str, stalled: str) -> None:
    """A client is refused when it stops to send, while another gets its answer."""
    refused(impatient, prefix, STALLS[stalled], 408)


@pytest.mark.parametrize("abuse", ABUSES)
def test_over_a_bound(narrow: ServiceProcess, prefix: str, abuse: str) -> None:
    """A client is refused when it exceeds a bound, while another gets its answer."""
    refused(narrow, prefix, *ABUSES[abuse])


def refused(process: ServiceProcess, prefix: str, sent: str, status: int) -> None:
    """Check that a client is refused and closed while another gets its answer."""
    other = HTTPConnection("127.0.0.1", process.port, timeout=BOUND)
    other.request("GET", f"{prefix}/delayed/500ms")
    with socket.create_connection(("127.0.0.1", process.port), timeout=BOUND) as client:
        client.sendall(sent.format(prefix=prefix).encode())
        received = b"".join(iter(lambda: client.recv(2**16), b""))
    assert received.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nConnection: close\r\n" in received
    response = other.getresponse()
    measured = str(response.getheader("Server-Timing")).partition("delay;dur=")[2].partition(",")[0]
    assert (response.status, float(measured) >= 500) == (200, True)
    other.close()


def test_trickling(impatient: ServiceProcess, prefix: str) -> None:
    """A client that sends a byte now and then is closed in time for others."""
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=0.02) as client:
        received = b""
        for byte in f"GET {prefix}/delayed HTTP/1.1\r\nX: {'x' * 1000}".encode():
            client.sendall(bytes([byte]))
            try:
                received = client.recv(2**16)
                break
            except TimeoutError:
                continue
    assert received.startswith(b"HTTP/1.1 408 ")
    assert get(impatient.port, f"{prefix}/delayed/0")[0].status == 200
