"""A connection on which many requests are under way at once."""

from typing import TYPE_CHECKING, cast

from h2.connection import H2Connection as Frames
from h2.errors import ErrorCodes
from twisted.internet.defer import DeferredList
from twisted.internet.error import ConnectionAborted
from twisted.python.failure import Failure
from twisted.web._http2 import H2Connection

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from app.request import Request


class _Frames(Frames):
    """The frames of a connection, of which some streams end by a reset."""

    def __init__(self, like: Frames) -> None:
        super().__init__(like.config)
        self.broken: set[int] = set()

    def end_stream(self, stream_id: int) -> None:
        if stream_id in self.broken:
            self.reset_stream(stream_id)
        else:
            super().end_stream(stream_id)

    def reset_stream(self, stream_id: int, error_code: ErrorCodes | int = ErrorCodes.INTERNAL_ERROR) -> None:
        # NO_ERROR, the library's own, is for answers that are whole (RFC 9113, section 8.1).
        super().reset_stream(stream_id, error_code)


class HTTP2Channel(H2Connection):
    """Twisted's HTTP/2 connection, but that nobody is idle who waits for an answer (twisted#9532).

    What closes a connection of HTTP/1.1 in the middle of an answer resets a stream here, when what was written to it
    has been sent; the other streams go on. The request is told of it as of a connection that is lost.
    """

    conn: _Frames

    def __init__(self, reactor: "IReactorTime") -> None:
        super().__init__(reactor)
        self.conn = _Frames(self.conn)

    @property
    def requests(self) -> "list[Request]":
        """Those that have begun to come, and whose answers have not left."""
        return [stream._request for stream in self.streams.values()]  # noqa: SLF001  # it has no other name

    def end(self, _: object = None) -> None:
        """Close the connection as soon as nothing is under way on it; at once if nothing is."""
        if self.streams:
            DeferredList(list(self._streamCleanupCallbacks.values())).addCallback(self.end)
        else:
            # It says GOAWAY, for which there is no other way; but what is being sent is sent, however long it takes.
            self.abortTimeout = None  # type: ignore[assignment]  # as the library documents it
            super().timeoutConnection()

    def timeoutConnection(self) -> None:
        """Close the connection, unless it is an answer of ours that has been waited for all the time."""
        if any(map(self._owes, self.streams)):
            self.setTimeout(self.timeOut)
        else:
            super().timeoutConnection()

    def endRequest(self, streamID: int) -> None:
        """End an answer when it has been sent: by a reset, if it is not finished."""
        if not self._request(streamID).finished:
            self.conn.broken.add(streamID)
        super().endRequest(streamID)

    def abortRequest(self, streamID: int) -> None:
        """End an answer by a reset, at once."""
        self.conn.broken.add(streamID)
        super().abortRequest(streamID)

    def _requestDone(self, streamID: int) -> None:
        request = self._request(streamID)
        super()._requestDone(streamID)
        if streamID in self.conn.broken:
            self.conn.broken.remove(streamID)
            # As with a connection, whoever breaks it off is not told before that is done.
            self._reactor.callLater(0, request.connectionLost, Failure(ConnectionAborted()))

    def _request(self, streamID: int) -> "Request":
        return cast("Request", self.streams[streamID]._request)  # noqa: SLF001  # as above

    def _owes(self, streamID: int) -> bool:
        """Tell whether a request was received as a whole, and nothing of its answer is there for the client to take."""
        return self._request(streamID).site is not None and not self._outboundStreamQueues[streamID]
