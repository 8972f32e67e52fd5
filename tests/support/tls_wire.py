"""A TLS connection in memory: a server, an OpenSSL client, a transport with half-close."""

import ssl
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.internet.task import Clock

from latebin.overrides.tls import ClosingTLSFactory
from latebin.site.factory import ServiceSite
from tests.support.certificate import certificate
from tests.support.wire import Wire


@lru_cache(maxsize=1)
def _options() -> CertificateOptions:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "localhost.pem"
        certificate(path)
        loaded: CertificateOptions = PrivateCertificate.loadPEM(path.read_bytes()).options()
        return loaded


class TLSWire(Wire):
    """The server's TCP connection, whose client is OpenSSL without a socket.

    Attributes:
        heard: what the client has decrypted.
        notified: whether close_notify has come.
        half_closed: whether FIN has come.
        takes: whether the kernel takes what is written.
    """

    # As TCP keeps what the kernel has not taken.
    dataBuffer = b""
    offset = 0
    _tempDataLen = 0

    def __init__(self, site: ServiceSite, clock: Clock, alpn: str = "http/1.1", *, begin: bool = True) -> None:
        self.heard = b""
        self.notified = self.half_closed = self.aborted = False
        self.takes = True
        self._read = 0
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols([alpn])
        self.client = context.wrap_bio(self._incoming, self._outgoing)
        factory: Any = ClosingTLSFactory(_options(), isClient=False, wrappedFactory=site, clock=clock)
        super().__init__(factory, clock)
        if begin:
            self.exchange()

    def greet(self, length: int | None = None) -> None:
        """Send the first message of the handshake alone, or so many bytes of it."""
        with suppress(ssl.SSLWantReadError):
            self.client.do_handshake()
        self.send(self._outgoing.read()[:length])

    def write(self, data: bytes) -> None:
        super().write(data)
        if not self.takes:
            self._tempDataLen += len(data)

    def say(self, *records: bytes) -> None:
        """Send records as one segment, and take what comes back."""
        for record in records:
            self.client.write(record)
        self.exchange()

    def say_goodbye(self) -> None:
        """Answer the server's close_notify."""
        self.client.unwrap()
        self.send(self._outgoing.read())

    def exchange(self) -> None:
        """Pass on what either side has to say, until both have said it."""
        for _ in range(8):
            self._step()
            sent = self._outgoing.read()
            if sent and self.protocol is not None:
                self.send(sent)
            self._clock.advance(0)
            come, self._read = self.received[self._read :], len(self.received)
            self._incoming.write(come)

    def _step(self) -> None:
        try:
            if self.client.version() is None:
                self.client.do_handshake()
            data = self.client.read(2**16)
            self.heard += data
            self.notified = self.notified or not data
        except ssl.SSLWantReadError:
            pass

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def loseConnection(self) -> None:
        if self.half_closed:
            # As TCP, whose connection is over then.
            self.leave()
        else:
            super().loseConnection()

    def abortConnection(self) -> None:
        self.aborted = True
        super().loseConnection()

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: FBT001  # an interface
        """Do nothing."""
