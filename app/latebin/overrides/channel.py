"""An HTTP/1.1 connection whose request can be passed on while its body is still coming.

Overrides `twisted.web.http.HTTPChannel` of Twisted 26.10. Twisted's own processes a request when the whole body is
there (twisted#4688), and reads addresses and TLS state anew for each request.
"""

from typing import TYPE_CHECKING, Any, cast

from twisted.internet.interfaces import ISSLTransport
from twisted.web.http import Request as HTTPRequest
from twisted.web.http_headers import Headers

from latebin.overrides.channel_limits import LimitedChannel

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IPushProducer


class Channel(LimitedChannel):
    """A connection of HTTP/1.1 on which a request to be passed on is processed as soon as its headers are there.

    Whatever becomes of such a request, its body is read to its end before anything else is read from the connection,
    so that no byte of it is ever taken for the next request (RFC 9112, section 9.3).
    """

    _host: "IAddress | None" = None
    _peer: "IAddress | None" = None
    _held = False
    _answered: HTTPRequest | None = None

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
            super().requestDone(answered)

    def requestDone(self, request: HTTPRequest) -> None:
        """Go on to the next request; if there is more to come of the body, once that has come."""
        if self._handlingRequest:
            super().requestDone(request)
            return
        self.flush()
        self._answered = request
        if not self.persistent:
            self._linger()

    def getHost(self) -> "IAddress":
        """Tell where the connection ends here; the kernel is asked once, and not for each request."""
        if self._host is None:
            self._host = super().getHost()
        return self._host

    def getPeer(self) -> "IAddress":
        """Tell where the connection comes from; the address is made once as well."""
        if self._peer is None:
            self._peer = super().getPeer()
        return self._peer

    def isSecure(self) -> bool:
        """Tell whether the client came over TLS; each request asks, and no adapter is searched for."""
        return bool(ISSLTransport.providedBy(self.transport))

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        if self.persistent and self.requests[0].refusal is not None:
            self.persistent = False
            headers.setRawHeaders(b"Connection", [b"close"])
        super().writeHeaders(version, code, reason, headers)

    def end(self) -> None:
        """Close the connection when it is idle, which may be at once; what was sent still leaves."""
        if self.requests and not self._lingering:
            # An answer that has not begun will tell by itself that it is the last.
            self.persistent = self.persistent and not self.requests[0].startedWriting
            return
        self.loseConnection()
        if ISSLTransport.providedBy(self.transport):
            # Who is idle need not be reading, and so answer that TLS ends; it need not (RFC 8446, section 6.1).
            cast("Any", self.transport).transport.loseConnection()

    def hold(self) -> None:
        """Leave what the client sends unread. Meanwhile it is not the client who is idle."""
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
        # The client reads again, which is no reason to read more of its body.
        super().resumeProducing()
        if self._held:
            self._networkProducer.pauseProducing()

    def registerProducer(self, producer: "IPushProducer", streaming: bool) -> None:  # noqa: FBT001  # an interface
        # The transport asks for a pause once: whoever comes after that would not be told.
        super().registerProducer(producer, streaming)
        if streaming and self._waitingForTransport:
            producer.pauseProducing()
