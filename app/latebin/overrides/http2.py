"""A connection on which many requests are under way at once."""

from typing import TYPE_CHECKING, cast

from h2.connection import H2Connection as Frames
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded
from twisted.internet.defer import DeferredList
from twisted.internet.error import ConnectionAborted
from twisted.python.failure import Failure
from twisted.web._http2 import H2Connection, H2Stream

from latebin.answers.request_body import WINDOW
from latebin.overrides.channel_limits import SLOW_BODY

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from typing_extensions import Buffer

    from latebin.answers.interfaces import Host
    from latebin.overrides.request import Request


class _Frames(Frames):
    """The frames of a connection, of which some streams end by a reset."""

    def __init__(self, like: Frames) -> None:
        super().__init__(like.config)
        self.broken: set[int] = set()
        self.partial = False

    def receive_data(self, data: "Buffer") -> list[Event]:
        events = super().receive_data(data)
        self.partial = not events
        return events

    def end_stream(self, stream_id: int) -> None:
        if stream_id in self.broken:
            self.reset_stream(stream_id)
            return
        super().end_stream(stream_id)
        if self.streams[stream_id].open:
            # It has more to say, which nobody wants, though its answer is whole (RFC 9113, section 8.1).
            super().reset_stream(stream_id, ErrorCodes.NO_ERROR)

    def reset_stream(self, stream_id: int, error_code: ErrorCodes | int = ErrorCodes.INTERNAL_ERROR) -> None:
        # NO_ERROR, the library's own, is for answers that are whole (RFC 9113, section 8.1).
        super().reset_stream(stream_id, error_code)


class BodyTimeout:
    """A body of which each WINDOW may take only so long to come, unless it is not wanted yet.

    Args:
        stream: what it comes on.
        clock: what the time goes by.
        timeout: seconds.
    """

    _came: int
    _call: "IDelayedCall"

    def __init__(self, stream: "H2Stream", clock: "IReactorTime", timeout: float) -> None:
        self._stream = stream
        self._clock = clock
        self._timeout = timeout
        self._whole = False
        self._wait()

    def came(self, length: int) -> None:
        """Take note of so many bytes."""
        self._came += length
        if self._came >= WINDOW and self._call.active():
            self._came = 0
            self._call.reset(self._timeout)

    def hold(self) -> None:
        """Let what comes wait; the client may send no more of it than a stream's window."""
        self._wait_no_more()
        self._stream.pauseProducing()

    def release(self) -> None:
        """Take what has waited, and what comes."""
        if not self._whole:
            self._wait()
        self._stream.resumeProducing()

    def end(self) -> None:
        """Take note that nothing more is waited for."""
        self._whole = True
        self._wait_no_more()

    def _wait(self) -> None:
        self._came = 0
        self._call = self._clock.callLater(self._timeout, self._expired)

    def _wait_no_more(self) -> None:
        if self._call.active():
            self._call.cancel()

    def _expired(self) -> None:
        cast("Request", self._stream._request).refuse(SLOW_BODY)  # noqa: SLF001  # it has no other name


class HTTP2Channel(H2Connection):
    """Twisted's HTTP/2 connection, but that nobody is idle who waits for an answer (twisted#9532).

    What closes a connection of HTTP/1.1 in the middle of an answer resets a stream here, when what was written to it
    has been sent; the other streams go on. The request is told of it as of a connection that is lost.
    """

    conn: _Frames
    site: "Host"  # type: ignore[assignment]  # it declares the default

    def __init__(self, reactor: "IReactorTime") -> None:
        super().__init__(reactor)
        self.conn = _Frames(self.conn)
        self._bodies: dict[int, BodyTimeout] = {}

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

    def resetTimeout(self) -> None:
        """Let the wait begin again, as something has come that is whole: a frame, or all the headers of a request."""
        if self.conn.partial:
            self.conn.partial = False
        else:
            super().resetTimeout()

    def _requestReceived(self, event: RequestReceived) -> None:
        super()._requestReceived(event)
        if event.stream_ended is None:
            number, stream = event.stream_id, self.streams[event.stream_id]
            self._bodies[number] = BodyTimeout(stream, self._reactor, self.site.settings.body_timeout)
            self._request(number).expect_body(self._bodies[number])

    def _requestDataReceived(self, event: DataReceived) -> None:
        if event.stream_id in self._bodies:
            self._bodies[event.stream_id].came(len(event.data))
        super()._requestDataReceived(event)

    def _requestEnded(self, event: StreamEnded) -> None:
        self._forget(event.stream_id)
        super()._requestEnded(event)

    def _forget(self, streamID: int) -> None:
        """Wait no longer for a body."""
        if streamID in self._bodies:
            self._bodies.pop(streamID).end()

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
        self._forget(streamID)
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
