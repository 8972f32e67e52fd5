"""Connections of the PROXY protocol: by hand, by curl, and through HAProxy, where it is installed."""

import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactor, StringTransport

from latebin.overrides.haproxy import ProxyProtocolReactor
from tests.core.http.test_proxy_protocol import BEHIND, FOUR, MALFORMED, SIGNATURE, SIX, binary
from tests.server.test_workers import certificate
from tests.support.process import Process, serving, started

BOUND = 30

OURS, CLIENT, SOURCE = "127.0.0.1", "192.0.2.1", "127.0.0.2"

TEXT = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n"

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


@contextmanager
def behind(*options: str, listen: str = "haproxy:tcp:0:interface=127.0.0.1") -> Iterator[Process]:
    """Run `latebin serve` for connections of the PROXY protocol."""
    arguments = ("-m", "latebin", "serve", "--listen", listen, "--log-format", "json", *options)
    with started(*arguments, until=r"serving https?://127\.0\.0\.1:(\d+)/delayed") as process:
        yield process


def request(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


def talk(port: int, *pieces: bytes) -> bytes:
    """Send pieces, each in a segment of its own; give what comes until the connection is closed."""
    received = b""
    with socket.create_connection((OURS, port), timeout=BOUND) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Whoever is closed before it has read all that came is reset.
        with suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
            while data := connection.recv(65536):
                received += data
    return received


def events(process: Process) -> list[Any]:
    """Stop a process; give what its log said of answers, and of whatever went wrong."""
    code, output = process.stop()
    assert code == 0
    found = [json.loads(line) for line in output.splitlines()]
    return [event for event in found if event["namespace"] == "latebin.access" or event["level"] != "info"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_log(prefix: str, workers: str) -> None:
    """The log has the address of the client, of either version, or of the peer, where there is no other."""
    preambles = [TEXT, b"PROXY UNKNOWN\r\n", binary(0x21, 0x11, FOUR), binary(0x21, 0x21, SIX), binary(0x20, 0, b"")]
    with behind("--workers", workers) as process:
        for preamble in preambles:
            answer = talk(process.port, preamble + request(f"{prefix}/delayed/0"))
            assert answer.startswith(b"HTTP/1.1 200 ")
        found = events(process)
    assert [event["address"] for event in found] == [CLIENT, OURS, CLIENT, "2001:db8::1", OURS]


def test_origin_and_url(prefix: str) -> None:
    """A client is told its own address, and without Host that which it connected to."""
    with behind() as process:
        answer = talk(process.port, TEXT + f"GET {prefix}/delay/0 HTTP/1.0\r\n\r\n".encode())
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (told["origin"], told["url"]) == (CLIENT, f"http://192.0.2.2{prefix}/delay/0")


def test_pieces(prefix: str) -> None:
    """A preamble may come in any pieces, and on a connection that is kept it counts for every request."""
    kept = f"GET {prefix}/delayed/0 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    pieces = [bytes([byte]) for byte in binary(0x21, 0x11, FOUR)]
    with behind() as process:
        talk(process.port, *pieces, kept, request(f"{prefix}/delayed/0"))
        assert [event["address"] for event in events(process)] == [CLIENT, CLIENT]


def test_malformed() -> None:
    """Without a preamble, or with a malformed one, the connection is closed, and nothing is logged."""
    with behind() as process:
        for data in (*MALFORMED, request("/delayed/0")):
            assert talk(process.port, data, request("/delayed/0")) == b""
        assert events(process) == []


def test_proxy_headers() -> None:
    """The client that the preamble tells may be a proxy whose headers are believed; the one that wrote it need not."""
    with behind("--proxy-headers", "192.0.2.0/24") as process:
        for preamble in (TEXT, b"PROXY UNKNOWN\r\n"):
            talk(
                process.port, preamble + request("/delayed/0").replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: ::2\r\n\r\n")
            )
        assert [event["address"] for event in events(process)] == ["::2", OURS]


def test_tls(tmp_path: Path, prefix: str) -> None:
    """TLS begins behind the preamble, where proxies that pass it on unread have it begin."""
    path = tmp_path / "localhost.pem"
    certificate(path)
    context = ssl.create_default_context(cafile=str(path))
    context.check_hostname = False
    listen = f"haproxy:ssl:0:interface=127.0.0.1:privateKey={path}:certKey={path}"
    with behind("--workers", "2", listen=listen) as process:
        with socket.create_connection((OURS, process.port), timeout=BOUND) as connection:
            connection.sendall(TEXT)
            with context.wrap_socket(connection) as secured:
                secured.sendall(f"GET {prefix}/delay/0 HTTP/1.0\r\nHost: a\r\n\r\n".encode())
                answer = b"".join(iter(lambda: secured.recv(65536), b""))
        [event] = events(process)
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (event["address"], told["origin"], told["url"]) == (CLIENT, CLIENT, f"https://a{prefix}/delay/0")


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl(tmp_path: Path, prefix: str, version: str) -> None:
    """curl, which can write a preamble, is answered over TLS by either version of HTTP."""
    path = tmp_path / "localhost.pem"
    certificate(path)
    listen = f"haproxy:ssl:0:interface=127.0.0.1:privateKey={path}:certKey={path}"
    command = ["curl", "--no-progress-meter", "--insecure", "--haproxy-protocol", "--interface", SOURCE, version]
    with behind(listen=listen) as process:
        url = f"https://{OURS}:{process.port}{prefix}/delayed/0"
        done = subprocess.run(
            [*command, "-w", "\n%{http_version}", url], capture_output=True, text=True, check=True, timeout=BOUND
        )
        assert [event["address"] for event in events(process)] == [SOURCE]
    assert done.stdout == f"<html><body>Sorry to keep you waiting.</body></html>\n{version[6:]}"


CONFIGURATION = """
defaults
  mode http
  timeout connect 10s
  timeout client 30s
  timeout server 30s
frontend front
  bind fd@{descriptor}
  stats uri /stats
  default_backend back
backend back
  option httpchk GET /healthz
  {rules}
  server service 127.0.0.1:{port} check inter 100ms {options}
"""


@contextmanager
def haproxy(tmp_path: Path, port: int, options: str = "", rules: str = "") -> Iterator[int]:
    """Run HAProxy before a service; give the port on which it listens, once it has found the service healthy."""
    if HAPROXY is None:
        pytest.skip("HAProxy is not installed")
    path = tmp_path / "haproxy.cfg"
    with socket.create_server((OURS, 0)) as listener:
        front, descriptor = listener.getsockname()[1], listener.fileno()
        path.write_text(CONFIGURATION.format(descriptor=descriptor, port=port, options=options, rules=rules))
        process = subprocess.Popen([HAPROXY, "-db", "-q", "-f", str(path)], pass_fds=[descriptor])
        try:
            # 7 is the layer that was asked: the answer was an HTTP status, and a good one.
            wait_until(lambda: b",L7OK," in ask(front, "/stats;csv"))
            yield front
        finally:
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for another process."""
    for _ in range(BOUND * 20):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("the condition never held")


def ask(port: int, target: str, **headers: str) -> bytes:
    """Ask HAProxy from an address that is not its own."""
    connection = HTTPConnection(OURS, port, timeout=BOUND, source_address=(SOURCE, 0))
    connection.request("GET", target, headers={name.replace("_", "-"): value for name, value in headers.items()})
    body = connection.getresponse().read()
    connection.close()
    return body


@pytest.mark.parametrize("version", ["", "-v2"])
def test_haproxy(tmp_path: Path, prefix: str, version: str) -> None:
    """Through HAProxy, the log has the client's address; its health checks, which have no client, have its own."""
    options = f"send-proxy{version} check-send-proxy"
    with behind("--workers", "2") as process:
        with haproxy(tmp_path, process.port, options) as port:
            told = json.loads(ask(port, f"{prefix}/delay/0"))
        found = events(process)
    assert told["origin"] == SOURCE
    assert {event["address"] for event in found if event["path"] == f"{prefix}/delay/0"} == {SOURCE}
    assert {event["address"] for event in found if event["path"] == "/healthz"} == {OURS}


def test_headers_of_haproxy(tmp_path: Path, prefix: str) -> None:
    """The headers that HAProxy writes are understood, whatever the client has written into them."""
    rules = "option forwardfor\n  http-request set-header X-Forwarded-Proto https"
    with serving("--log-format", "json", "--proxy-headers", OURS) as process:
        with haproxy(tmp_path, process.port, rules=rules) as port:
            forged = {"Host": "a", "X_Forwarded_For": CLIENT, "X_Forwarded_Proto": "http"}
            told = json.loads(ask(port, f"{prefix}/delay/0", **forged))
        found = events(process)
    assert (told["origin"], told["url"]) == (SOURCE, f"https://a{prefix}/delay/0")
    assert {event["address"] for event in found if event["path"] != "/healthz"} == {SOURCE}


class Remembering(Protocol):
    """Remembers what it was sent."""

    received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data


class Adopter(MemoryReactor):
    """A reactor that remembers by whom a socket that it took over was to be served."""

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> None:
        self.tcpServers.append((fileDescriptor, factory, 0, ""))


LISTENING: dict[str, Callable[[Any, Any], object]] = {
    "tcp": lambda reactor, factory: serverFromString(reactor, "tcp:80").listen(factory),
    "unix": lambda reactor, factory: serverFromString(reactor, "unix:/nowhere").listen(factory),
    "adopted": lambda reactor, factory: reactor.adoptStreamPort(0, socket.AF_INET, factory),
}


@pytest.mark.parametrize("kind", LISTENING)
def test_listening(kind: str) -> None:
    """Whatever is listened on, a connection begins with its preamble, and goes on with what is behind it."""
    reactor = Adopter()
    LISTENING[kind](ProxyProtocolReactor(reactor), Factory.forProtocol(Remembering))
    servers: list[Any] = [*reactor.tcpServers, *reactor.unixServers]
    connection = servers[0][1].buildProtocol(None)
    connection.makeConnection(StringTransport())
    connection.dataReceived(SIGNATURE)
    connection.dataReceived((binary(0x21, 0x11, FOUR) + BEHIND).removeprefix(SIGNATURE))
    assert connection.wrappedProtocol.received == BEHIND
    assert (connection.getPeer().host, connection.getHost().host) == (CLIENT, "192.0.2.2")
