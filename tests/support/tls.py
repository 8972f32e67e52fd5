"""A TLS client for tests, which answers no close_notify by itself."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from latebin.testing.process import ServiceProcess, serving
from tests.support.certificate import listening
from tests.support.process import BOUND


@contextmanager
def serving_tls(folder: Path, *options: str) -> Iterator[ServiceProcess]:
    """Run `latebin serve` on a port of its own that speaks TLS."""
    with serving("--listen", listening(folder / "localhost.pem"), *options) as process:
        yield process


class MutePeer:
    """A TLS connection over a socket; its closing alert and FIN leave on request alone.

    Args:
        port: of a server on this machine.
        alpn: the protocol that the client speaks.
    """

    def __init__(self, port: int, alpn: str = "http/1.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=BOUND)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols([alpn])
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        self.notified = self.closed = False
        self._shake()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send data as one segment, in as many records as it takes."""
        self._tls.write(data)
        self._flush()

    def send_records(self, *records: bytes) -> None:
        """Send records in one segment."""
        for record in records:
            self._tls.write(record)
        self._flush()

    def receive(self) -> bytes:
        """Wait for data, and return it; nothing where the server has closed."""
        while not self.closed:
            data = self._read()
            if data or self.closed:
                return data
        return b""

    def receive_all(self) -> bytes:
        """Return all that comes until the server closes the connection."""
        received = bytearray()
        while not self.closed:
            received += self.receive()
        return bytes(received)

    def _shake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._take()
                assert not self.closed, "the server closed the connection instead of shaking hands"
            else:
                self._flush()
                return

    def _read(self) -> bytes:
        try:
            data = self._tls.read(2**16)
        except ssl.SSLWantReadError:
            self._take()
            return b""
        if not data:
            self.notified = True
            self._take()
        return data

    def _take(self) -> None:
        data = self.socket.recv(2**16)
        self.closed = not data
        self._incoming.write(data)

    def _flush(self) -> None:
        self.socket.sendall(self._outgoing.read())
