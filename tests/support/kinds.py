"""Clients of every kind, each on its own connection, for tests and benchmarks."""

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import attrs
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded, StreamReset

from tests.support.process import BOUND

LARGE = 16 * 1024**2
"""Bytes of the answer to GET."""

PIECE = bytes(65536)


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send a large answer, as fast as it is read."""
        self.send_response(200)
        self.send_header("Content-Length", str(LARGE))
        self.end_headers()
        with suppress(OSError):
            for _ in range(LARGE // len(PIECE)):
                self.wfile.write(PIECE)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"late")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # an interface
        """Write nothing."""


@contextmanager
def upstream() -> Iterator[str]:
    """Run an upstream in a thread; yield the value of `--upstream` for it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    Thread(target=server.serve_forever, daemon=True).start()
    with closing(server.socket):
        yield f"real=http://127.0.0.1:{server.server_port}"
        server.shutdown()


def contexts() -> dict[str, ssl.SSLContext]:
    """Make a context of TLS for each protocol that is negotiated in it."""
    made = {}
    for protocol in ("http/1.1", "h2"):
        made[protocol] = context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols([protocol])
    return made


@attrs.frozen
class Target:
    """A service on two ports, plain and with TLS, as its clients see it.

    Attributes:
        plain_port: without TLS.
        tls_port: with TLS.
    """

    plain_port: int
    tls_port: int
    _contexts: dict[str, ssl.SSLContext] = attrs.field(factory=contexts, init=False)
    _sessions: list[ssl.SSLSession | None] = attrs.field(factory=lambda: [None], init=False)

    def plain(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.plain_port), timeout=BOUND)

    def unshaken(self) -> socket.socket:
        """Connect to the port with TLS, and say nothing."""
        return socket.create_connection(("127.0.0.1", self.tls_port), timeout=BOUND)

    def tls(self, alpn: str = "http/1.1", *, resumed: bool = False) -> ssl.SSLSocket:
        session = self._sessions[0] if resumed else None
        return self._contexts[alpn].wrap_socket(self.unshaken(), session=session)

    def remember(self, connection: ssl.SSLSocket) -> None:
        """Keep the session of a connection for those that resume it."""
        self._sessions[0] = connection.session


def request(path: str = "/delayed/0", *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"{method} {path} HTTP/1.1", "Host: a", *headers, "")).encode() + body


def upload(path: str, body: bytes = b"x" * 100_000, *headers: str) -> bytes:
    return request(path, f"Content-Length: {len(body)}", "Latebin-Delay: 0s", *headers, method="POST", body=body)


LATE = request("/delayed/9m")

CLOSE = "Connection: close"

Kind = Callable[[Target], None]


def read(connection: socket.socket) -> bytes:
    """Read until the service closes the connection, or resets it."""
    received = b""
    with suppress(OSError):
        while data := connection.recv(65536):
            received += data
    return received


def answered(sent: bytes, target: Target, *, tls: bool = False) -> None:
    """Read all until the service closes."""
    with target.tls() if tls else target.plain() as connection:
        connection.sendall(sent)
        read(connection)


def left(sent: bytes, target: Target, *, tls: bool = False, reset: bool = False) -> None:
    """Leave when the first bytes of the answer have come, or before if none come."""
    with target.tls() if tls else target.plain() as connection:
        connection.sendall(sent)
        if sent is not LATE:
            connection.recv(1000)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def resumed(target: Target) -> None:
    with target.tls(resumed=True) as connection:
        connection.sendall(request())
        connection.recv(1000)
        target.remember(connection)


def parting(target: Target) -> None:
    """Leave by close_notify."""
    with target.tls() as connection:
        connection.sendall(request())
        connection.recv(1000)
        connection.unwrap()


def unshaken(target: Target, sent: bytes = b"") -> None:
    """Leave before the handshake, or send other bytes instead."""
    with target.unshaken() as connection:
        if sent:
            connection.sendall(sent)
            read(connection)


def multiplexed(target: Target, path: str = "/delayed/0", streams: int = 1, body: bytes = b"") -> None:
    frames = H2Connection(H2Configuration(header_encoding=None))
    frames.initiate_connection()
    method = "POST" if body else "GET"
    fields = [(":method", method), (":scheme", "https"), (":authority", "a"), (":path", path)]
    for number in range(1, 2 * streams, 2):
        frames.send_headers(number, fields, end_stream=not body)
        if body:
            frames.send_data(number, body, end_stream=True)
    with target.tls("h2") as connection:
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
    "HTTP/2, resets": partial(multiplexed, path="/delayed/0?fault=reset"),
    "HTTP/2, refused": partial(multiplexed, path="/delayed/soon"),
    "HTTP/2, clients that left": partial(multiplexed, path="/delayed/9m", streams=0),
}
