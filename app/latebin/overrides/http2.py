"""A connection on which many requests are under way at once.

Overrides `twisted.web._http2.H2Connection` and `H2Stream` of Twisted 26.10. Twisted's own pauses a producer by the
client's window alone and never by the transport, and ends the connection at errors of one stream. It ends pending
answers at a GOAWAY of the client, and leaves a connection open after its GOAWAY. It takes a connection for idle while
an answer is waited for (twisted#9532).
"""

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web._http2 import H2Connection, H2Stream

from latebin.answers.failures import EndedError, by_client, report
from latebin.answers.request_body import WINDOW
from latebin.core.http.reply import Refused
from latebin.core.http.request_head import MISDIRECTED, examine
from latebin.overrides.channel_limits import SLOW_BODY
from latebin.overrides.channel_output import unsent
from latebin.overrides.ending import fail
from latebin.overrides.http2_frames import Frames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime

    from latebin.answers.interfaces import Host
    from latebin.core.ends import End
    from latebin.core.http.reply import Problem
    from latebin.overrides.request import Request

PIECE: Final = 16 * 1024
"""Bytes of a frame, and those that a stream has written and not sent when its producer is paused.

A hundred streams of a client that reads nothing hold 1.6 MB, and mostly much less. No stream is produced while the
transport takes no more.
"""

FRAMES: Final = 3
"""Frames that are taken in as one piece of work, unless the time of the turn is over before."""

CONTROL: Final = 256 * 1024
"""Bytes of headers and answers to frames that may wait for a client that reads nothing."""


class BodyTimeout:
    """A timeout for each WINDOW of a body, stopped until the body is wanted.

    Args:
        stream: the stream of the body.
        clock: the clock of the timeout.
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
        """Stop the timeout; the client may send at most a stream's window meanwhile."""
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


