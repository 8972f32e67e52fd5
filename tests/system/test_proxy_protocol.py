"""Connections of the PROXY protocol: by hand, by curl, and through HAProxy."""

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import attrs
import pytest

from latebin.testing.process import ServiceProcess, serving
from tests.support.certificate import listening
from tests.support.haproxy import HAPROXY
from tests.support.log import following
from tests.support.process import BOUND, until
from tests.support.proxy_protocol import FOUR, MALFORMED, SIX, binary

OURS, CLIENT, SOURCE = "127.0.0.1", "192.0.2.1", "127.0.0.2"

TEXT = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n"

LISTEN = f"haproxy:tcp:0:interface={OURS}"


@pytest.fixture(scope="module")
def alone() -> Iterator[ServiceProcess]:
    """A service of one process, which believes the headers of proxies behind the protocol."""
    with serving("--log-format", "json", "--proxy-headers", "192.0.2.0/24", "--listen", LISTEN) as process:
        yield process


@attrs.frozen
class Several:
    """A service of several processes, and the ports of its endpoints.

    It believes the headers of a proxy at its own address.
    """

    process: ServiceProcess
    certificate: Path
    port: int
    secure: int
    plain: int


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Several]:
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    endpoints = (LISTEN, listening(path, "haproxy:"), f"tcp:0:interface={OURS}")
    listen = [part for endpoint in endpoints for part in ("--listen", endpoint)]
    with serving("--log-format", "json", "--workers", "2", "--proxy-headers", OURS, *listen) as process:
        yield Several(process, path, *process.ports)


