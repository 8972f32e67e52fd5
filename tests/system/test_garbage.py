"""The cyclic garbage behind connections of each kind, in a process of its own."""

import re
import signal
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import attrs
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded, StreamReset

from latebin.testing.process import ServiceProcess, serving
from tests.support.certificate import listening
from tests.support.process import BOUND, until

CONNECTIONS = 40

ONCE = 100
"""Objects that are made for the first of many connections: declarations of interfaces, which zope.interface keeps.

The least cycle of a connection has eight objects, so forty connections would leave more.
"""

_FOUND = re.compile("found ([0-9]+) objects, ([0-9]+) open")


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"late")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # an interface
        """Write nothing."""


@attrs.frozen
class Place:
    """A service that collects on request, on a plain port and with TLS."""

    process: ServiceProcess
    contexts: dict[str, ssl.SSLContext]
    sessions: list[ssl.SSLSession | None] = attrs.field(factory=lambda: [None])

    def plain(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.process.ports[0]), timeout=BOUND)

    def unshaken(self) -> socket.socket:
        """Connect to the port with TLS, and say nothing."""
        return socket.create_connection(("127.0.0.1", self.process.ports[1]), timeout=BOUND)

    def tls(self, alpn: str = "http/1.1", *, resumed: bool = False) -> ssl.SSLSocket:
        session = self.sessions[0] if resumed else None
        return self.contexts[alpn].wrap_socket(self.unshaken(), session=session)

    def found(self) -> int:
        """Return the number of objects in cycles, when no connection is open."""
        total = 0

        def none_is_open() -> bool:
            nonlocal total
            before = len(_FOUND.findall(self.process.log()))
            self.process.send_signal(signal.SIGUSR1)
            until(lambda: len(_FOUND.findall(self.process.log())) > before)
            objects, still = map(int, _FOUND.findall(self.process.log())[-1])
            total += objects
            return still == 0

        until(none_is_open)
        return total


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    Thread(target=upstream.serve_forever, daemon=True).start()
    contexts = {}
    for protocol in ("http/1.1", "h2"):
        contexts[protocol] = context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols([protocol])
    endpoints = "tcp:0:interface=127.0.0.1", listening(tmp_path_factory.mktemp("garbage") / "localhost.pem")
    options = ("--upstream", f"real=http://127.0.0.1:{upstream.server_port}", "--header-timeout", "50ms")
    program = ("-m", "tests.support.counting_service")
    listen = (option for endpoint in endpoints for option in ("--listen", endpoint))
    root = str(Path(__file__).parents[2])
    with closing(upstream.socket), serving(*listen, *options, program=program, PYTHONPATH=root) as process:
        yield Place(process, contexts)
        upstream.shutdown()


def request(target: str = "/delayed/0", *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"{method} {target} HTTP/1.1", "Host: a", *headers, "")).encode() + body


def upload(target: str, body: bytes = b"x" * 100_000, *headers: str) -> bytes:
    return request(target, f"Content-Length: {len(body)}", "Latebin-Delay: 0s", *headers, method="POST", body=body)


LATE = request("/delayed/9m")

CLOSE = "Connection: close"

Kind = Callable[[Place], None]


def read(connection: socket.socket) -> bytes:
    """Read until the service closes the connection, or resets it."""
    received = b""
    with suppress(OSError):
        while data := connection.recv(65536):
            received += data
    return received


def answered(sent: bytes, place: Place, *, tls: bool = False) -> None:
    """Read all until the service closes."""
    with place.tls() if tls else place.plain() as connection:
        connection.sendall(sent)
        read(connection)


def left(sent: bytes, place: Place, *, tls: bool = False, reset: bool = False) -> None:
    """Leave when the first bytes of the answer have come, or before if none come."""
    with place.tls() if tls else place.plain() as connection:
        connection.sendall(sent)
        if sent is not LATE:
            connection.recv(1000)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def resumed(place: Place) -> None:
    with place.tls(resumed=True) as connection:
        connection.sendall(request())
        connection.recv(1000)
        place.sessions[0] = connection.session


