"""The connections of a site that are open, and how they come to an end."""

from typing import TYPE_CHECKING, Any, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.web.http import _GenericHTTPChannelProtocol

from latebin.overrides.http2 import HTTP2Channel

if TYPE_CHECKING:
    from twisted.internet.interfaces import ITCPTransport, ITransport
    from twisted.python.failure import Failure

    from latebin.core.http.reply import Reply
    from latebin.overrides.channel import Channel
    from latebin.overrides.request import Request


class Connection(_GenericHTTPChannelProtocol):
    """A connection of HTTP/1.1, or of HTTP/2 where TLS agrees on it, that its site knows of while it is open."""

    def makeConnection(self, transport: "ITransport") -> None:
        self.site.connections.opened(self)
        super().makeConnection(transport)

    def connectionLost(self, reason: "Failure") -> None:
        super().connectionLost(reason)
        self.site.connections.lost(self)
        if not self.site.connections.open:
            self.site.timeouts.close()

    def dataReceived(self, data: bytes) -> None:
        if self._negotiatedProtocol is None:
            self._begin(data)
        else:
            self._channel.dataReceived(data)

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
        channel: Any = HTTP2Channel(self.site.reactor)
        channel.requestFactory, channel.site, channel.factory = self._requestFactory, self._site, self._factory
        channel.timeOut, channel.callLater = self._timeOut, self._callLater
        channel.makeConnection(transport)
        first._networkProducer.registerProducer(channel, True)  # noqa: FBT003, SLF001  # as above
        self._channel, self._negotiatedProtocol = channel, b"h2"  # type: ignore[assignment]  # it declares the default

    @property
    def requests(self) -> "list[Request]":
        """Those that were received as a whole, and whose answers are not."""
        channel: Any = self._channel
        requests: list[Request] = channel.requests
        return [request for request in requests if request.site is not None and not request.finished]

    def end(self) -> None:
        """Close the connection as soon as nothing is under way on it; at once if nothing is."""
        cast("Channel | HTTP2Channel", self._channel).end()

    def abort(self) -> None:
        """Close the connection, whatever is under way."""
        cast("ITCPTransport", self._channel.transport).abortConnection()


@attrs.define(eq=False)
class Connections:
    """The connections of one site.

    Attributes:
        ending: whether each answer is the last of its connection.
    """

    ending: bool = False
    _open: set[Connection] = attrs.field(factory=set, init=False)
    _ended: Deferred[None] | None = attrs.field(default=None, init=False)

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._open)

    @property
    def requests(self) -> "list[Request]":
        """What was received on any of them, and is not answered."""
        return [request for connection in self._open for request in connection.requests]

    def opened(self, connection: Connection) -> None:
        """Learn of another."""
        self._open.add(connection)

    def lost(self, connection: Connection) -> None:
        """Learn that one is closed."""
        self._open.discard(connection)
        self._tell()

    def end(self) -> Deferred[None]:
        """Close those that are idle, and the others when their answers have left.

        Returns:
            A Deferred that fires when none is open.
        """
        ended = self._ended = Deferred()
        for connection in list(self._open):
            connection.end()
        self._tell()
        return ended

    def dismiss(self, reply: "Reply") -> int:
        """Answer at once, and alike, whatever is waited for; what has begun is broken off.

        Returns:
            How many answers could not be given.
        """
        requests = self.requests
        for request in requests:
            request.dismiss(reply)
        return len(requests)

    def abort(self) -> None:
        """Close them all, whatever is under way."""
        for connection in list(self._open):
            connection.abort()

    def _tell(self) -> None:
        if not self._open and self._ended is not None:
            ended, self._ended = self._ended, None
            ended.callback(None)
