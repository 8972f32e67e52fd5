"""The original forms, and the two that take no arguments, as `twist` runs them."""

import re
import socket
from concurrent.futures import ThreadPoolExecutor

from latebin.testing.process import started
from tests.support.process import ROOT

PORT = r"starting on (\d+)"

TWIST = ("-m", "twisted", "--log-format", "text", "web", "--listen", "tcp:0:interface=127.0.0.1")

LISTING = re.compile(
    rb"HTTP/1\.1 200 OK\r\n"
    rb"Server: TwistedWeb/\S+\r\n"
    rb"Date: [^\r]+ GMT\r\n"
    rb"Content-Type: text/html\r\n"
    rb"Transfer-Encoding: chunked\r\n"
    rb"\r\n"
    rb"34\r\n<html><body>Sorry to keep you waiting\.</body></html>\r\n0\r\n\r\n"
)
"""The answer of the listing in Twisted's documentation: chunked, without a length."""


def exchange(port: int, path: str) -> bytes:
    """Ask, and read until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        data = b""
        while not data.endswith(b"0\r\n\r\n") and b"Content-Length: 52\r\n" not in data:
            received = connection.recv(65536)
            if not received:
                break
            data += received
        return data


def test_rpy() -> None:
    """Both listings of the documentation answer to the byte as rpy scripts."""
    with started(*TWIST, "--path", str(ROOT / "app" / "rpy"), ready=PORT) as process, ThreadPoolExecutor() as pool:
        paths = ("/delayed.rpy", "/calllater.rpy")
        for answer in pool.map(lambda path: exchange(int(process.found[0]), path), paths):
            assert LISTING.fullmatch(answer)


def test_resource_class() -> None:
    """`twist web --class` serves the raw resource by itself, at the root."""
    with started(*TWIST, "--class", "latebin.styles.resource.DelayedResource", ready=PORT) as process:
        assert b"asked;dur=10.000" in exchange(int(process.found[0]), "/10ms")
        assert b"asked;dur=20.000" in exchange(int(process.found[0]), "/?delay=20ms")


def test_whole_service() -> None:
    """`twist web --class=latebin.resource` serves both styles."""
    with started(*TWIST, "--class", "latebin.resource", ready=PORT) as process:
        assert b"asked;dur=10.000" in exchange(int(process.found[0]), "/delayed/10ms")
        assert b"asked;dur=10.000" in exchange(int(process.found[0]), "/raw/delayed/10ms")