def request(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


def talk(port: int, *pieces: bytes) -> bytes:
    """Send pieces, each in its own segment; return all bytes until the close."""
    received = b""
    with socket.create_connection((OURS, port), timeout=BOUND) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A client whose connection is closed before all that it sent was read is reset.
        with suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
            while data := connection.recv(65536):
                received += data
    return received


@pytest.mark.parametrize("workers", [1, 2])
def test_log(alone: ServiceProcess, several: Several, prefix: str, workers: int) -> None:
    """The log has the client's address of either version, or else the peer's."""
    process = alone if workers == 1 else several.process
    logged = following(process, f"{prefix}/delayed/0")
    headers = [TEXT, b"PROXY UNKNOWN\r\n", binary(0x21, 0x11, FOUR), binary(0x21, 0x21, SIX), binary(0x20, 0, b"")]
    for count, header in enumerate(headers, 1):
        assert talk(process.port, header + request(f"{prefix}/delayed/0")).startswith(b"HTTP/1.1 200 ")
        logged(count)
    assert [event["address"] for event in logged(5)] == [CLIENT, OURS, CLIENT, "2001:db8::1", OURS]


def test_origin_and_url(alone: ServiceProcess, prefix: str) -> None:
    """A client gets its own address, and without Host the one it connected to."""
    logged = following(alone)
    answer = talk(alone.port, TEXT + f"GET {prefix}/delay/0 HTTP/1.0\r\n\r\n".encode())
    echoed = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (echoed["origin"], echoed["url"]) == (CLIENT, f"http://192.0.2.2{prefix}/delay/0")
    logged(1)


def test_pieces(alone: ServiceProcess, prefix: str) -> None:
    """A header may come in pieces, and holds for each request of its connection."""
    logged = following(alone)
    kept = f"GET {prefix}/delayed/0 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    pieces = [bytes([byte]) for byte in binary(0x21, 0x11, FOUR)]
    talk(alone.port, *pieces, kept, request(f"{prefix}/delayed/0"))
    assert [event["address"] for event in logged(2)] == [CLIENT, CLIENT]


def test_malformed(alone: ServiceProcess) -> None:
    """A connection without a valid header is closed, and nothing is logged."""
    logged = following(alone)
    for data in (*MALFORMED, request("/delayed/0")):
        assert talk(alone.port, data, request("/delayed/0")) == b""
    # The log is written in the order of the events: nothing of those is to come behind this.
    talk(alone.port, TEXT + request("/delayed/0?seed=7"))
    assert [event["query"] for event in logged(1)] == ["seed=7"]


def test_proxy_headers(alone: ServiceProcess) -> None:
    """The client in the header may be a believed proxy; the header's writer need not."""
    logged = following(alone)
    forwarded = request("/delayed/0").replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: ::2\r\n\r\n")
    for header in (TEXT, b"PROXY UNKNOWN\r\n"):
        talk(alone.port, header + forwarded)
    assert [event["address"] for event in logged(2)] == ["::2", OURS]


def test_tls(several: Several, prefix: str) -> None:
    """TLS begins behind the header, where proxies that pass it on unread have it begin."""
    logged = following(several.process, f"{prefix}/delay/0")
    context = ssl.create_default_context(cafile=str(several.certificate))
    context.check_hostname = False
    with socket.create_connection((OURS, several.secure), timeout=BOUND) as connection:
        connection.sendall(TEXT)
        with context.wrap_socket(connection) as secured:
            secured.sendall(f"GET {prefix}/delay/0 HTTP/1.0\r\nHost: a\r\n\r\n".encode())
            answer = b"".join(iter(lambda: secured.recv(65536), b""))
    [event] = logged(1)
    echoed = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (event["address"], echoed["origin"], echoed["url"]) == (CLIENT, CLIENT, f"https://a{prefix}/delay/0")


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl(several: Several, prefix: str, version: str) -> None:
    """curl, which can write a header, is answered over TLS by either version of HTTP."""
    logged = following(several.process, f"{prefix}/delayed/0")
    command = ["curl", "--no-progress-meter", "--insecure", "--haproxy-protocol", "--interface", SOURCE, version]
    url = f"https://{OURS}:{several.secure}{prefix}/delayed/0"
    done = subprocess.run(
        [*command, "-w", "\n%{http_version}", url], capture_output=True, text=True, check=True, timeout=BOUND
    )
    assert [event["address"] for event in logged(1)] == [SOURCE]
    assert done.stdout == f"<html><body>Sorry to keep you waiting.</body></html>\n{version[6:]}"


DEFAULTS = """
defaults
  mode http
  timeout connect 10s
  timeout client 30s
  timeout server 30s
"""

PROXY = """
frontend front_{name}
  bind fd@{descriptor}
  stats uri /stats
  default_backend back_{name}
backend back_{name}
  option httpchk GET /healthz
  {rules}
  server service 127.0.0.1:{port} check inter 100ms {options}
"""


@pytest.fixture(scope="module")
def haproxy(several: Several, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Run HAProxy before a healthy service; return its ports by the header it sends."""
    if HAPROXY is None:
        pytest.skip("HAProxy is not installed")
    backends = {
        "v1": (several.port, "send-proxy check-send-proxy", ""),
        "v2": (several.port, "send-proxy-v2 check-send-proxy", ""),
        "headers": (several.plain, "", "option forwardfor\n  http-request set-header X-Forwarded-Proto https"),
    }
    listeners = {name: socket.create_server((OURS, 0)) for name in backends}
    path = tmp_path_factory.mktemp("haproxy") / "haproxy.cfg"
    proxies = [
        PROXY.format(name=name, descriptor=listeners[name].fileno(), port=port, options=options, rules=rules)
        for name, (port, options, rules) in backends.items()
    ]
    path.write_text(DEFAULTS + "".join(proxies))
    descriptors = [listener.fileno() for listener in listeners.values()]
    process = subprocess.Popen([HAPROXY, "-db", "-q", "-f", str(path)], pass_fds=descriptors)
    fronts = {name: listener.getsockname()[1] for name, listener in listeners.items()}
    try:
        # 7 is the layer that was asked: the answer was an HTTP status, and a good one.
        until(lambda: ask(fronts["v1"], "/stats;csv").count(b",L7OK,") == len(backends))
        yield fronts
    finally:
        process.kill()
        process.wait()
        for listener in listeners.values():
            listener.close()


def ask(port: int, target: str, **headers: str) -> bytes:
    """Ask HAProxy from an address that is not its own."""
    connection = HTTPConnection(OURS, port, timeout=BOUND, source_address=(SOURCE, 0))
    connection.request("GET", target, headers={name.replace("_", "-"): value for name, value in headers.items()})
    body = connection.getresponse().read()
    connection.close()
    return body


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_haproxy(several: Several, haproxy: dict[str, int], prefix: str, version: str) -> None:
    """The log has the client's address through HAProxy, and its own for health checks."""
    logged = following(several.process, f"{prefix}/delay/0")
    checked = following(several.process, "/healthz")
    echoed = json.loads(ask(haproxy[version], f"{prefix}/delay/0"))
    assert echoed["origin"] == SOURCE
    assert [event["address"] for event in logged(1)] == [SOURCE]
    assert {event["address"] for event in checked(len(haproxy))} == {OURS}


def test_headers_of_haproxy(several: Several, haproxy: dict[str, int], prefix: str) -> None:
    """HAProxy's headers are understood, whichever headers the client has forged."""
    logged = following(several.process, f"{prefix}/delay/0")
    forged = {"Host": "a", "X_Forwarded_For": CLIENT, "X_Forwarded_Proto": "http"}
    echoed = json.loads(ask(haproxy["headers"], f"{prefix}/delay/0", **forged))
    assert (echoed["origin"], echoed["url"]) == (SOURCE, f"https://a{prefix}/delay/0")
    assert [event["address"] for event in logged(1)] == [SOURCE]