def parting(place: Place) -> None:
    """Leave by close_notify."""
    with place.tls() as connection:
        connection.sendall(request())
        connection.recv(1000)
        connection.unwrap()


def unshaken(place: Place, sent: bytes = b"") -> None:
    """Leave before the handshake, or send other bytes in its place."""
    with place.unshaken() as connection:
        if sent:
            connection.sendall(sent)
            read(connection)


def multiplexed(place: Place, target: str = "/delayed/0", streams: int = 1, body: bytes = b"") -> None:
    frames = H2Connection(H2Configuration(header_encoding=None))
    frames.initiate_connection()
    method = "POST" if body else "GET"
    fields = [(":method", method), (":scheme", "https"), (":authority", "a"), (":path", target)]
    for number in range(1, 2 * streams, 2):
        frames.send_headers(number, fields, end_stream=not body)
        if body:
            frames.send_data(number, body, end_stream=True)
    with place.tls("h2") as connection:
        connection.sendall(frames.data_to_send())
        while streams and (data := connection.recv(65536)):
            streams -= sum(isinstance(event, StreamEnded | StreamReset) for event in frames.receive_data(data))
            connection.sendall(frames.data_to_send())


BOTH: dict[str, Callable[..., None]] = {
    "answers": partial(answered, request("/delayed/0", CLOSE)),
    "raw answers": partial(answered, request("/raw/delayed/0", CLOSE)),
    "large answers": partial(answered, request("/delayed/0?size=1m", CLOSE)),
    "pieces": partial(answered, request("/delayed/0?chunks=3&over=1ms", CLOSE)),
    "keep-alive": partial(left, request()),
    "pipelined": partial(answered, 5 * request() + request("/raw/delayed/0", CLOSE)),
    "clients that left": partial(left, LATE),
    "slow readers that left": partial(left, request("/delayed/0?size=16m")),
    "resets by clients": partial(left, request(), reset=True),
    "resets": partial(answered, request("/delayed/0?fault=reset")),
    "truncations": partial(answered, request("/delayed/0?fault=truncate")),
    "400": partial(answered, b"GARBAGE\r\n\r\n"),
    "408": partial(answered, b"GET /"),
    "413": partial(answered, request("/delayed/0", "Content-Length: 99999999", method="POST")),
    "431": partial(answered, request("/delayed/0", "X: " + "x" * 17_000)),
    "uploads": partial(answered, upload("/delayed/0", b"x" * 100_000, CLOSE)),
    "forwarded": partial(answered, upload("/via/real/", b"x" * 100_000, CLOSE)),
}

KINDS: dict[str, Kind] = {
    **{f"plain, {name}": kind for name, kind in BOTH.items()},
    **{f"TLS, {name}": partial(kind, tls=True) for name, kind in BOTH.items()},
    "TLS, resumed": resumed,
    "TLS, close_notify": parting,
    "TLS, no handshake": unshaken,
    "TLS, other bytes": partial(unshaken, sent=request()),
    "HTTP/2": multiplexed,
    "HTTP/2, streams": partial(multiplexed, streams=10),
    "HTTP/2, uploads": partial(multiplexed, body=b"x" * 10_000),
    "HTTP/2, resets": partial(multiplexed, target="/delayed/0?fault=reset"),
    "HTTP/2, refused": partial(multiplexed, target="/delayed/soon"),
    "HTTP/2, clients that left": partial(multiplexed, target="/delayed/9m", streams=0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_garbage(place: Place, kind: str) -> None:
    """Nothing is left in cycles when forty connections of one kind have closed."""
    KINDS[kind](place)
    place.found()
    for _ in range(CONNECTIONS):
        KINDS[kind](place)
    assert place.found() <= ONCE
