"""An HTTP/1.1 connection that sends what is written at once.

Overrides `twisted.web.http.HTTPChannel` of Twisted 26.10. Twisted's own sends in the next turn of the reactor, behind
all answers that are due in this one. That takes three system calls beside the one that sends.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as HTTPRequest
from twisted.web.http_headers import Headers

from latebin.answers.interfaces import Host

if TYPE_CHECKING:
    from twisted.internet.interfaces import ITCPTransport, ITransport
    from twisted.python.failure import Failure

    from latebin.core.ends import End

LARGEST: Final = 16 * 1024
"""Bytes that are sent at once; a larger piece is left to the transport, which pauses its producer."""


class WriteThroughChannel(HTTPChannel):
    """Twisted's HTTP/1.1 connection, except that it sends an answer at once, as a whole.

    Twisted would send it in the reactor's next turn, behind all others that are due in this one. It would register for
    an event, get the event, and unregister: three system calls beside the one that sends.
    """

    site: Host

    ended: "End | None" = None
    """Why the connection was ended, if it was not by the client's leaving."""

    def __init__(self) -> None:
        super().__init__()
        self._unsent: list[bytes] = []

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        self._unsent += (version, b" ", code, b" ", reason, b"\r\n")
        for name, values in headers._rawHeaders.items():  # noqa: SLF001  # what `getAllRawHeaders` generates
            for value in values:
                self._unsent += (name, b": ", value, b"\r\n")
        # RFC 9112, section 9.3; the option also names the field, as RFC 9110, section 7.6.1, wants it.
        kept = self.persistent and b"Connection" not in headers._rawHeaders  # noqa: SLF001  # as above
        self._unsent.append(self.site.keep_alive if kept else b"\r\n")

    def write(self, data: bytes) -> None:
        self._unsent.append(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self._unsent += iovec

    def flush(self) -> None:
        """Send the written bytes; the reactor sends those that the kernel does not take."""
        if not self._unsent:
            return
        data = b"".join(self._unsent)
        self._unsent.clear()
        sent = self._send(data)
        if sent < len(data):
            cast("ITransport", self.transport).write(data[sent:])
            if self._waitingForTransport:
                # TLS asks for a pause once, in the middle of a piece.
                self._account()

    def requestDone(self, request: HTTPRequest) -> None:
        self.flush()
        super().requestDone(request)

    def loseConnection(self) -> None:
        self.flush()
        super().loseConnection()

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self._account()

    def stop_waiting(self) -> None:
        """Abort the connection: its client leaves answers unread, and there are too many of those."""
        self.ended = "unread"
        cast("ITCPTransport", self.transport).abortConnection()

    def connectionLost(self, reason: "Failure" = connectionDone) -> None:
        if self._waitingForTransport:
            self.site.unread.leave(self)
        super().connectionLost(reason)

    def resumeProducing(self) -> None:
        self.site.unread.leave(self)
        super().resumeProducing()

    def _account(self) -> None:
        """Note the bytes that wait until the client reads."""
        self.site.unread.enter(self, unsent(self.transport))

    def _send(self, data: bytes) -> int:
        transport = self.transport
        if len(data) > LARGEST or not isinstance(transport, Connection) or _busy(transport):
            return 0
        sent = transport.writeSomeData(data)
        # An error is left to the reactor, which handles it.
        return sent if isinstance(sent, int) else 0


def unsent(transport: object) -> int:
    """Return the bytes that a transport keeps as the kernel has not taken them.

    Args:
        transport: of TCP or a UNIX socket, in whichever way it is wrapped; any other keeps nothing.
    """
    tcp: Any = transport
    if not hasattr(tcp, "dataBuffer"):
        return 0
    return len(tcp.dataBuffer) - int(tcp.offset) + int(tcp._tempDataLen)  # noqa: SLF001  # as Twisted counts them


def _busy(transport: Connection) -> bool:
    """Return whether other bytes have to be sent before, or no more can be."""
    waiting = transport.dataBuffer or transport._tempDataBuffer  # noqa: SLF001  # it has no other name
    return bool(waiting or transport.disconnecting or not transport.connected)