class Stream(H2Stream):
    """A stream whose producer is paused while what it has written waits.

    Attributes:
        unsent: what was written and is not sent.
        queued: bytes of that.
        ending: whether nothing more will be written.
        trailers: the fields that end the answer (RFC 9113, section 8.1); empty for none.
    """

    producer: "IPushProducer | None"

    def __init__(self, number: int, connection: "HTTP2Channel", headers: list[tuple[bytes, bytes]]) -> None:
        self.unsent: deque[bytes] = deque()
        self.queued = 0
        self.ending = False
        self.trailers: list[tuple[bytes, bytes]] = []
        super().__init__(number, connection, headers, connection.requestFactory, connection.site, connection.factory)

    @property
    def request(self) -> "Request":
        """The request that came on it."""
        return cast("Request", self._request)

    @property
    def connection(self) -> "HTTP2Channel":
        """The connection that it belongs to."""
        return cast("HTTP2Channel", self._conn)

    @property
    def piece(self) -> int:
        """Bytes that a producer is to write at once."""
        return PIECE

    def send_trailers(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """End the answer with trailers, behind all that is written."""
        self.trailers = [(name.lower(), value) for name, value in trailers]

    def take(self, most: int) -> bytes:
        """Remove what is sent next."""
        taken = self.unsent.popleft()
        while len(taken) < most and self.unsent:
            taken += self.unsent.popleft()
        if len(taken) > most:
            self.unsent.appendleft(taken[most:])
            taken = taken[:most]
        self.queued -= len(taken)
        return taken

    def registerProducer(self, producer: "IPushProducer", streaming: bool) -> None:  # noqa: FBT001  # an interface
        super().registerProducer(producer, streaming)
        if not self._conn.takes(self):
            self.hold()

    def hold(self) -> None:
        """Pause the producer."""
        if self.producer is not None and self._producerProducing:
            self._producerProducing = False
            self.producer.pauseProducing()

    def go_on(self) -> None:
        """Let the producer go on, if it was paused and there is room."""
        if self.producer is not None and not self._producerProducing and self._conn.takes(self):
            self._producerProducing = True
            self.producer.resumeProducing()

    def receiveDataChunk(self, data: bytes, flowControlledLength: int) -> None:
        """Take a piece of the body, or add it to what waits.

        As pieces of one byte, a window would need seventy times its size.
        """
        if self.producing:
            super().receiveDataChunk(data, flowControlledLength)
        elif self._inboundDataBuffer:
            waiting, length = self._inboundDataBuffer[0]
            waiting += data
            self._inboundDataBuffer[0] = waiting, length + flowControlledLength
        else:
            self._inboundDataBuffer.append((bytearray(data), flowControlledLength))

    def resumeProducing(self) -> None:
        """Take what has waited, as one piece."""
        if self.waiting():
            data, length = self._inboundDataBuffer[0]
            self._inboundDataBuffer[0] = bytes(data), length
        super().resumeProducing()

    def waiting(self) -> int:
        """Return the bytes of the request that have come and were not taken."""
        return sum(length or 0 for _, length in self._inboundDataBuffer)


class HTTP2Channel(H2Connection):
    """An HTTP/2 connection whose streams end alone, and wait for transport and windows.

    An answer that would close a connection of HTTP/1.1 in its middle resets its stream here, when all written bytes are
    sent. The other streams go on. The request is notified as of a lost connection.

    Attributes:
        ended: why the connection was ended, if it was not by the client's leaving.
    """

    conn: Frames
    streams: "dict[int, Stream]"
    site: "Host"  # type: ignore[assignment]  # it declares the default
    transport: Any
    requestFactory: Any
    ended: "End | None" = None

    def __init__(self, reactor: "IReactorTime") -> None:
        self._call: IDelayedCall | None = None
        self._ready: dict[int, Stream] = {}
        self._bodies: dict[int, BodyTimeout] = {}
        self._busy = self._over = self._ending = self._queued = False
        self._written = self._unread = self._taken = 0
        super().__init__(reactor)
        self.conn = Frames.replace(self.conn)
        self._maxBufferedControlFrameBytes = CONTROL

    @property
    def requests(self) -> "list[Request]":
        """Those that have begun to come, and whose answers have not left."""
        return [stream.request for stream in self.streams.values()]

    # The end of a connection.

    def end(self) -> None:
        """Close the connection as soon as nothing is under way on it."""
        self._ending = True
        if self.streams:
            # A client that opens another is sent a GOAWAY then: not every client takes answers behind one.
            self.conn.final = self.conn.highest_inbound_stream_id
        else:
            self._close(ErrorCodes.NO_ERROR)

    def timeoutConnection(self) -> None:
        """Close the connection, unless an answer of the service was awaited all the time."""
        if any(map(_owed, self.streams.values())):
            self.setTimeout(self.timeOut)
            return
        self.ended = "timeout"
        self._close(ErrorCodes.ENHANCE_YOUR_CALM if self.streams else ErrorCodes.NO_ERROR)

    def connectionLost(self, reason: Failure = connectionDone, _cancelTimeouts: bool = True) -> None:  # noqa: FBT001, FBT002  # Twisted's
        """Let each stream know, once."""
        self._over = True
        self.site.budget.leave(self)
        self.site.unread.leave(self)
        self.setTimeout(None)
        if self._abortingCall is not None and _cancelTimeouts:
            self._abortingCall.cancel()
            self._abortingCall = None
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self.ended is not None:
            reason = Failure(EndedError(self.ended))
        self._lose_streams(reason)

    def _lose_streams(self, reason: Failure) -> None:
        for number, stream in list(self.streams.items()):
            self._lose(stream, reason)
            self._requestDone(number)

    def _lose(self, stream: Stream, reason: Failure) -> None:
        self.conn.broken.discard(stream.streamID)
        try:
            stream.connectionLost(reason)
        except Exception:  # noqa: BLE001  # an exception of one stream leaves the others to be notified
            report(self._log, Failure(), self.getPeer())

    def _close(self, code: ErrorCodes, text: str = "") -> None:
        """Send GOAWAY behind all that was sent, and close the connection."""
        if self._over:
            return
        self.conn.go_away(code, text=text)
        waiting = b"".join((*self._bufferedControlFrames, self.conn.data_to_send()))
        self._bufferedControlFrames.clear()
        self.transport.write(waiting)
        # While there is a producer, TLS does not close.
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        if self.abortTimeout is not None:
            self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.connectionLost(Failure(ConnectionAborted()), _cancelTimeouts=False)

    def _break(self, error: ProtocolError) -> None:
        """Close the connection for what the client sent (RFC 9113, section 5.4.1)."""
        self.ended = "protocol_error"
        self.site.connection_error("client")
        self._close(error.error_code, str(error))

    # The client's events.

    def dataReceived(self, data: bytes) -> None:
        """Take frames in, and attend to each before the next is looked at."""
        if self._over:
            return
        try:
            self.conn.keep(data)
        except ProtocolError as error:
            self._break(error)
            return
        # TLS passes on what it had read before the transport was paused.
        if not self._queued:
            self._take_in()

    def step(self) -> None:
        """Take in a few frames, in a turn that has room for them."""
        self._queued = False
        try:
            self._take_in(alone=True)
        except Exception:  # noqa: BLE001  # a byte can cause any; it ends this connection alone
            fail(self, Failure())
        if not self._queued and not self._over:
            self.transport.resumeProducing()

    def _take_in(self, *, alone: bool = False) -> None:
        """Take in frames while the turn has room, and let the others wait.

        Args:
            alone: whether to take in one piece, and no more.
        """
        self._busy = True
        try:
            for number, events in enumerate(self.conn.receive(), 1):
                for event in events:
                    self._attend(event)
                    if self._over:
                        return
                if not self.conn.more:
                    continue
                if number == 1 and not alone:
                    self.site.budget.begin()
                if self.site.budget.over() or (not number % FRAMES and (alone or self.site.budget.spent())):
                    self._wait()
                    break
        except ProtocolError as error:
            self._break(error)
            return
        finally:
            self._busy = False
        if not self.conn.partial:
            self.resetTimeout()
        self._send()

    def _wait(self) -> None:
        """Leave the connection unread until its next turn."""
        if not self._queued:
            self._queued = True
            self.site.budget.enter(self)
            self.transport.pauseProducing()

    def _attend(self, event: Event) -> None:
        handler = _HANDLERS.get(type(event))
        if handler is None:
            return
        try:
            handler(self, event)
        except ProtocolError:
            raise
        except Exception:
            number = getattr(event, "stream_id", 0)
            if not number:
                raise
            self._fail(number, Failure())

    def _fail(self, number: int, failure: Failure) -> None:
        """End a stream for an exception that what came on it has caused."""
        report(self._log, failure, self.getPeer())
        client = by_client(failure)
        self.site.connection_error("client" if client else "service")
        # It may have ended by itself meanwhile.
        with suppress(StreamClosedError):
            self.conn.reset_stream(number, ErrorCodes.PROTOCOL_ERROR if client else ErrorCodes.INTERNAL_ERROR)
        stream = self.streams.get(number)
        if stream is not None:
            self._lose(stream, Failure(EndedError("protocol_error" if client else "failed")))
            self._requestDone(number)

    def _requestReceived(self, event: RequestReceived) -> None:
        number = event.stream_id
        given = cast("Any", event.headers)
        stream = self.streams[number] = Stream(number, self, _headers(given))
        if (problem := _problem(stream, given)) is not None:
            stream.request.refuse(problem)
        if stream.command == b"CONNECT":
            # Bytes that follow would be passed on if there were a tunnel: they are not a body.
            stream.requestComplete()
        elif event.stream_ended is None and stream.request.refusal is None:
            self._expect_body(number, stream)

    def _expect_body(self, number: int, stream: Stream) -> None:
        request = stream.request
        if request.content.announced == 0 and request.given(b"Content-Length") is None:
            # Twisted takes GET and HEAD for requests without a body, whose sink has no bound.
            request.gotLength(None)
        self._bodies[number] = BodyTimeout(stream, self._reactor, self.site.settings.body_timeout)
        request.expect_body(self._bodies[number])

    def _requestDataReceived(self, event: DataReceived) -> None:
        number = event.stream_id
        if not event.flow_controlled_length:
            # An empty frame would cost the client no window to have it kept.
            return
        if number in self._bodies:
            self._bodies[number].came(len(event.data))
        # A body that is held fills the window of its own stream alone. The window of the connection is for the others
        # to use (RFC 9113, section 6.9.1).
        self.conn.open_connection_window(event.flow_controlled_length)
        if number in self.streams:
            self.streams[number].receiveDataChunk(event.data, event.flow_controlled_length)

    def _requestEnded(self, event: StreamEnded) -> None:
        self._forget(event.stream_id)
        stream = self.streams.get(event.stream_id)
        if stream is not None and stream.command != b"CONNECT":
            stream.requestComplete()

    def _requestAborted(self, event: StreamReset) -> None:
        """End a stream that was reset, by the client or because of it."""
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            reason = ConnectionLost("the stream was reset") if event.remote_reset else EndedError("protocol_error")
            self._lose(stream, Failure(reason))
            self._requestDone(event.stream_id)
        self._spend()

    def _spend(self) -> None:
        """Count a stream that ended by a reset; many are a flood (CVE-2023-44487)."""
        now = self._reactor.seconds()
        elapsed = max(0.0, now - self._resetTokenTimestamp)
        self._resetTokens = min(self._resetTokenBurst, self._resetTokens + elapsed * self._resetTokenRate)
        self._resetTokenTimestamp = now
        if self._resetTokens >= 1:
            self._resetTokens -= 1
            return
        self.ended = "protocol_error"
        self.site.connection_error("client")
        self._close(ErrorCodes.ENHANCE_YOUR_CALM, "too many streams were reset")

    def _window_updated(self, event: WindowUpdated) -> None:
        if not event.stream_id:
            self._wake()
        elif event.stream_id in self.streams:
            self._ready[event.stream_id] = self.streams[event.stream_id]

    def _settings_changed(self, event: RemoteSettingsChanged) -> None:
        if SettingCodes.INITIAL_WINDOW_SIZE in event.changed_settings:
            self._wake()

    def _terminated(self, event: ConnectionTerminated) -> None:
        """End as the client announces: after its answers, or at once after an error."""
        if event.error_code != ErrorCodes.NO_ERROR:
            self.ended = "goaway"
            self._close(ErrorCodes.NO_ERROR)
            return
        self._ending = True
        if not self.streams:
            self._close(ErrorCodes.NO_ERROR)

    def openStreamWindow(self, streamID: int, increment: int) -> None:
        self.conn.open_stream_window(increment, streamID)
        self._send_later()

    def _forget(self, streamID: int) -> None:
        """Wait no longer for a body."""
        if streamID in self._bodies:
            self._bodies.pop(streamID).end()

    # The answers to the client.

    def writeHeaders(
        self, version: bytes, code: bytes, reason: bytes, headers: list[tuple[bytes, bytes]], streamID: int
    ) -> None:
        headers.insert(0, (b":status", code))
        try:
            self.conn.send_headers(streamID, headers)
        except StreamClosedError:
            # The client has reset it, as the next event says.
            return
        self._send_later()

    def writeDataToStream(self, streamID: int, data: bytes) -> None:
        """Send a part of an answer, when it is its turn."""
        if not data:
            return
        stream = self.streams[streamID]
        stream.unsent.append(data)
        stream.queued += len(data)
        self._written += len(data)
        self._ready[streamID] = stream
        if stream.queued >= PIECE or self._consumerBlocked is not None:
            stream.hold()
        self._send_later()

    def endRequest(self, streamID: int) -> None:
        """End an answer when it has been sent; an unfinished one ends by a reset."""
        stream = self.streams.get(streamID)
        if stream is None:
            return
        if not stream.request.finished:
            self.conn.broken.add(streamID)
        stream.ending = True
        self._ready[streamID] = stream
        if not self._busy:
            self._send()

    def abortRequest(self, streamID: int) -> None:
        """End an answer by a reset, at once."""
        if streamID not in self.streams:
            return
        self.conn.broken.add(streamID)
        self.conn.reset_stream(streamID)
        self._requestDone(streamID)
        self._send_later()

    def takes(self, stream: Stream) -> bool:
        """Return whether a producer is to write now, by client and transport."""
        if self._consumerBlocked is not None or stream.unsent:
            return False
        return int(self.conn.local_flow_control_window(stream.streamID)) > 0

    def pauseProducing(self) -> None:
        """Send nothing while the transport takes nothing, and have nothing produced."""
        self._consumerBlocked = Deferred()
        for stream in self.streams.values():
            stream.hold()

    def resumeProducing(self) -> None:
        """Send on."""
        self._consumerBlocked = None
        self._flushBufferedControlData()
        self._wake()
        if not self._busy and not self._over:
            self._send()

    def _wake(self) -> None:
        """Look at every stream again."""
        self._ready.update(self.streams)

    def _send_later(self) -> None:
        """Send what is written in the reactor's next turn, unless it is sent before."""
        if not self._busy and self._call is None and not self._over:
            self._call = self._reactor.callLater(0, self._sendPrioritisedData)

    def _sendPrioritisedData(self, *_: object) -> None:
        self._call = None
        self._send()

    def _send(self) -> None:
        """Send a frame of each stream in turn, while the transport takes them."""
        if self._over:
            return
        self._busy = True
        try:
            self._tryToWriteControlData()
            while self._ready and self._consumerBlocked is None and not self._over:
                number = next(iter(self._ready))
                self._send_frame(number, self._ready.pop(number))
                self._tryToWriteControlData()
        except Exception:  # noqa: BLE001  # the client can choose a state that causes any
            report(self._log, Failure(), self.getPeer())
            self.ended = "failed"
            self.site.connection_error("service")
            self._close(ErrorCodes.INTERNAL_ERROR)
        finally:
            self._busy = False
        if (self._written or self._unread) and not self._over:
            self._account()

    def _account(self) -> None:
        """Note the bytes that wait for the client, anew after each window that it takes."""
        blocked = self._consumerBlocked is not None
        self._unread = self._written + (unsent(self.transport) if blocked else 0)
        if not self._unread or self._taken >= WINDOW:
            self._taken = 0
            self.site.unread.leave(self)
        if self._unread:
            self.site.unread.enter(self, self._unread)

    def stop_waiting(self) -> None:
        """Abort the connection: its client leaves answers unread, and there are too many of those."""
        self.ended = "unread"
        self.transport.abortConnection()

    def _send_frame(self, number: int, stream: Stream) -> None:
        if stream.unsent:
            window = self.conn.local_flow_control_window(number)
            if window <= 0:
                # It is looked at again when the client opens the window.
                return
            data = stream.take(min(window, PIECE))
            self._written -= len(data)
            self._taken += len(data)
            last = stream.ending and not stream.unsent and number not in self.conn.broken and not stream.trailers
            self.conn.send_data(number, data, end_stream=last)
            self.resetTimeout()
            if last:
                self._finish(number)
                return
        if stream.unsent:
            self._ready[number] = stream
        elif stream.ending:
            self.resetTimeout()
            if stream.trailers and number not in self.conn.broken:
                self.conn.send_headers(number, stream.trailers, end_stream=True)
            else:
                self.conn.end_stream(number)
            self._finish(number)
        else:
            stream.go_on()

    def _finish(self, number: int) -> None:
        if self.conn.coming(number):
            # Not at once: curl up to 7.88 forgets an answer that has not been read when the reset comes.
            self._reactor.callLater(0, self._end_request, number)
        self._requestDone(number)

    def _end_request(self, number: int) -> None:
        if not self._over:
            self.conn.end_request(number)
            self._send_later()

    def _requestDone(self, streamID: int) -> None:
        stream = self.streams.pop(streamID)
        self._written -= stream.queued
        self._ready.pop(streamID, None)
        self._forget(streamID)
        # An answer may have left before its request has come.
        stream.request.stop_pacing()
        if streamID in self.conn.broken:
            self.conn.broken.remove(streamID)
            # As with a connection, the side that resets the stream is notified afterwards.
            self._reactor.callLater(0, stream.request.connectionLost, Failure(ConnectionAborted()))
        if self._ending and not self.streams:
            self._close(ErrorCodes.NO_ERROR)


_HANDLERS: "Final[Mapping[type[Event], Callable[[HTTP2Channel, Any], None]]]" = {
    RequestReceived: HTTP2Channel._requestReceived,  # noqa: SLF001  # of this module's own class, as all of these
    DataReceived: HTTP2Channel._requestDataReceived,  # noqa: SLF001
    StreamEnded: HTTP2Channel._requestEnded,  # noqa: SLF001
    StreamReset: HTTP2Channel._requestAborted,  # noqa: SLF001
    WindowUpdated: HTTP2Channel._window_updated,  # noqa: SLF001
    RemoteSettingsChanged: HTTP2Channel._settings_changed,  # noqa: SLF001
    ConnectionTerminated: HTTP2Channel._terminated,  # noqa: SLF001
}


def _owed(stream: Stream) -> bool:
    """Return whether a request, whole or held, waits for the first bytes of its answer."""
    request = stream.request
    return (request.site is not None or request.paced is not None) and not stream.unsent


def _headers(given: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the fields of a request, with one host and a path.

    CONNECT has no path (RFC 9113, section 8.5).
    """
    named = dict(given)
    if b":path" not in named:
        return [(b":path", named.get(b":authority", b"")), *given]
    if b"host" in named and b":authority" in named:
        return [field for field in given if field[0] != b"host"]
    return given


def _problem(stream: Stream, given: list[tuple[bytes, bytes]]) -> "Problem | None":
    """Return the problem of a request that has no other answer."""
    try:
        examine(stream.command or b"", stream.path or b"", b"HTTP/2", stream.request.given)
    except Refused as error:
        return error.problem
    scheme = next((value for name, value in given if name == b":scheme"), b"")
    return None if scheme.lower() in {b"https", b"http"} else MISDIRECTED
