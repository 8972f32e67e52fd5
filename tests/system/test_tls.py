from collections.abc import Iterator
from pathlib import Path

import pytest

from latebin.testing.process import ServiceProcess
from tests.overrides.test_http2_conformance import AUTHORITY, METHOD, SCHEME, START, data, headers, initial, window
from tests.support.process import until
from tests.support.tls import MutePeer, serving_tls


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with serving_tls(tmp_path_factory.mktemp("tls"), "--max-body", "64k", "--body-timeout", "300ms") as process:
        yield process


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service of the libraries' own classes."""
    with serving_tls(tmp_path_factory.mktemp("tls"), "--stack", "stock") as process:
        yield process


GOAWAY = bytes((7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1))
"""The frame from its type on: of stream 0, with no stream served, for a protocol error."""


def ask(target: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: a", *headers, "", ""]).encode()


def descriptors(process: ServiceProcess) -> int:
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/delayed/0?fault=close", ()),
        ("/delayed/0?fault=truncate", ()),
        ("/delayed/0?fault=garbage", ()),
        ("/delayed/0?fault=badchunk", ()),
        ("/delayed/0", ("Connection: close",)),
        ("/delayed/0", ("Content-Length: 1000000",)),
        ("/delayed/0", ("Content-Length: 2",)),
    ],
)
def test_close(process: ServiceProcess, prefix: str, target: str, headers: tuple[str, ...]) -> None:
    """A connection that the service closes ends by close_notify and FIN unanswered."""
    with MutePeer(process.port) as peer:
        peer.send(ask(prefix + target, *headers))
        peer.receive_all()
        assert peer.notified


@pytest.mark.parametrize("fault", ["close", "truncate", "garbage", "badchunk"])
def test_stock(stock: ServiceProcess, prefix: str, fault: str) -> None:
    """A connection of the libraries' own classes ends by close_notify and FIN, too."""
    with MutePeer(stock.port) as peer:
        peer.send(ask(f"{prefix}/delayed/0?fault={fault}"))
        peer.receive_all()
        assert peer.notified
    with MutePeer(stock.port) as peer:
        peer.send(ask(f"{prefix}/delayed/0", "Connection: close"))
        assert peer.receive_all().startswith(b"HTTP/1.1 200 ")
        assert peer.notified


@pytest.mark.parametrize("kind", ["process", "stock"])
def test_http2(request: pytest.FixtureRequest, kind: str) -> None:
    """An HTTP/2 connection ends by GOAWAY, close_notify and FIN after a breach of the protocol."""
    with MutePeer(request.getfixturevalue(kind).port, "h2") as peer:
        peer.send(START + data(stream=0))
        assert GOAWAY in peer.receive_all()
        assert peer.notified


def test_malformed(process: ServiceProcess) -> None:
    """A connection ends by close_notify and FIN after a malformed request."""
    with MutePeer(process.port) as peer:
        peer.send(b"\0\0\0\0\r\n\r\n")
        assert peer.receive_all().startswith(b"HTTP/1.1 400 ")
        assert peer.notified


def test_descriptors(process: ServiceProcess) -> None:
    """No descriptor is left of 200 connections that only the service has closed."""
    with MutePeer(process.port) as peer:
        peer.send(ask("/healthz", "Connection: close"))
        peer.receive_all()
    before = descriptors(process)
    peers = [MutePeer(process.port) for _ in range(200)]
    for peer in peers:
        peer.send(ask("/delayed/0?fault=close"))
    for peer in peers:
        assert peer.receive_all() == b""
        assert peer.notified
    until(lambda: descriptors(process) <= before)
    for peer in peers:
        peer.socket.close()


def resident(process: ServiceProcess) -> int:
    """Return the MiB of a process that are in memory."""
    [line] = [line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "VmRSS" in line]
    return int(line.split()[1]) // 1024


def test_reads_nothing(process: ServiceProcess, prefix: str) -> None:
    """Forty unread answers of 16 MB over HTTP/2 take little memory."""
    before = resident(process)
    target = (":path", f"{prefix}/delayed/0?size=16m")
    asked = b"".join(headers((METHOD, SCHEME, target, AUTHORITY), number) for number in range(1, 80, 2))
    with MutePeer(process.port, "h2") as greedy:
        greedy.send(START + initial(2**31 - 1) + window(2**31 - 65536) + asked)
        for _ in range(3):
            with MutePeer(process.port) as other:
                other.send(ask("/healthz", "Connection: close"))
                assert other.receive_all().startswith(b"HTTP/1.1 200 ")
        assert resident(process) - before < 32  # MiB; where all was written, they were 640


def test_late_bytes(process: ServiceProcess) -> None:
    """An answer arrives as a whole when its client sends on after it was closed."""
    with MutePeer(process.port) as peer:
        peer.send(ask("/delayed/0?size=64k", "Connection: close"))
        first = peer.receive()
        for _ in range(20):
            peer.send(b"x" * 1000)
        _, _, body = (first + peer.receive_all()).partition(b"\r\n\r\n")
        assert len(body) == 2**16
