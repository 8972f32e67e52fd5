"""The connections of a site that are open, and how they come to an end."""

from typing import TYPE_CHECKING, Any, cast

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.web.http import _GenericHTTPChannelProtocol

from app.channel import Channel

if TYPE_CHECKING:
    from twisted.internet.interfaces import ITCPTransport, ITransport
    from twisted.python.failure import Failure

    from app.reply import Reply
    from app.request import Request


class Connection(_GenericHTTPChannelProtocol):
    """A connection of HTTP/1.1, or of HTTP/2 where TLS agrees on it, that its site knows of while it is open."""

    def makeConnection(self, transport: "ITransport") -> None:
        self.site.connections.opened(self)
        super().makeConnection(transport)

    def connectionLost(self, reason: "Failure") -> None:
        super().connectionLost(reason)
        self.site.connections.lost(self)

    @property
    def requests(self) -> "list[Request]":
        """Those that were received as a whole, and whose answers are not."""
        channel = self._channel
        if isinstance(channel, Channel):
            found = channel.requests
        else:
            found = [stream._request for stream in channel.streams.values()]  # noqa: SLF001  # it has no other name
        return [request for request in found if request.site is not None and not request.finished]

    def end(self, _: object = None) -> None:
        """Close the connection as soon as nothing is under way on it; at once if nothing is."""
        channel: Any = self._channel
        if isinstance(channel, Channel):
            channel.end()
        elif channel.streams:
            DeferredList(list(channel._streamCleanupCallbacks.values())).addCallback(self.end)  # noqa: SLF001  # as above
        else:
            # It says GOAWAY, for which there is no other way; but what is being sent is sent, however long it takes.
            channel.abortTimeout = None
            channel.timeoutConnection()

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
