"""An HTTP connection that reports its opening and its loss to its site.

Overrides `twisted.web.http._GenericHTTPChannelProtocol` of Twisted 26.10. That goes on to Twisted's own HTTP/2 channel
and has no way to name another. It does not say that a connection is idle.
"""

from typing import TYPE_CHECKING, Any, cast

from twisted.internet.interfaces import IHandshakeListener, ISSLTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import _GenericHTTPChannelProtocol
from zope.interface import implementer

from latebin.answers.failures import report
from latebin.overrides.ending import abort, fail

if TYPE_CHECKING:
    from twisted.internet.interfaces import ITransport

    from latebin.core.ends import End
    from latebin.overrides.channel import Channel
    from latebin.overrides.http2 import HTTP2Channel
    from latebin.overrides.request import Request
    from latebin.timing.budget import TurnBudget


@implementer(IHandshakeListener)
class Connection(_GenericHTTPChannelProtocol):
    """A connection of HTTP/1.1, or of HTTP/2 over TLS, known to its site."""

    log = Logger()

    def makeConnection(self, transport: "ITransport") -> None:
        self.site.connections.opened(self)
        super().makeConnection(transport)
        if ISSLTransport.providedBy(transport) and self.timeOut is not None:
            self._channel.setTimeout(self.site.settings.header_timeout)

    def handshakeCompleted(self) -> None:
        """Wait for the first request as long as for any other."""
        if self.timeOut is not None:
            self._channel.setTimeout(self.site.timeOut)

    def connectionLost(self, reason: "Failure") -> None:
        try:
            super().connectionLost(reason)
        except Exception:  # noqa: BLE001  # any failure at the end; the site is to learn of the end all the same
            report(self.log, Failure(), self._channel.getPeer())
            self.site.connection_error("service")
        self.site.connections.lost(self)
        if not self.site.connections.open:
            self.site.timeouts.close()

    def dataReceived(self, data: bytes) -> None:
        """Pass on what comes; what that raises ends this connection alone."""
        try:
            if self._negotiatedProtocol is None:
                self._begin(data)
            else:
                self._channel.dataReceived(data)
        except Exception:  # noqa: BLE001  # a byte can cause any
            fail(cast("Channel | HTTP2Channel", self._channel), Failure())

    def _begin(self, data: bytes) -> None:
        transport: Any = self._channel.transport
        if getattr(transport, "negotiatedProtocol", None) == b"h2":
            self._multiplex(transport)
        super().dataReceived(data)

    def _multiplex(self, transport: Any) -> None:  # noqa: ANN401  # TLS, in whichever way it is wrapped
        """Go on with HTTP/2, as Twisted does it, but with a channel of ours."""
        first: Any = self._channel
        first._networkProducer.unregisterProducer()  # noqa: SLF001  # it is for this class to take back
        first.setTimeout(None)
        from latebin.overrides.http2 import HTTP2Channel  # noqa: PLC0415  # for services that listen for TLS

        channel: Any = HTTP2Channel(self.site.reactor)
        channel.requestFactory, channel.site, channel.factory = self._requestFactory, self._site, self._factory
        channel.timeOut, channel.callLater = self._timeOut, self._callLater
        channel.makeConnection(transport)
        first._networkProducer.registerProducer(channel, True)  # noqa: FBT003, SLF001  # as above
        self._channel, self._negotiatedProtocol = channel, b"h2"  # type: ignore[assignment]  # it declares the default

    @property
    def budget(self) -> "TurnBudget":
        """The budget of each turn, which all connections of the site share."""
        return cast("TurnBudget", self.site.budget)

    @property
    def requests(self) -> "list[Request]":
        """Those that were received as a whole, and whose answers are not."""
        channel: Any = self._channel
        requests: list[Request] = channel.requests
        return [request for request in requests if request.site is not None and not request.finished]

    def end(self) -> None:
        """Close the connection as soon as nothing is under way on it."""
        cast("Channel | HTTP2Channel", self._channel).end()

    def abort(self, end: "End" = "aborted") -> None:
        """Close the connection, also in the middle of an answer.

        Args:
            end: the reason, for those whose answers are lost by it.
        """
        abort(cast("Channel | HTTP2Channel", self._channel), end)
