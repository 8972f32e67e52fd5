"""An HTTP/1.1 connection whose request can be passed on while its body is still coming.

Overrides `twisted.web.http.HTTPChannel` of Twisted 26.10. Twisted's own processes a request when the whole body is
there (twisted#4688), and reads addresses and TLS state anew for each request.
"""

from typing import TYPE_CHECKING, Any, cast

from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import connectionDone
from twisted.web.http import Request as HTTPRequest
from twisted.web.http_headers import Headers

from latebin.core.http.request_head import OLDER
from latebin.overrides.channel_head import HeadChannel

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress, IPushProducer
    from twisted.python.failure import Failure


class Channel(HeadChannel):
    """An HTTP/1.1 connection that processes a request to be passed on after its headers.

    The body of such a request is always read to its end before anything else is read from the connection. So no byte of
    it is ever taken for the next request (RFC 9112, section 9.3).
    """

    _host: "IAddress | None" = None
    _peer: "IAddress | None" = None
    _held = False
    _answered: HTTPRequest | None = None
    _tunnelled = False

    def allHeadersReceived(self) -> None:
        super().allHeadersReceived()
        if self.length != 0:
            self.requests[-1].expect_body(self)

    def _send100Continue(self) -> None:
        if not self.requests[-1].content.full:
            super()._send100Continue()

    def allContentReceived(self) -> None:
        super().allContentReceived()
        if self._answered is not None:
            answered, self._answered = self._answered, None
            self.requestDone(answered)

    def requestDone(self, request: HTTPRequest) -> None:
        """Go on to the next request as soon as the body has come."""
        if self._handlingRequest:
            super().requestDone(request)
            return
        self.flush()
        self._answered = request
        if not self.persistent:
            self._linger()

    def getHost(self) -> "IAddress":
        """Return the address of this end; the kernel is asked once a connection."""
        if self._host is None:
            self._host = super().getHost()
        return self._host

    def getPeer(self) -> "IAddress":
        """Return the address of the client; it is made once a connection."""
        if self._peer is None:
            self._peer = super().getPeer()
        return self._peer

    def isSecure(self) -> bool:
        """Return whether the client came over TLS, without a search for an adapter."""
        return bool(ISSLTransport.providedBy(self.transport))

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        if self.persistent and self.requests[0].refusal is not None:
            self.persistent = False
            headers.setRawHeaders(b"Connection", [b"close"])
        if version == OLDER and self.persistent:
            self.keep_alive(code, headers)
        super().writeHeaders(version, code, reason, headers)

    def end(self) -> None:
        """Close the connection as soon as it is idle; written bytes still leave."""
        if self.requests and not self._lingering:
            # An answer that has not begun will itself have the header for the last one.
            self.persistent = self.persistent and not self.requests[0].startedWriting
            return
        self.loseConnection()
        if ISSLTransport.providedBy(self.transport):
            # An idle client need not read and answer that TLS ends (RFC 8446, section 6.1).
            cast("Any", self.transport).transport.loseConnection()

    def hold(self) -> None:
        """Leave the client's bytes unread; it is not idle meanwhile."""
        self._held = True
        self._networkProducer.pauseProducing()
        if self.timeOut:
            self._savedTimeOut = self.setTimeout(None)

    def release(self) -> None:
        """Read on."""
        self._held = False
        if self._savedTimeOut and not self._handlingRequest:
            self.setTimeout(self._savedTimeOut)
        if not self._waitingForTransport:
            self._networkProducer.resumeProducing()

    def resumeProducing(self) -> None:
        # The client reads again, but its body stays unread.
        super().resumeProducing()
        if self._held:
            self._networkProducer.pauseProducing()
        elif self._tunnelled:
            self._networkProducer.resumeProducing()

    def open_tunnel(self, receiver: "Callable[[bytes], None]") -> None:
        """Pass all further bytes of the client on.

        Those too that came behind its request are passed on. The request stays the connection's last, and its answer
        has the bytes of the other direction (RFC 9110, section 7.8).

        Args:
            receiver: a function that takes the bytes.
        """
        self._tunnelled, self.persistent = True, False
        # In the place of the method, as Twisted does it for its own WebSocket: no other connection asks for a tunnel.
        self.dataReceived = receiver  # type: ignore[assignment,method-assign]
        if came := self._came_early():
            receiver(came)
        if not self._held:
            self._networkProducer.resumeProducing()

    def _came_early(self) -> bytes:
        """Take the bytes that came behind the request."""
        came = b"".join(self._dataBuffer)
        self._dataBuffer.clear()
        return came

    def connectionLost(self, reason: "Failure" = connectionDone) -> None:
        super().connectionLost(reason)
        if self._tunnelled:
            # The receiver refers to the request, and that to this object: the three would be a cycle.
            del self.dataReceived

    def registerProducer(self, producer: "IPushProducer", streaming: bool) -> None:  # noqa: FBT001  # an interface
        # The transport asks for a pause once: a producer that is registered later would miss it.
        super().registerProducer(producer, streaming)
        if streaming and self._waitingForTransport:
            producer.pauseProducing()
